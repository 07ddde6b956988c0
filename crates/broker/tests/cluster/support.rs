//! Three brokers in this process: real sockets on loopback, a disk each, and a scripted control plane.

use crate::subject::*;
use bytes::Bytes;
use futures::future::{BoxFuture, LocalBoxFuture};
use host::{Disk, Host, HostRef, Incoming, Net, Pool, RealHost, Stream, ThreadBody};
use logstore::{FlushJob, FlushStrategy, Flushed, LogDir, PlainFlush};
use metadata::plan::{self, OfflineDirectories, ResignLeaders};
use metadata::{BrokerRegistration, Endpoint, Image, PartitionImage, TopicImage};
use records::{BatchBuilder, BatchHeader, Compression};
use security::ClusterSecret;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use types::*;
use uuid::Uuid;

pub const TP: TopicPartition = TopicPartition {
    topic: TopicId(Uuid::from_u128(77)),
    partition: 0,
};
pub const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// The real host on another disk.
pub struct TestHost {
    real: RealHost,
    disk: Arc<dyn Disk>,
}

impl Host for TestHost {
    fn now(&self) -> Monotonic {
        self.real.now()
    }
    fn wall_ms(&self) -> i64 {
        self.real.wall_ms()
    }
    fn random_u64(&self) -> u64 {
        self.real.random_u64()
    }
    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }
    fn net(&self) -> Arc<dyn Net> {
        self.real.net()
    }
    fn spawn_thread(&self, name: &str, body: ThreadBody) -> oneshot::Receiver<()> {
        self.real.spawn_thread(name, body)
    }
    fn pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        self.real.pool(name, threads)
    }
}

pub fn host_on(disk: Arc<dyn Disk>) -> HostRef {
    Arc::new(TestHost {
        real: RealHost::new(),
        disk,
    })
}

/// One image for all, and a controller that commits every proposal of the right age.
pub struct Script {
    pub image: watch::Sender<Arc<Image>>,
    pub proposals: Mutex<Vec<IsrProposal>>,
    /// Who said what of the strictness of its replica, in which leader epoch.
    pub marks: Mutex<Vec<(NodeId, LeaderEpoch, bool)>>,
    /// Reports of damaged replicas, and whether they are answered at all.
    pub reported: watch::Sender<usize>,
    pub deaf: AtomicBool,
    /// Who asked for other leaders.
    pub resignations: Mutex<Vec<NodeId>>,
}

pub struct NodeControl {
    node: NodeId,
    script: Arc<Script>,
    registration: watch::Sender<Option<BrokerEpoch>>,
}

impl Script {
    pub fn change(&self, change: impl FnOnce(&mut Image)) {
        self.image.send_modify(|image| {
            let mut next = (**image).clone();
            next.index.0 += 1;
            change(&mut next);
            *image = Arc::new(next);
        });
    }

    pub fn partition(&self) -> PartitionImage {
        (**self.image.borrow().partition(TP).unwrap()).clone()
    }

    pub fn change_partition(&self, change: impl FnOnce(&mut PartitionImage)) {
        self.change_partition_of(TP, change);
    }

    pub fn change_partition_of(&self, tp: TopicPartition, change: impl FnOnce(&mut PartitionImage)) {
        let at = usize::try_from(tp.partition).unwrap();
        self.change(|image| {
            let mut topic = (*image.topics[&TP.topic]).clone();
            let mut partition = (*topic.partitions[at]).clone();
            partition.partition_epoch = partition.partition_epoch.next();
            change(&mut partition);
            topic.partitions[at] = Arc::new(partition);
            image.topics.insert(TP.topic, Arc::new(topic));
        });
    }

    /// Changes the topic's configuration.
    pub fn configure(&self, name: &str, value: &str) {
        self.change(|image| {
            let mut topic = (*image.topics[&TP.topic]).clone();
            topic.configs.insert(name.to_owned(), value.to_owned());
            image.topics.insert(TP.topic, Arc::new(topic));
        });
    }

    fn mark(&self, node: NodeId, leader_epoch: LeaderEpoch, strict: bool) {
        self.marks.lock().unwrap().push((node, leader_epoch, strict));
        if self.partition().strict.contains(&node) == strict {
            return;
        }
        self.change_partition(|partition| {
            partition.strict.retain(|other| *other != node);
            if strict {
                partition.strict.push(node);
            }
        });
    }

    /// A new leader epoch.
    pub fn elect(&self, leader: Option<i32>, isr: &[i32]) {
        self.change_partition(|partition| {
            partition.leader = leader.map(NodeId);
            partition.leader_epoch = partition.leader_epoch.next();
            partition.isr = isr.iter().map(|node| NodeId(*node)).collect();
        });
    }

    /// As the real controller plans it.
    fn resign(&self, node: NodeId, leaders: Vec<(TopicPartition, LeaderEpoch)>) {
        self.resignations.lock().unwrap().push(node);
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        self.change(|image| {
            let command = ResignLeaders {
                node_id: node,
                broker_epoch: image.broker(node).unwrap().broker_epoch,
                partitions: leaders,
            };
            let records = plan::resign_leaders(image, &command).unwrap().records;
            image.apply_all(image.index, &records).unwrap();
        });
    }

    /// As the real controller plans it.
    fn take_offline(&self, node: NodeId, directories: Vec<DirectoryId>) {
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        self.change(|image| {
            let command = OfflineDirectories {
                node_id: node,
                broker_epoch: image.broker(node).unwrap().broker_epoch,
                directories,
            };
            let records = plan::offline_directories(image, &command).unwrap().records;
            image.apply_all(image.index, &records).unwrap();
        });
    }

    /// As the controller's planner does.
    fn expel(&self, node: NodeId, leader_epoch: LeaderEpoch) -> ErrorCode {
        self.reported.send_modify(|reported| *reported += 1);
        if self.deaf.load(Ordering::Relaxed) {
            return ErrorCode::RequestTimedOut;
        }
        let now = self.partition();
        let others: Vec<NodeId> = now.isr.iter().copied().filter(|other| *other != node).collect();
        if now.leader_epoch != leader_epoch {
            return ErrorCode::FencedLeaderEpoch;
        }
        let Some(first) = others.first().copied() else {
            return ErrorCode::EligibleLeadersNotAvailable;
        };
        self.change_partition(|partition| {
            partition.isr = others;
            partition.leader = partition.leader.filter(|leader| *leader != node).or(Some(first));
            partition.leader_epoch = partition.leader_epoch.next();
        });
        ErrorCode::None
    }

    /// Waits for so many reports of damage.
    pub async fn reports(&self, wanted: usize) {
        let mut reported = self.reported.subscribe();
        let heard = reported.wait_for(|reported| *reported >= wanted);
        tokio::time::timeout(Duration::from_secs(20), heard)
            .await
            .expect("no report of damage")
            .unwrap();
    }

    fn alter(&self, proposal: &IsrProposal) -> Result<AlteredIsr, ErrorCode> {
        self.proposals.lock().unwrap().push(proposal.clone());
        let now = (**self.image.borrow().partition(proposal.tp).unwrap()).clone();
        if now.leader_epoch != proposal.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if now.partition_epoch != proposal.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let isr: Vec<NodeId> = proposal.isr.iter().map(|(node, _)| *node).collect();
        self.change_partition_of(proposal.tp, |partition| partition.isr.clone_from(&isr));
        Ok(AlteredIsr {
            leader_epoch: now.leader_epoch,
            partition_epoch: now.partition_epoch.next(),
            isr,
        })
    }
}

impl Control for NodeControl {
    fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.script.image.subscribe()
    }
    fn registration(&self) -> watch::Receiver<Option<BrokerEpoch>> {
        self.registration.subscribe()
    }
    fn alter_partitions(&self, proposals: Vec<IsrProposal>) -> BoxFuture<'static, Result<Vec<Altered>, ErrorCode>> {
        let answers = proposals
            .iter()
            .map(|proposal| (proposal.tp, self.script.alter(proposal)))
            .collect();
        Box::pin(async move { Ok(answers) })
    }
    fn expel_damaged(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch)>,
    ) -> BoxFuture<'static, Result<Vec<ErrorCode>, ErrorCode>> {
        let codes = replicas
            .iter()
            .map(|(_, leader_epoch)| self.script.expel(self.node, *leader_epoch))
            .collect();
        Box::pin(async { Ok(codes) })
    }
    fn mark_strict(
        &self,
        replicas: Vec<(TopicPartition, LeaderEpoch, bool)>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>> {
        for (_, leader_epoch, strict) in replicas {
            self.script.mark(self.node, leader_epoch, strict);
        }
        Box::pin(async { Ok(()) })
    }
    fn resign_leaders(&self, leaders: Vec<(TopicPartition, LeaderEpoch)>) -> BoxFuture<'static, Result<(), ErrorCode>> {
        self.script.resign(self.node, leaders);
        Box::pin(async { Ok(()) })
    }
    fn offline_directories(&self, directories: Vec<DirectoryId>) -> BoxFuture<'static, Result<(), ErrorCode>> {
        self.script.take_offline(self.node, directories);
        Box::pin(async { Ok(()) })
    }
}

/// Fails as soon as it is told to.
pub struct FailingFlush(pub Arc<AtomicBool>);

impl FlushStrategy for FailingFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is broken")),
            false => PlainFlush.flush(jobs),
        }
    }
}

/// Flushes only while the gate is open.
pub struct GatedFlush(Arc<Gate>);

#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

impl FlushStrategy for GatedFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        let closed = self.0.closed.lock().unwrap();
        drop(self.0.opened.wait_while(closed, |closed| *closed).unwrap());
        PlainFlush.flush(jobs)
    }
}

type Job = Box<dyn FnOnce(ShardRef) -> LocalBoxFuture<'static, ()> + Send>;

/// Runs jobs on a shard, in the place of a client's connection.
#[derive(Default)]
struct Jobs(Mutex<VecDeque<Job>>);

struct NoSocket;

impl Incoming for NoSocket {
    fn peer_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }
    fn attach(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl ConnectionFactory for Jobs {
    fn serve(&self, _: Broker, shard: ShardRef, _: Box<dyn Incoming>) -> LocalBoxFuture<'static, ()> {
        let job = self.0.lock().unwrap().pop_front().unwrap();
        job(shard)
    }
}

pub struct Node {
    pub id: NodeId,
    pub broker: Broker,
    pub control: Arc<NodeControl>,
    jobs: Arc<Jobs>,
}

impl Node {
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(ShardRef) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> T {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |shard| {
            Box::pin(async move {
                let _ = reply.send(work(shard).await);
            })
        });
        self.jobs.0.lock().unwrap().push_back(job);
        self.broker.accept(Box::new(NoSocket));
        answer.await.unwrap()
    }

    pub async fn produce(&self, batch: Bytes, acks: i16) -> Result<Appended, AppendError> {
        let header = BatchHeader::parse(&batch).unwrap();
        let appended = self.run(move |shard| shard.append(TP, batch, header, acks));
        tokio::time::timeout(Duration::from_secs(20), appended)
            .await
            .expect("a produce hangs")
    }

    /// [`Node::produce`] that is under way when this returns.
    pub async fn produce_later(&self, batch: Bytes, acks: i16) -> oneshot::Receiver<Result<Appended, AppendError>> {
        let (reply, answer) = oneshot::channel();
        self.run(move |shard| {
            let header = BatchHeader::parse(&batch).unwrap();
            let append = shard.append(TP, batch, header, acks);
            tokio::task::spawn_local(async move {
                let _ = reply.send(append.await);
            });
            Box::pin(async {})
        })
        .await;
        answer
    }

    /// A fetch of one partition that is under way when this returns.
    pub async fn fetch_later(&self, plan: FetchPlan) -> oneshot::Receiver<FetchedPartition> {
        let (reply, answer) = oneshot::channel();
        self.run(move |shard| {
            Box::pin(async move {
                tokio::task::spawn_local(async move {
                    let _ = reply.send(shard.fetch(plan).await.remove(0));
                });
                // It has looked once.
                tokio::task::yield_now().await;
            })
        })
        .await;
        answer
    }

    /// All below this node's high watermark, from a follower too.
    pub async fn fetch(&self, from: i64) -> FetchedPartition {
        let plan = FetchPlan {
            from_follower: true,
            ..fetch_plan(from, 1, Duration::from_millis(200))
        };
        self.run(move |shard| Box::pin(async move { shard.fetch(plan).await }))
            .await
            .remove(0)
    }

    /// Waits until the high watermark here is `to`, then answers all bytes below it.
    pub async fn read_to(&self, to: i64) -> Vec<u8> {
        let all = async {
            loop {
                let seen = self.fetch(0).await;
                if seen.error == ErrorCode::None && seen.high_watermark >= Offset(to) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let (mut at, mut bytes) = (0, Vec::new());
            while at < to {
                let part = self.fetch(at).await;
                assert_eq!(part.error, ErrorCode::None);
                assert!(
                    !part.records.is_empty(),
                    "nothing at {at} although the high watermark was {to}: {part:?}"
                );
                at = records::split_batches(&part.records)
                    .last()
                    .unwrap()
                    .unwrap()
                    .header
                    .next_offset()
                    .0;
                bytes.extend_from_slice(&part.records);
            }
            bytes
        };
        tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .expect("the high watermark does not come")
    }
}

/// Streams between these nodes are authenticated, as between all that others can reach.
pub const SECRET: &str = "a secret of at least 32 characters";

pub struct Cluster {
    pub script: Arc<Script>,
    pub timings: Timings,
    pub shards: u16,
    pub reserve_bytes: Option<u64>,
    /// Of the node at that place.
    pub secrets: [Option<&'static str>; 3],
    pub flush: Arc<dyn Fn() -> Box<dyn FlushStrategy>>,
    /// Properties of the brokers that are started from now on.
    pub config: BTreeMap<String, String>,
    disks: Vec<HostRef>,
    paths: Vec<PathBuf>,
    _dir: tempfile::TempDir,
}

pub fn registration(node: NodeId, epoch: u64, shards: u16, port: u16) -> Arc<BrokerRegistration> {
    Arc::new(BrokerRegistration {
        node_id: node,
        broker_epoch: BrokerEpoch(epoch),
        incarnation: u128::from(epoch),
        raft_id: RaftId(1),
        rack: None,
        kafka: Endpoint::default(),
        replica: Endpoint {
            host: "127.0.0.1".into(),
            port,
        },
        control: Endpoint::default(),
        shards,
        directories: Vec::new(),
        fenced: false,
        shutting_down: false,
        silent: false,
    })
}

impl Cluster {
    /// Real disks in a temporary directory; partition 0 on all three nodes, led by 1 in epoch 0.
    pub fn new(shards: u16, configs: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = NODES.iter().map(|node| dir.path().join(node.to_string())).collect();
        let hosts = NODES.iter().map(|_| Arc::new(RealHost::new()) as HostRef).collect();
        Self::on(hosts, paths, dir, shards, configs)
    }

    pub fn on_disks(disks: Vec<Arc<dyn Disk>>, configs: &[(&str, &str)]) -> Self {
        let hosts = disks.into_iter().map(host_on).collect();
        let paths = NODES.iter().map(|_| PathBuf::from("/data")).collect();
        Self::on(hosts, paths, tempfile::tempdir().unwrap(), 1, configs)
    }

    fn on(
        disks: Vec<HostRef>,
        paths: Vec<PathBuf>,
        dir: tempfile::TempDir,
        shards: u16,
        configs: &[(&str, &str)],
    ) -> Self {
        let mut image = Image {
            cluster_id: Some("tests".into()),
            index: LogIndex(100),
            ..Image::default()
        };
        let partition = PartitionImage {
            replicas: NODES.to_vec(),
            directories: vec![DirectoryId::ZERO; 3],
            incarnation: ReplicaIncarnation(50),
            isr: NODES.to_vec(),
            leader: Some(NODES[0]),
            ..PartitionImage::default()
        };
        let topic = TopicImage {
            id: TP.topic,
            name: "orders".into(),
            internal: false,
            configs: configs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            partitions: vec![Arc::new(partition)],
            created_short: false,
        };
        image.names.insert(topic.name.clone(), topic.id);
        image.topics.insert(topic.id, Arc::new(topic));
        let script = Arc::new(Script {
            image: watch::Sender::new(Arc::new(image)),
            proposals: Mutex::default(),
            marks: Mutex::default(),
            reported: watch::Sender::new(0),
            deaf: AtomicBool::new(false),
            resignations: Mutex::default(),
        });
        let flush = Arc::new(|| -> Box<dyn FlushStrategy> { Box::new(PlainFlush) });
        Self {
            script,
            timings: Timings::LAN,
            shards,
            // Whatever room this machine has.
            reserve_bytes: Some(0),
            secrets: [Some(SECRET); 3],
            flush,
            config: BTreeMap::new(),
            disks,
            paths,
            _dir: dir,
        }
    }

    /// [`Cluster::start`] on a disk that syncs only while the gate is open.
    pub async fn start_gated(&mut self, node: NodeId) -> (Node, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        let gated = gate.clone();
        let flush = std::mem::replace(&mut self.flush, Arc::new(move || Box::new(GatedFlush(gated.clone()))));
        let node = self.start(node).await;
        self.flush = flush;
        (node, gate)
    }

    /// Another disk for a node that is down.
    pub fn replace_disk(&mut self, node: NodeId, disk: Arc<dyn Disk>) {
        self.disks[usize::try_from(node.0).unwrap() - 1] = host_on(disk);
    }

    pub async fn start(&self, node: NodeId) -> Node {
        self.start_through(node, |port| Box::pin(async move { port })).await
    }

    /// `through` makes the port that peers dial from the one that the node listens on.
    pub async fn start_through<F>(&self, node: NodeId, through: F) -> Node
    where
        F: FnOnce(u16) -> BoxFuture<'static, u16>,
    {
        let node = self.start_unregistered(node).await;
        let port = through(node.broker.replica_addr().unwrap().port()).await;
        self.register(&node, port);
        node
    }

    /// ◆ Registration gives every partition that the broker led a new leader epoch; here the tests do so.
    pub fn register(&self, node: &Node, port: u16) {
        let epoch = self.script.image.borrow().index.0 + 1;
        self.script.change(|image| {
            let registered = registration(node.id, epoch, self.shards, port);
            image.brokers.insert(node.id, registered);
        });
        node.control.registration.send_replace(Some(BrokerEpoch(epoch)));
    }

    pub async fn start_unregistered(&self, node: NodeId) -> Node {
        let index = usize::try_from(node.0).unwrap() - 1;
        let directory = self.directory(index, &self.paths[index], (self.flush)());
        self.start_in(node, vec![directory]).await
    }

    /// Not registered yet, with two directories, of which the first fails when `broken` says so; and their ids.
    pub async fn start_on_two_directories(&self, node: NodeId, broken: Arc<AtomicBool>) -> (Node, [DirectoryId; 2]) {
        let index = usize::try_from(node.0).unwrap() - 1;
        let first = self.directory(index, &self.paths[index], Box::new(FailingFlush(broken)));
        let second = self.directory(index, &self.paths[index].with_extension("second"), (self.flush)());
        let ids = [first.dir.id(), second.dir.id()];
        (self.start_in(node, vec![first, second]).await, ids)
    }

    fn directory(&self, index: usize, path: &Path, flush: Box<dyn FlushStrategy>) -> DirectoryInput {
        let mut dir = LogDir::open(&self.disks[index], path).unwrap();
        let recovered = dir.recover().unwrap();
        DirectoryInput { dir, recovered, flush }
    }

    async fn start_in(&self, node: NodeId, directories: Vec<DirectoryInput>) -> Node {
        let index = usize::try_from(node.0).unwrap() - 1;
        let host = self.disks[index].clone();
        let control = Arc::new(NodeControl {
            node,
            script: self.script.clone(),
            registration: watch::Sender::new(None),
        });
        let options = BrokerOptions {
            secret: self.secrets[index].map(|secret| Arc::new(ClusterSecret::parse(secret).unwrap())),
            log_dirs: directories.iter().map(|input| input.dir.path().to_owned()).collect(),
            node_id: node,
            shards: self.shards,
            replica_listen: ("127.0.0.1".into(), 0),
            directories,
            reserve_bytes: self.reserve_bytes,
            timings: self.timings,
            config: Arc::new(self.config.clone()),
        };
        let jobs = Arc::new(Jobs::default());
        let broker = Broker::start_with(host, options, control.clone(), jobs.clone())
            .await
            .unwrap();
        Node {
            id: node,
            broker,
            control,
            jobs,
        }
    }

    /// Where the node of this index has its logs.
    pub fn path(&self, index: usize) -> &Path {
        &self.paths[index]
    }

    pub async fn start_all(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for node in NODES {
            nodes.push(self.start(node).await);
        }
        eventually_leads(&nodes[0]).await;
        nodes
    }
}

/// A fetch of the one partition from its leader.
pub fn fetch_plan(from: i64, min_bytes: usize, max_wait: Duration) -> FetchPlan {
    let partition = FetchPartition {
        tp: TP,
        fetch_offset: Offset(from),
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 50 << 20,
    };
    FetchPlan {
        partitions: vec![partition],
        max_bytes: 50 << 20,
        min_bytes,
        max_wait,
        read_committed: false,
        from_follower: false,
    }
}

/// An answer that must come soon.
pub async fn soon<T>(what: &str, answer: oneshot::Receiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), answer)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
        .unwrap()
}

pub fn batch(value: &str) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.push(1_700_000_000_000, Some(b"k"), Some(value.as_bytes()), &[]);
    batch.build()
}

/// One record of an idempotent producer.
pub fn batch_of(producer: i64, sequence: i32, value: &str) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None).producer(ProducerId(producer), ProducerEpoch(0), sequence);
    // Old, as records mirrored from elsewhere are: a duplicate is known all the same.
    batch.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
    batch.build()
}

/// Polls until `true`; for what no event of the public interface tells.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

impl NodeControl {
    pub fn unregister(&self) {
        self.registration.send_replace(None);
    }
}

pub async fn eventually_leads(node: &Node) {
    for _ in 0..500 {
        let served = node
            .run(|shard| Box::pin(async move { shard.list_offset(TP, -2, LeaderEpoch::NONE, false).await }))
            .await;
        if served.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("node {} does not lead", node.id);
}
