#[cfg(test)]
mod tests;

use crate::settings::{Listener as Address, Settings};
use admin::{AdminServer, NodeState};
use api::{Api, ApiSettings, KafkaConnections};
use broker::{Broker, BrokerOptions, DirectoryInput};
use controller::{ControlHandle, ControlOptions, ControlPlane, Failure, LeaderBalance, LogDirectory};
use coordinator::GroupMetrics;
use futures::future::{join_all, try_join_all};
use host::{HostRef, Listener, Pool, PoolExt};
use logstore::{JournalFlush, JournalSize, LogDir, LogDirError, MarksError, Recovered, Recovery, RecoveryOutcome};
use metadata::topic_config::{self, Effect};
use metadata::{DirectoryOutcome, DirectoryReport, Endpoint, Image};
use raft::{RaftStore, Transport};
use security::ClusterSecret;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use types::{DirectoryId, limits};

/// Pause after the system refused to accept a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Exists in a log directory only between an orderly stop and the next start.
const CLEAN: &str = ".ottla_cleanshutdown";

/// Why a node does not start. Nothing was written over.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("log.dirs={path}: {problem}")]
    LogDir { path: String, problem: String },
    #[error(
        "cannot listen on {listener} ({property}): {error}. Another process may have the port; stop it or choose another"
    )]
    Listen {
        property: &'static str,
        listener: String,
        error: String,
    },
    #[error("the control plane: {0}")]
    Control(String),
    #[error("the data plane: {0}")]
    Broker(String),
    #[error("{0}")]
    Setting(String),
}

/// A running node: control plane, data plane, the listener for Kafka clients, and that for whoever watches it.
pub struct Node {
    host: HostRef,
    settings: Settings,
    secret: Option<Arc<ClusterSecret>>,
    control: ControlHandle,
    control_failure: Failure,
    broker: Option<Broker>,
    state: NodeState,
    admin: AdminServer,
    accepting: Option<tokio::task::JoinHandle<()>>,
    /// Those that are in use.
    log_dirs: Vec<PathBuf>,
    /// What is started once the cluster is known.
    waiting: Option<Waiting>,
}

struct Waiting {
    directories: Vec<(LogDir, Vec<Recovered>)>,
    listener: Box<dyn Listener>,
    api: Arc<Api>,
}

impl Node {
    /// Opens and recovers the log directories, binds the Kafka port and starts the control plane. The node serves once
    /// [`Node::ready`] has resolved.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        host: HostRef,
        settings: Settings,
        secret: Option<Arc<ClusterSecret>>,
        store: Arc<dyn RaftStore>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let mut api = ApiSettings::from_properties(&settings.properties)
            .map_err(|error| StartError::Setting(error.to_string()))?;
        api.given = settings.given.clone();
        let listener = host
            .net()
            .listen(&settings.kafka.host, settings.kafka.port)
            .await
            .map_err(|error| cannot_listen("listeners", &settings.kafka, error))?;
        // From here on a person can see what the node is doing.
        let state = NodeState::new();
        let admin = AdminServer::start(host.clone(), &settings.admin.host, settings.admin.port, state.clone())
            .await
            .map_err(|error| cannot_listen("admin.listener", &settings.admin, error))?;
        tracing::info!(node_id = %settings.node_id, address = %admin.address(),
            "metrics and health are served over HTTP: /metrics, /livez, /readyz, /startupz");
        let mut directories = Vec::new();
        let mut reports = Vec::new();
        let mut unusable = None;
        let names: Vec<_> = settings
            .log_dirs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        state.doing(&format!("recovering the logs in {}", names.join(", ")));
        let opened = settings
            .log_dirs
            .iter()
            .map(|path| open(&host, path.clone(), settings.journal_size, settings.recovery_threads));
        for opened in join_all(opened).await {
            match opened? {
                Ok((dir, recovered, report)) => {
                    directories.push((dir, recovered));
                    reports.push(report);
                }
                Err((report, error)) => {
                    reports.extend(report);
                    unusable.get_or_insert(error);
                }
            }
        }
        if let Some(error) = unusable {
            if directories.is_empty() {
                return Err(error);
            }
            tracing::error!(%error, "a log directory cannot be used: its replicas are offline, and the node serves the others. \
                What was acknowledged is safe where other replicas have it, and nothing is made anew elsewhere; mend the disk and start the node again");
        }
        let log_dirs = directories.iter().map(|(dir, _)| dir.path().to_owned()).collect();
        let endpoint = |host: &str, port: u16| Endpoint {
            host: host.to_owned(),
            port,
        };
        let options = ControlOptions {
            node_id: settings.node_id,
            rack: settings.rack.clone(),
            kafka_advertised: endpoint(&settings.kafka.advertised_host, settings.kafka.advertised_port),
            replica: endpoint(&settings.replica.advertised_host, settings.replica.advertised_port),
            control_listen: endpoint(&settings.control.host, settings.control.port),
            control_advertised: endpoint(&settings.control.advertised_host, settings.control.advertised_port),
            founders: settings.join.iter().map(|(host, port)| endpoint(host, *port)).collect(),
            found_alone: settings.found_alone(),
            cluster_id: directories.iter().find_map(|(dir, _)| dir.meta().cluster_id.clone()),
            directories: reports,
            shards: settings.shards,
            metadata_dir: settings.metadata_dir.clone(),
            timings: settings.timings,
            defaults: defaults(&settings.properties),
            leader_balance: leader_balance(&settings.properties),
        };
        let (control, control_failure) = ControlPlane::start(host.clone(), options, store, transport)
            .await
            .map_err(|error| StartError::Control(error.to_string()))?;
        state.doing("waiting for its cluster: a quorum of founders, or the controller's answer");
        state.started(control.clone());
        let api = Api::new(api);
        state.add_source(api.clone());
        let waiting = Some(Waiting {
            directories,
            listener,
            api,
        });
        Ok(Self {
            host,
            settings,
            control,
            control_failure,
            broker: None,
            state,
            admin,
            accepting: None,
            log_dirs,
            waiting,
            secret,
        })
    }

    /// Resolves when the node is registered, unfenced, serves clients, and, where it is one of the first founders, votes.
    ///
    /// # Errors
    /// The data plane does not start: a directory belongs to another cluster, a log cannot be read, a port is in use.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        let ended = || "it ended while the node started".to_owned();
        let (_, none) = tokio::sync::oneshot::channel();
        let mut failure = std::mem::replace(&mut self.control_failure, none);
        tokio::select! {
            // First, since all else fails with it and could not say why.
            biased;
            why = &mut failure => Err(StartError::Control(why.unwrap_or_else(|_| ended()))),
            outcome = self.until_ready() => {
                self.control_failure = failure;
                outcome
            }
        }
    }

    async fn until_ready(&mut self) -> Result<(), StartError> {
        let mut images = self.control.image();
        let ended = |_| StartError::Control("it ended while the node started".to_owned());
        if let Some(waiting) = self.waiting.take() {
            let cluster_id = images
                .wait_for(|image| image.cluster_id.is_some())
                .await
                .map_err(ended)?
                .cluster_id
                .clone()
                .unwrap_or_default();
            warn_of_what_the_cluster_decides(&self.settings.given, &images.borrow().clone());
            self.serve(waiting, &cluster_id).await?;
        }
        let mut registration = self.control.registration();
        let epoch = *registration.wait_for(Option::is_some).await.map_err(ended)?;
        let node_id = self.settings.node_id;
        let unfenced = |image: &Image| {
            image
                .broker(node_id)
                .is_some_and(|broker| Some(broker.broker_epoch) >= epoch && !broker.fenced)
        };
        images.wait_for(|image| unfenced(image)).await.map_err(ended)?;
        // Voting is no part of the image: asked of the control plane, which knows at once.
        let wanted = self.settings.join.len().min(3);
        while !self.quorum_is_complete(wanted).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn quorum_is_complete(&self, wanted: usize) -> bool {
        let status = self.control.cluster_status().await;
        status.nodes.iter().filter(|node| node.votes()).count() >= wanted && status.leader.is_some()
    }

    async fn serve(&mut self, waiting: Waiting, cluster_id: &str) -> Result<(), StartError> {
        let Waiting {
            directories,
            mut listener,
            api,
        } = waiting;
        let node_id = self.settings.node_id;
        let slow = self.host.pool("bind", 1);
        let cluster = cluster_id.to_owned();
        let journal = self.settings.journal_flush;
        let input = move |dir, recovered| match journal {
            true => DirectoryInput {
                dir,
                recovered,
                flush: Box::new(JournalFlush),
            },
            false => DirectoryInput::new(dir, recovered),
        };
        let bound = slow.run(move || {
            directories
                .into_iter()
                .map(|(mut dir, recovered)| dir.bind(&cluster, node_id).map(|()| input(dir, recovered)))
                .collect::<Result<Vec<_>, _>>()
        });
        let directories = bound
            .await
            .map_err(|error| StartError::Broker(error.to_string()))?
            .map_err(|error| StartError::Broker(error.to_string()))?;
        let options = BrokerOptions {
            node_id,
            shards: self.settings.shards,
            replica_listen: (self.settings.replica.host.clone(), self.settings.replica.port),
            directories,
            log_dirs: self.settings.log_dirs.clone(),
            reserve_bytes: self.settings.reserve_bytes,
            timings: self.settings.timings,
            secret: self.secret.clone(),
            config: Arc::new(self.settings.given.clone()),
        };
        let group_metrics = Arc::<GroupMetrics>::default();
        self.state.add_source(group_metrics.clone());
        let connections = Arc::new(KafkaConnections {
            api: api.clone(),
            control: self.control.clone(),
            groups: self.settings.groups,
            group_metrics,
        });
        let broker = Broker::start(self.host.clone(), options, self.control.clone(), connections)
            .await
            .map_err(|error| StartError::Broker(error.to_string()))?;
        self.broker = Some(broker.clone());
        self.state.serves(&broker);
        self.control.speaks_for(broker.data_plane());
        self.accepting = Some(tokio::task::spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok(incoming) if incoming.takes_last_handles() => {
                        tracing::warn!(peer = %incoming.peer_addr(), "a connection is refused: the process has too many files open");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    Ok(incoming) => {
                        let delay = api.creation_delay(&broker.image(), node_id, broker.host().now());
                        if !delay.is_zero() {
                            tokio::time::sleep(delay).await;
                        }
                        broker.accept(incoming);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a client's connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }));
        Ok(())
    }

    /// Resolves when the node cannot go on, with the reason: its metadata log or its disks have failed.
    pub async fn failed(&mut self) -> String {
        let storage = async {
            match &self.broker {
                Some(broker) => {
                    let mut failed = broker.storage_failed();
                    // Ends only with the node.
                    let _ = failed.wait_for(|failed| *failed).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = &mut self.control_failure => why.unwrap_or_else(|_| "the control plane has ended".to_owned()),
            () = storage => "every log directory has failed; check the disks, then start the node again".to_owned(),
        }
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> std::net::SocketAddr {
        self.admin.address()
    }

    /// Orderly stop: leaders move first, then clients are turned away, logs are closed, and the control plane ends.
    pub async fn stop(mut self) {
        self.state.stopping();
        if self.broker.is_some() {
            self.control.controlled_shutdown().await;
        }
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        if let Some(broker) = self.broker.take() {
            if broker.shutdown().await {
                self.mark_clean().await;
            } else {
                tracing::warn!("not every log is on disk and whole: the next start counts as unclean");
            }
        }
        self.control.stop().await;
        self.admin.stop().await;
    }

    async fn mark_clean(&self) {
        let (disk, paths) = (self.host.disk(), self.log_dirs.clone());
        let written = self.host.pool("stop", 1).run(move || {
            paths
                .iter()
                .try_for_each(|path| disk.write_durably(&path.join(CLEAN), b"1\n"))
        });
        if let Err(error) = written.await.and_then(|written| written) {
            tracing::warn!(%error, "the next start counts as unclean");
        }
    }
}

fn cannot_listen(property: &'static str, address: &Address, error: impl std::fmt::Display) -> StartError {
    StartError::Listen {
        property,
        listener: format!("{}:{}", address.host, address.port),
        error: error.to_string(),
    }
}

/// What elections depend on must be the same everywhere: after the founding it is changed for all nodes at once, and a
/// properties file that says something else is not what holds.
fn warn_of_what_the_cluster_decides(given: &BTreeMap<String, String>, image: &Image) {
    for definition in topic_config::TABLE
        .iter()
        .filter(|known| known.effect == Effect::Cluster)
    {
        let in_force = topic_config::effective(image, None, definition.name).unwrap_or_default();
        let Some(synonym) = definition.synonym else { continue };
        if let Some(value) = given.get(synonym).filter(|value| value.trim() != in_force) {
            tracing::warn!(
                property = synonym,
                value,
                in_force,
                "a property of this node does not count: the cluster has its own value since it was founded. Change it \
                 for all nodes with kafka-configs.sh --entity-type brokers --entity-default"
            );
        }
    }
}

/// What planners need of the properties: values under broker names, as a founder makes them the cluster's defaults.
fn defaults(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let known = |name: &str| {
        name == "num.partitions"
            || name == "default.replication.factor"
            || topic_config::find_synonym(name).is_some_and(|known| known.effect == Effect::Cluster)
    };
    properties
        .iter()
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn leader_balance(properties: &BTreeMap<String, String>) -> Option<LeaderBalance> {
    let number = |name: &str| properties.get(name).and_then(|value| value.parse::<u32>().ok());
    let kafkas = LeaderBalance::default();
    let balance = LeaderBalance {
        check_interval: number("leader.imbalance.check.interval.seconds")
            .map_or(kafkas.check_interval, |seconds| Duration::from_secs(seconds.into())),
        percentage: number("leader.imbalance.per.broker.percentage").unwrap_or(kafkas.percentage),
    };
    let enabled = properties
        .get("auto.leader.rebalance.enable")
        .is_none_or(|value| value == "true");
    enabled.then_some(balance)
}

type Opened = (LogDir, Vec<Recovered>, LogDirectory);
/// What can be said to the controller of a directory that cannot be used, and why that is so.
type Unusable = (Option<LogDirectory>, StartError);

/// Opens and recovers a directory. Where its disk fails the others may do without it.
///
/// # Errors
/// What a person must decide: it belongs to something else, or is in use.
async fn open(
    host: &HostRef,
    path: PathBuf,
    journal: JournalSize,
    threads: usize,
) -> Result<Result<Opened, Unusable>, StartError> {
    let pool = host.pool("recovery", threads);
    let refuse = |problem: String| StartError::LogDir {
        path: path.display().to_string(),
        problem,
    };
    match recover(host, &pool, &path, journal)
        .await
        .map_err(|error| refuse(error.to_string()))?
    {
        Ok(opened) => Ok(Ok(opened)),
        // Nothing is wrong with the disk.
        Err(
            ref error @ (LogDirError::Io { error: ref cause, .. }
            | LogDirError::Marks {
                error: MarksError::Io(ref cause),
                ..
            }),
        ) if host::is_out_of_handles(cause) => Err(refuse(error.to_string())),
        Err(error @ (LogDirError::Io { .. } | LogDirError::Marks { .. } | LogDirError::Offline)) => {
            let (opener, at) = (host.clone(), path.clone());
            let id = pool.run(move || LogDir::id_at(&opener, &at)).await.ok().flatten();
            let report = id.map(|id| failed_directory(id, path.clone()));
            Ok(Err((report, refuse(error.to_string()))))
        }
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn failed_directory(id: DirectoryId, path: PathBuf) -> LogDirectory {
    LogDirectory {
        path,
        new: false,
        sequence: 0,
        report: DirectoryReport {
            id,
            outcome: DirectoryOutcome::Failed,
            clean: false,
        },
        damaged: Vec::new(),
    }
}

/// An error of the pool's is the outer one.
async fn recover(
    host: &HostRef,
    pool: &Arc<dyn Pool>,
    path: &Path,
    journal: JournalSize,
) -> io::Result<Result<Opened, LogDirError>> {
    let (opener, at) = (host.clone(), path.to_owned());
    let begin = move || {
        let dir = LogDir::open_sized(&opener, &at, journal)?;
        let recovery = dir.begin_recovery()?;
        Ok((dir, recovery))
    };
    let (dir, mut recovery) = match pool.run(begin).await? {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    let jobs = recovery.take_jobs().into_iter();
    for done in try_join_all(jobs.map(|job| pool.run(move || job.run()))).await? {
        match done {
            Ok(done) => recovery.add(done),
            Err(error) => return Ok(Err(error)),
        }
    }
    let host = host.clone();
    pool.run(move || report(&host, dir, recovery)).await
}

/// Blocking.
fn report(host: &HostRef, dir: LogDir, recovery: Recovery) -> Result<Opened, LogDirError> {
    let path = dir.path().to_owned();
    let failed = |error| LogDirError::Io {
        path: path.clone(),
        error,
    };
    let recovered = dir.end_recovery(recovery)?;
    let disk = host.disk();
    let marker = path.join(CLEAN);
    let clean = disk.exists(&marker);
    if clean {
        // Gone before anything is written, so that it never speaks for a later life.
        disk.remove_file(&marker)
            .and_then(|()| disk.sync_dir(&path))
            .map_err(failed)?;
    }
    let damaged = recovered
        .iter()
        .filter(|found| matches!(found.outcome, RecoveryOutcome::Corrupt { .. }));
    let mut damaged: Vec<_> = damaged.map(|found| found.log.topic_partition()).collect();
    let mut outcome = DirectoryOutcome::Intact;
    if damaged.len() > limits::DAMAGED_REPLICAS_MAX {
        outcome = DirectoryOutcome::Missing;
        damaged.clear();
    }
    let report = DirectoryReport {
        id: dir.id(),
        outcome,
        clean,
    };
    let directory = LogDirectory {
        new: dir.is_new(),
        sequence: dir.found_sequence(),
        path,
        report,
        damaged,
    };
    Ok((dir, recovered, directory))
}
