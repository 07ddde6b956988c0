use crate::control::Control;
use crate::damage::ScrubSettings;
use crate::links::Links;
use crate::partition::{NewReplica, Partition, TopicRules, unnoticed_ms};
use crate::recovered;
use crate::shard::ShardRef;
use crate::shard_queue::Call;
use crate::shard_stats::ShardStats;
use crate::tenants::Tenancy;
use crate::throttle::ReplicationThrottle;
use crate::twins;
use futures::future::LocalBoxFuture;
use host::{HostRef, Incoming, Pool, PoolExt};
use logstore::{DirectoryStats, FlushStrategy, Flusher, LogDir, LogError, PlainFlush, Recovered, RecoveryOutcome, Rot};
use metadata::Image;
use metadata::topic_config::Local;
use replica::{Durability, PartitionView};
use security::{ClusterSecret, Complaints, Gate, Purpose};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{mpsc, oneshot, watch};
use types::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, StreamGeneration, Timings, limits};

/// Threads that read what is not in memory, create, cut and delete logs.
const COLD_THREADS: usize = 4;

/// A log directory, what recovery found in it, and how it is flushed.
pub struct DirectoryInput {
    pub dir: LogDir,
    pub recovered: Vec<Recovered>,
    pub flush: Box<dyn FlushStrategy>,
}

impl DirectoryInput {
    /// With the plain flush strategy.
    #[must_use]
    pub fn new(dir: LogDir, recovered: Vec<Recovered>) -> Self {
        Self {
            dir,
            recovered,
            flush: Box::new(PlainFlush),
        }
    }
}

/// What the data plane of a node is told when it starts.
pub struct BrokerOptions {
    pub node_id: NodeId,
    pub shards: u16,
    /// Port 0 picks one: see [`Broker::replica_addr`].
    pub replica_listen: (String, u16),
    pub directories: Vec<DirectoryInput>,
    /// Every log directory in the order of `log.dirs`, also those that could not be opened.
    pub log_dirs: Vec<PathBuf>,
    /// What each directory's file system keeps free of records (`log.dir.reserve.bytes`); `None`: by its size.
    pub reserve_bytes: Option<u64>,
    pub timings: Timings,
    /// What the nodes of the cluster authenticate replica streams with; `None` on loopback only.
    pub secret: Option<Arc<ClusterSecret>>,
    /// What the node's properties set: defaults of topics, where nothing dynamic says otherwise.
    pub config: Arc<BTreeMap<String, String>>,
}

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("the replica listener: {0}")]
    Listen(io::Error),
    #[error("a recovered log cannot be read: {0}")]
    Log(#[from] LogError),
    #[error("a shard ended while it started")]
    Shard,
    #[error("no log directory")]
    NoDirectory,
}

/// Serves client connections; implemented by `api`.
pub trait ConnectionFactory: Send + Sync {
    /// Runs on the shard's thread, inside its `LocalSet`, for the life of the connection.
    fn serve(&self, broker: Broker, shard: ShardRef, incoming: Box<dyn Incoming>) -> LocalBoxFuture<'static, ()>;

    /// The shard starts; runs inside its `LocalSet`, before anything is led.
    fn started(&self, _shard: &ShardRef) {}
}

/// The data plane of a node. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

/// A broker that may be gone.
pub(crate) struct WeakBroker(Weak<Inner>);

impl WeakBroker {
    pub(crate) fn upgrade(&self) -> Option<Broker> {
        self.0.upgrade().map(|inner| Broker { inner })
    }
}

struct Inner {
    host: HostRef,
    node_id: NodeId,
    timings: Timings,
    gate: Gate,
    config: Arc<BTreeMap<String, String>>,
    control: Arc<dyn Control>,
    #[cfg(feature = "controller")]
    handle: Option<controller::ControlHandle>,
    image: watch::Receiver<Arc<Image>>,
    connections: Arc<dyn ConnectionFactory>,
    queues: Vec<mpsc::Sender<Call>>,
    next: AtomicUsize,
    /// Of connections that are refused.
    complaints: Complaints,
    /// Empty after the shutdown, which frees their locks.
    directories: Mutex<BTreeMap<DirectoryId, Arc<LogDir>>>,
    /// Absolute paths in the order of `log.dirs`; no id: it could not be opened.
    log_dirs: Vec<(PathBuf, Option<DirectoryId>)>,
    cold: Arc<dyn Pool>,
    scrub: Arc<dyn Pool>,
    scrub_settings: ScrubSettings,
    checkpointing: Arc<AtomicBool>,
    reserve_bytes: Option<u64>,
    throttle: ReplicationThrottle,
    measuring: Arc<AtomicBool>,
    storage_failed: watch::Sender<bool>,
    /// By shard.
    stats: Mutex<Vec<Arc<ShardStats>>>,
    replica_addr: Mutex<Option<SocketAddr>>,
    threads: Mutex<Vec<ShardThread>>,
    /// Of a shutdown that is over.
    stopped_clean: AtomicBool,
}

struct ShardThread {
    stop: oneshot::Sender<()>,
    /// Whether every log was whole, durable and closed at the end.
    clean: oneshot::Receiver<bool>,
    ended: oneshot::Receiver<()>,
}

impl Broker {
    /// Starts the shards. Nothing is served, led or followed before the control plane has registered this node.
    ///
    /// # Errors
    /// [`BrokerError`].
    #[cfg(feature = "controller")]
    pub async fn start(
        host: HostRef,
        options: BrokerOptions,
        control: controller::ControlHandle,
        connections: Arc<dyn ConnectionFactory>,
    ) -> Result<Self, BrokerError> {
        Self::launch(host, options, Arc::new(control.clone()), Some(control), connections).await
    }

    /// [`Broker::start`] on another control plane, for tests. [`Broker::control`] then has nothing to answer.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn start_with(
        host: HostRef,
        options: BrokerOptions,
        control: Arc<dyn Control>,
        connections: Arc<dyn ConnectionFactory>,
    ) -> Result<Self, BrokerError> {
        #[cfg(feature = "controller")]
        return Self::launch(host, options, control, None, connections).await;
        #[cfg(not(feature = "controller"))]
        Self::launch(host, options, control, connections).await
    }

    async fn launch(
        host: HostRef,
        options: BrokerOptions,
        control: Arc<dyn Control>,
        #[cfg(feature = "controller")] handle: Option<controller::ControlHandle>,
        connections: Arc<dyn ConnectionFactory>,
    ) -> Result<Self, BrokerError> {
        if options.directories.is_empty() {
            return Err(BrokerError::NoDirectory);
        }
        let shards = options.shards.max(1);
        let scrub_settings = ScrubSettings::of(&options.config);
        let cold = host.patient_pool("log-cold", COLD_THREADS);
        let mut directories = BTreeMap::new();
        let mut flushers = BTreeMap::new();
        let mut replicas: Vec<Vec<NewReplica>> = (0..shards).map(|_| Vec::new()).collect();
        for input in options.directories {
            flushers.insert(input.dir.id(), input.dir.start_flusher(&host, input.flush));
            let (recovered, now_ms) = (input.recovered, host.wall_ms());
            let replicas_of = move || recovered.into_iter().map(move |log| replica_of(log, now_ms));
            let (dir, reserve_bytes) = (Arc::new(input.dir), options.reserve_bytes);
            directories.insert(dir.id(), dir.clone());
            let ready = cold.run(move || {
                // Before the first record comes.
                dir.measure_room(reserve_bytes);
                replicas_of().collect::<Result<Vec<_>, _>>()
            });
            for replica in ready.await.map_err(LogError::Io)?? {
                let shard = replica.log.topic_partition().shard(shards);
                replicas[usize::from(shard)].push(replica);
            }
        }
        let id_at = |path: &PathBuf| directories.values().find(|dir| dir.path() == path).map(|dir| dir.id());
        let named = |path: PathBuf| {
            (
                std::path::absolute(&path).unwrap_or_else(|_| path.clone()),
                id_at(&path),
            )
        };
        let log_dirs = options.log_dirs.into_iter().map(named).collect();
        let (queues, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(limits::SHARD_QUEUE_MAX)).unzip();
        let broker = Self {
            inner: Arc::new(Inner {
                image: control.image(),
                host: host.clone(),
                node_id: options.node_id,
                timings: options.timings,
                gate: Gate::new(options.secret, Purpose::Replica),
                config: options.config,
                control,
                #[cfg(feature = "controller")]
                handle,
                connections,
                queues,
                next: AtomicUsize::new(0),
                complaints: Complaints::default(),
                log_dirs,
                directories: Mutex::new(directories),
                cold,
                scrub: host.patient_pool("log-scrub", 1),
                scrub_settings,
                checkpointing: Arc::default(),
                reserve_bytes: options.reserve_bytes,
                throttle: ReplicationThrottle::default(),
                measuring: Arc::default(),
                storage_failed: watch::Sender::new(false),
                stats: Mutex::default(),
                replica_addr: Mutex::default(),
                threads: Mutex::default(),
                stopped_clean: AtomicBool::new(true),
            }),
        };
        let mut listen = Some(options.replica_listen);
        for (index, (queue, replicas)) in (0u16..).zip(receivers.into_iter().zip(replicas)) {
            broker
                .start_shard(index, queue, replicas, flushers.clone(), listen.take())
                .await?;
        }
        Ok(broker)
    }

    async fn start_shard(
        &self,
        index: u16,
        queue: mpsc::Receiver<Call>,
        replicas: Vec<NewReplica>,
        flushers: BTreeMap<DirectoryId, Flusher>,
        listen: Option<(String, u16)>,
    ) -> Result<(), BrokerError> {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = oneshot::channel();
        let (end, clean) = oneshot::channel();
        let broker = self.clone();
        let body = move || -> LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                let listener = match listen {
                    None => None,
                    Some((name, port)) => match broker.inner.host.net().listen(&name, port).await {
                        Ok(listener) => Some(listener),
                        Err(error) => {
                            // Whoever started us is told; it may have given up already.
                            let _ = started.send(Err(BrokerError::Listen(error)));
                            return;
                        }
                    },
                };
                let addr = listener.as_ref().and_then(|listener| listener.local_addr().ok());
                let (results, flushed) = mpsc::unbounded_channel();
                let inner = &broker.inner;
                let lag = inner.timings.replica_lag;
                let links = Rc::new(Links::new(inner.host.clone(), inner.node_id, lag, flushers, results));
                lock(&inner.stats).push(links.stats.clone());
                let queues = inner.queues.clone();
                let shard = ShardRef::new(broker.clone(), index, links.clone(), queues);
                let _tenancy = Tenancy::of(&shard);
                for replica in replicas {
                    twins::add_recovered(&shard, idle(&links, replica));
                }
                if started.send(Ok(addr)).is_ok() {
                    let clean = shard.run(queue, flushed, listener, stopped).await;
                    // The node may not wait for it any more.
                    let _ = end.send(clean);
                }
            })
        };
        let ended = self.inner.host.spawn_thread(&format!("shard-{index}"), Box::new(body));
        let addr = start.await.map_err(|_| BrokerError::Shard)??;
        if let Some(addr) = addr {
            *lock(&self.inner.replica_addr) = Some(addr);
        }
        lock(&self.inner.threads).push(ShardThread { stop, clean, ended });
        Ok(())
    }

    /// Hands a client's connection to the next shard. A shard whose queue is full refuses it.
    pub fn accept(&self, incoming: Box<dyn Incoming>) {
        let next = self.inner.next.fetch_add(1, Ordering::Relaxed) % self.inner.queues.len();
        let (broker, peer) = (self.clone(), incoming.peer_addr());
        let serve: Call = Box::new(move |shard| {
            let serving = broker.inner.connections.serve(broker.clone(), shard.clone(), incoming);
            tokio::task::spawn_local(serving);
        });
        if self.inner.queues[next].try_send(serve).is_err()
            && let Some(kept_back) = self.inner.complaints.tell(peer.ip(), self.inner.host.now())
        {
            tracing::warn!(%peer, kept_back, "connections are refused: their shard has too much to do");
        }
    }

    pub(crate) fn downgrade(&self) -> WeakBroker {
        WeakBroker(Arc::downgrade(&self.inner))
    }

    /// The newest image.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.inner.image.borrow().clone()
    }

    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.node_id
    }

    #[must_use]
    pub fn host(&self) -> &HostRef {
        &self.inner.host
    }

    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            node: self.inner.node_id,
            properties: &self.inner.config,
        }
    }

    /// Where replica streams are accepted.
    #[must_use]
    pub fn replica_addr(&self) -> Option<SocketAddr> {
        *lock(&self.inner.replica_addr)
    }

    /// The control plane.
    ///
    /// # Panics
    /// If the broker was started with [`Broker::start_with`].
    #[cfg(feature = "controller")]
    #[must_use]
    pub fn control(&self) -> &controller::ControlHandle {
        self.inner
            .handle
            .as_ref()
            .expect("the broker was started on a scripted control plane")
    }

    /// Orderly stop: fails what waits, flushes and closes every log. Returns when all shards have ended: `true` if every
    /// log is whole, durable and closed, so that the next start may count this stop as a clean one.
    pub async fn shutdown(&self) -> bool {
        let threads = std::mem::take(&mut *lock(&self.inner.threads));
        let mut ended = Vec::new();
        for ShardThread {
            stop,
            clean,
            ended: end,
        } in threads
        {
            // An error means that the shard has ended by itself.
            let _ = stop.send(());
            ended.push((clean, end));
        }
        let mut all_clean = true;
        for (clean, end) in ended {
            if end.await.is_err() {
                tracing::error!(node_id = self.inner.node_id.0, "a shard panicked");
            }
            all_clean &= clean.await.unwrap_or(false);
        }
        let directories: Vec<_> = std::mem::take(&mut *lock(&self.inner.directories))
            .into_values()
            .collect();
        all_clean &= directories.iter().all(|dir| !dir.is_offline());
        let written = self.inner.cold.run(move || write_all(&directories));
        if let Err(error) = written.await {
            tracing::warn!(%error, "no checkpoints at shutdown");
        }
        if !all_clean {
            self.inner.stopped_clean.store(false, Ordering::Release);
        }
        self.inner.stopped_clean.load(Ordering::Acquire)
    }

    /// `true` once every log directory is offline. The node should then stop, as Kafka's does: a peer that refuses
    /// connections is fenced within milliseconds, and its leaderships move.
    #[must_use]
    pub fn storage_failed(&self) -> watch::Receiver<bool> {
        self.inner.storage_failed.subscribe()
    }

    /// What each shard has counted, in the order of shards.
    pub(crate) fn stats(&self) -> Vec<Arc<ShardStats>> {
        lock(&self.inner.stats).clone()
    }

    /// What is counted of each log directory that is in use.
    pub(crate) fn directory_stats(&self) -> Vec<DirectoryStats> {
        lock(&self.inner.directories).values().map(|dir| dir.stats()).collect()
    }

    pub(crate) fn check_storage(&self) {
        let directories = lock(&self.inner.directories);
        if !directories.is_empty() && directories.values().all(|dir| dir.is_offline()) {
            self.inner
                .storage_failed
                .send_if_modified(|failed| !std::mem::replace(failed, true));
        }
    }

    pub(crate) fn connections(&self) -> &Arc<dyn ConnectionFactory> {
        &self.inner.connections
    }

    pub(crate) fn control_plane(&self) -> &Arc<dyn Control> {
        &self.inner.control
    }

    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.inner.queues.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn timings(&self) -> &Timings {
        &self.inner.timings
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn cold_pool(&self) -> Arc<dyn Pool> {
        self.inner.cold.clone()
    }

    /// Of what looks for damage: one thread, so that it never takes those of readers.
    pub(crate) fn scrub_pool(&self) -> Arc<dyn Pool> {
        self.inner.scrub.clone()
    }

    pub(crate) fn scrub_settings(&self) -> ScrubSettings {
        self.inner.scrub_settings
    }

    pub(crate) fn throttle(&self) -> &ReplicationThrottle {
        &self.inner.throttle
    }

    pub(crate) fn directory_ids(&self) -> Vec<DirectoryId> {
        lock(&self.inner.directories).keys().copied().collect()
    }

    /// Every log directory in the order of `log.dirs`, by its absolute path; `None` where it cannot be used.
    pub(crate) fn log_dirs(&self) -> Vec<(PathBuf, Option<Arc<LogDir>>)> {
        let directories = lock(&self.inner.directories);
        let usable = |id: &DirectoryId| directories.get(id).filter(|dir| !dir.is_offline()).cloned();
        let named = self.inner.log_dirs.iter();
        named
            .map(|(path, id)| (path.clone(), id.as_ref().and_then(usable)))
            .collect()
    }

    /// Directories in which a write or sync has failed.
    pub(crate) fn offline_directories(&self) -> Vec<DirectoryId> {
        let directories = lock(&self.inner.directories);
        let offline = directories.values().filter(|dir| dir.is_offline());
        offline.map(|dir| dir.id()).collect()
    }

    /// The directory of this id. An unassigned replica goes to the first.
    pub(crate) fn directory(&self, id: DirectoryId) -> Option<Arc<LogDir>> {
        let directories = lock(&self.inner.directories);
        match id.is_zero() {
            true => directories.values().find(|dir| !dir.is_offline()).cloned(),
            false => directories.get(&id).cloned(),
        }
    }

    /// Removes files whose `file.delete.delay.ms` is over, and syncs segments that rest; does not wait.
    pub(crate) fn tidy_directories(&self) {
        for dir in lock(&self.inner.directories).values() {
            dir.remove_due_files();
            dir.sync_idle_segments();
        }
    }

    /// Writes the exports of every directory on a pool, unless that is under way.
    pub(crate) fn write_checkpoints(&self) {
        self.on_directories(&self.inner.checkpointing, write_all);
    }

    /// Looks on a pool how much room the directories have, unless that is under way.
    pub(crate) fn measure_room(&self) {
        let reserve_bytes = self.inner.reserve_bytes;
        self.on_directories(&self.inner.measuring, move |directories| {
            for dir in directories {
                dir.measure_room(reserve_bytes);
            }
        });
    }

    fn on_directories(&self, busy: &Arc<AtomicBool>, work: impl FnOnce(&[Arc<LogDir>]) + Send + 'static) {
        if busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let directories: Vec<_> = lock(&self.inner.directories).values().cloned().collect();
        let busy = busy.clone();
        self.inner.cold.submit(Box::new(move || {
            work(&directories);
            busy.store(false, Ordering::Release);
        }));
    }
}

fn write_all(directories: &[Arc<LogDir>]) {
    for dir in directories {
        if let Err(error) = dir.write_checkpoints() {
            tracing::warn!(directory = %dir.id(), %error, "no checkpoints");
        }
    }
}

fn replica_of(recovered: Recovered, now_ms: i64) -> Result<NewReplica, LogError> {
    let log = recovered.log;
    if let RecoveryOutcome::Corrupt { at, why } = &recovered.outcome {
        let found = log.found(Rot {
            offset: *at,
            why: "found at the start",
        });
        tracing::error!(topic = log.topic_name(), partition = log.topic_partition().partition, offset = %at, why,
            unnoticed_ms = unnoticed_ms(&found, now_ms),
            "the log is damaged below its durable mark: this replica serves nothing. If another is whole, it is copied again by itself; check the disk");
    }
    // A damaged log is copied anew; its records are not read.
    let producers = match log.corrupt_at() {
        Some(_) => replica::ProducerStates::new(recovered::PRODUCER_EXPIRATION_MS),
        None => recovered::producers(&log, now_ms)?,
    };
    let high_watermark = log.high_watermark_checkpoint().unwrap_or(log.log_start_offset());
    Ok(NewReplica {
        log,
        producers,
        high_watermark,
    })
}

/// A recovered replica before the first image.
fn idle(links: &Rc<Links>, replica: NewReplica) -> Partition {
    let view = PartitionView {
        leader: None,
        leader_epoch: LeaderEpoch::NONE,
        partition_epoch: PartitionEpoch(-1),
        replicas: Vec::new(),
        isr: Vec::new(),
        elr: Vec::new(),
        min_isr: 1,
        durability: Durability::Strict,
        brokers: BTreeMap::new(),
    };
    let rules = TopicRules {
        durability: Durability::Strict,
        log_append_time: false,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        log: logstore::LogConfig::default(),
    };
    Partition::new(links.clone(), replica, view, rules, StreamGeneration(0))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
