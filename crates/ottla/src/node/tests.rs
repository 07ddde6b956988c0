//! What a node finds out about its log directories when it starts.

use super::*;
use crate::client::Connection;
use controller::{AlterConfigs, AlterConfigsResource, ConfigChange, ConfigResource, CreateTopics, NewTopic};
use host::sim_disk::SimDisk;
use host::{Disk, RealHost};
use logstore::conformance::{SimMachine, append, flush, partition};
use logstore::{LogConfig, PlainFlush};
use raft::{FramedTransport, SimStore};
use std::path::Path;
use types::{LeaderEpoch, NodeId, ReplicaIncarnation};

const DATA: &str = "/data";

async fn tried(disk: Arc<dyn Disk>) -> Result<Result<Opened, Unusable>, StartError> {
    let host = SimMachine::host(disk, 7);
    open(&host, PathBuf::from(DATA), JournalSize::default(), 2).await
}

async fn opened(disk: Arc<dyn Disk>) -> LogDirectory {
    tried(disk).await.unwrap().unwrap().2
}

/// ◆ One damaged log is reported by name, and its directory is good all the same.
#[tokio::test]
async fn a_flipped_bit_damages_one_replica() {
    let sim = SimDisk::new();
    {
        let host = SimMachine::host(sim.handle(), 1);
        let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
        let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
        for number in 0..2 {
            let mut log = dir
                .create_log("orders", partition(number), ReplicaIncarnation(1), LogConfig::default())
                .unwrap();
            for seed in 0..5 {
                append(&mut log, LeaderEpoch(0), 3, 100, seed).unwrap();
            }
            assert!(flush(&mut log, &flusher));
        }
    }
    let whole = opened(sim.reopen()).await;
    assert_eq!((whole.damaged, whole.new), (vec![], false));
    let segment = format!("{DATA}/orders-0/00000000000000000000.log");
    sim.flip_bit(Path::new(&segment), 700, 3).unwrap();
    let found = opened(sim.reopen()).await;
    assert_eq!(found.damaged, [partition(0)]);
    assert_eq!(found.report.outcome, DirectoryOutcome::Intact);
}

/// ◆ The marker of an orderly stop speaks for one start, and is gone for good before anything is written.
#[tokio::test]
async fn the_marker_of_a_clean_stop_is_used_once() {
    let sim = SimDisk::new();
    let first = opened(sim.handle()).await;
    assert!(first.new && !first.report.clean);
    let marker = PathBuf::from(DATA).join(CLEAN);
    sim.reopen().write_durably(&marker, b"1\n").unwrap();
    let second = opened(sim.reopen()).await;
    assert!(!second.new && second.report.clean);
    assert_eq!(second.report.id, first.report.id);
    sim.crash_losing_everything_unsynced();
    assert!(!sim.handle().exists(&marker));
    assert!(!opened(sim.handle()).await.report.clean);
}

/// ◆ What a disk fails to give is told of as failed, by the directory's own id, so that nothing takes its place; what a
/// person must decide stops the start.
#[tokio::test]
async fn a_directory_that_cannot_be_recovered_is_told_of_by_its_id() {
    let sim = SimDisk::new();
    let id = opened(sim.handle()).await.report.id;
    let disk = sim.reopen();
    for marks in ["marks-0", "marks-1"] {
        let path = Path::new(DATA).join(marks);
        if disk.exists(&path) {
            disk.remove_file(&path).unwrap();
        }
    }
    let opened = tried(disk).await.unwrap();
    let (told, _) = opened.err().unwrap();
    let failed = DirectoryReport {
        id,
        outcome: DirectoryOutcome::Failed,
        clean: false,
    };
    assert_eq!(told.unwrap().report, failed);
    let disk = sim.reopen();
    disk.write_durably(&Path::new(DATA).join("meta.properties"), b"of something else")
        .unwrap();
    assert!(
        open(
            &SimMachine::host(disk, 7),
            PathBuf::from(DATA),
            JournalSize::default(),
            2
        )
        .await
        .is_err()
    );
}

/// A node alone, on these directories.
struct Alone {
    root: tempfile::TempDir,
    store: SimStore,
    ports: Vec<u16>,
}

impl Alone {
    fn new() -> Self {
        let free: Vec<std::net::TcpListener> = (0..3)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            root: tempfile::tempdir().unwrap(),
            store: SimStore::new(1),
            ports: free.iter().map(|port| port.local_addr().unwrap().port()).collect(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn start(&self, log_dirs: &[&str]) -> Node {
        self.start_with(log_dirs, &[]).await
    }

    async fn start_with(&self, log_dirs: &[&str], more: &[&str]) -> Node {
        let log_dirs: Vec<_> = log_dirs
            .iter()
            .map(|name| self.path(name).display().to_string())
            .collect();
        let flags = [
            "node.id=1".to_owned(),
            "num.shards=1".to_owned(),
            format!("listeners=PLAINTEXT://127.0.0.1:{}", self.ports[0]),
            format!("control.listener=127.0.0.1:{}", self.ports[1]),
            format!("replica.listener=127.0.0.1:{}", self.ports[2]),
            "admin.listener=127.0.0.1:0".to_owned(),
            format!("log.dirs={}", log_dirs.join(",")),
            format!("metadata.log.dir={}", self.path("raft").display()),
        ];
        let more = more.iter().map(|flag| (*flag).to_owned());
        let flags: Vec<String> = flags.into_iter().chain(more).collect();
        let settings = Settings::read(None, std::iter::empty(), &flags).unwrap();
        let host: HostRef = Arc::new(RealHost::new());
        let transport = Arc::new(FramedTransport::new(host.clone()));
        let mut node = Node::start(host, settings, None, self.store.reopen(), transport)
            .await
            .unwrap();
        node.ready().await.unwrap();
        node
    }
}

/// Creates a topic and waits until the node knows of it.
async fn create(node: &Node, partitions: i32) {
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions,
        replication_factor: 1,
        ..NewTopic::default()
    };
    let command = CreateTopics {
        topics: vec![topic],
        validate_only: false,
    };
    let created = node.control.create_topics(command).await.unwrap();
    assert_eq!(created[0].error, types::ErrorCode::None, "{created:?}");
    let wanted = usize::try_from(partitions).unwrap();
    let mut images = node.control.image();
    images
        .wait_for(|image| image.partitions().count() == wanted)
        .await
        .unwrap();
}

/// Fails if the node does not start without one of its directories, if it leads what is in there, or if it makes it anew in
/// the other.
#[tokio::test]
async fn a_node_starts_without_a_directory_that_has_failed() {
    let alone = Alone::new();
    let both = ["first", "second"];
    let life = async |sound: &[&str]| {
        let node = alone.start(&both).await;
        let images = node.control.image();
        let image = images.borrow().clone();
        for (tp, _, partition) in image.partitions() {
            let name = format!("t-{}", tp.partition);
            let there: Vec<_> = both
                .into_iter()
                .filter(|dir| alone.path(dir).join(&name).exists())
                .collect();
            assert_eq!(there.len(), 1, "{name} is in {there:?}");
            assert_eq!(partition.leader.is_some(), sound.contains(&there[0]), "{name}");
        }
        node.stop().await;
        image.partitions().count()
    };
    tokio::task::LocalSet::new()
        .run_until(async {
            let node = alone.start(&both).await;
            create(&node, 4).await;
            // Their logs are made by the shards.
            let made = |dir: &str| {
                (0..4)
                    .filter(|p| alone.path(dir).join(format!("t-{p}/partition.metadata")).exists())
                    .count()
            };
            while made("first") + made("second") < 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!((made("first"), made("second")), (2, 2));
            node.stop().await;
            assert_eq!(life(&both).await, 4);
            for marks in ["marks-0", "marks-1"] {
                // One of them may not be there yet.
                let _ = std::fs::remove_file(alone.path("second").join(marks));
            }
            assert_eq!(life(&["first"]).await, 4);
        })
        .await;
}

/// Fails if the rate does nothing, if who waits for it is refused, or if what is set while the node runs changes nothing.
#[tokio::test]
async fn connections_are_served_at_the_rate_that_is_set_now() {
    let alone = Alone::new();
    let address = format!("127.0.0.1:{}", alone.ports[0]);
    let connect = async |count: usize| {
        let started = tokio::time::Instant::now();
        for _ in 0..count {
            Connection::open(&address).await.unwrap();
        }
        started.elapsed()
    };
    tokio::task::LocalSet::new()
        .run_until(async {
            let node = alone.start_with(&["data"], &["max.connection.creation.rate=4"]).await;
            // Forty may come at once.
            assert!(connect(46).await >= Duration::from_millis(1_500));
            for (name, rate) in [
                ("max.connection.creation.rate", "1000"),
                ("listener.name.plaintext.max.connection.creation.rate", "0"),
            ] {
                let resource = AlterConfigsResource {
                    resource: ConfigResource::Broker(None),
                    changes: [(name.to_owned(), ConfigChange::Set(rate.to_owned()))].into(),
                    replace: false,
                };
                let command = AlterConfigs {
                    resources: vec![resource],
                    validate_only: false,
                };
                assert_eq!(node.control.alter_configs(command).await, Ok(vec![Ok(())]));
                let mut images = node.control.image();
                let set = |image: &Image| {
                    image
                        .broker_configs
                        .get(&None)
                        .is_some_and(|set| set.contains_key(name))
                };
                images.wait_for(|image| set(image)).await.unwrap();
                if rate == "0" {
                    assert!(connect(2).await >= Duration::from_secs(2));
                } else {
                    // At four a second they would take a minute.
                    assert!(connect(240).await < Duration::from_secs(30));
                }
            }
            node.stop().await;
        })
        .await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// ◆ An old copy of the log directory in place of what this node wrote last, beside the metadata of today: sound to
/// the last byte, and without what was acknowledged since. Its replicas must not stay in ISR and ELR.
#[tokio::test]
async fn an_old_copy_of_a_log_directory_loses_its_replicas() {
    let alone = Alone::new();
    let (data, aside) = (alone.path("data"), alone.path("aside"));
    let life = async |wait_for_isr: Option<usize>| {
        let node = alone.start(&["data"]).await;
        let mut images = node.control.image();
        match wait_for_isr {
            None => create(&node, 1).await,
            Some(members) => {
                let image = images.borrow_and_update().clone();
                let (_, _, partition) = image.partitions().next().unwrap();
                let expected: Vec<NodeId> = [NodeId(1)].into_iter().take(members).collect();
                assert_eq!((&partition.isr, partition.elr.len()), (&expected, 0));
                assert_eq!(partition.leader.is_some(), members > 0);
            }
        }
        node.stop().await;
    };
    tokio::task::LocalSet::new()
        .run_until(async {
            life(None).await;
            copy(&data, &aside);
            life(Some(1)).await;
            std::fs::remove_dir_all(&data).unwrap();
            copy(&aside, &data);
            life(Some(0)).await;
        })
        .await;
}
