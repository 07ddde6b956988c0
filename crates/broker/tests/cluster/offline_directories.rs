//! Log directories that fail while the node lives on.

use crate::support::*;
use broker::{LogDirDescription, ReplicaSize};
use bytes::Bytes;
use metadata::{DirectoryReport, PartitionImage};
use records::BatchHeader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use types::{DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

/// In the other directory of node 1.
const OTHER: TopicPartition = TopicPartition { partition: 1, ..TP };

async fn produce_to_other(node: &Node, batch: Bytes) -> Result<Offset, ErrorCode> {
    let header = BatchHeader::parse(&batch).unwrap();
    loop {
        let batch = batch.clone();
        let appended = node.run(move |shard| shard.append(OTHER, batch, header, -1)).await;
        match appended {
            Ok(appended) => return Ok(appended.base_offset),
            Err(error) if error.code == ErrorCode::NotLeaderOrFollower => tokio::task::yield_now().await,
            Err(error) => return Err(error.code),
        }
    }
}

/// Three nodes, of which the one at `two` has [`TP`] in the first of its directories, which fails when told to, and [`OTHER`]
/// in its second. Both have a committed record.
async fn cluster_with_two_directories(two: usize) -> (Cluster, Vec<Node>, Arc<AtomicBool>) {
    let mut cluster = Cluster::new(1, &[("min.insync.replicas", "2")]);
    cluster.timings.replica_lag = Duration::from_secs(300);
    let broken = Arc::new(AtomicBool::new(false));
    let (node, ids) = cluster.start_on_two_directories(NODES[two], broken.clone()).await;
    cluster.script.change(|image| {
        let mut topic = (*image.topics[&TP.topic]).clone();
        let mut failing = (*topic.partitions[0]).clone();
        failing.directories[two] = ids[0];
        let mut other = failing.clone();
        other.directories[two] = ids[1];
        topic.partitions = vec![Arc::new(failing), Arc::new(other)];
        image.topics.insert(TP.topic, Arc::new(topic));
    });
    register_with(&cluster, &node, ids);
    let mut nodes = Vec::new();
    let mut with_two = Some(node);
    for (at, node) in NODES.into_iter().enumerate() {
        nodes.push(match with_two.take_if(|_| at == two) {
            Some(node) => node,
            None => cluster.start(node).await,
        });
    }
    eventually_leads(&nodes[0]).await;
    nodes[0].produce(batch("before"), -1).await.unwrap();
    assert_eq!(produce_to_other(&nodes[0], batch("before")).await, Ok(Offset(0)));
    (cluster, nodes, broken)
}

fn register_with(cluster: &Cluster, node: &Node, ids: [DirectoryId; 2]) {
    cluster.register(node, node.broker.replica_addr().unwrap().port());
    cluster.script.change(|image| {
        let mut registered = (*image.brokers[&node.id]).clone();
        let sound = |id| DirectoryReport {
            id,
            ..DirectoryReport::default()
        };
        registered.directories = ids.map(sound).to_vec();
        image.brokers.insert(node.id, Arc::new(registered));
    });
}

fn other(cluster: &Cluster) -> PartitionImage {
    (**cluster.script.image.borrow().partition(OTHER).unwrap()).clone()
}

/// ◆ Fails if the controller is not told (node 1 would lead for ever, and acknowledge nothing), if the node stops, or if its
/// other directory does.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_directory_takes_its_leaders_down_and_nothing_else() {
    let (cluster, nodes, broken) = cluster_with_two_directories(0).await;
    broken.store(true, Ordering::Relaxed);
    let refused = nodes[0].produce(batch_of(7, 0, "during"), -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    eventually("another leads", || cluster.script.partition().leader == Some(NODES[1])).await;
    let moved = cluster.script.partition();
    assert_eq!(
        (moved.leader_epoch, moved.isr),
        (LeaderEpoch(1), vec![NODES[1], NODES[2]])
    );
    eventually_leads(&nodes[1]).await;
    // The batch may have reached the others: sent again, it is there once.
    let again = nodes[1].produce(batch_of(7, 0, "during"), -1).await.unwrap();
    assert_eq!(again.base_offset, Offset(1));
    assert_eq!(
        nodes[1].produce(batch("after"), -1).await.unwrap().base_offset,
        Offset(2)
    );

    assert_eq!(produce_to_other(&nodes[0], batch("after")).await, Ok(Offset(1)));
    let other = other(&cluster);
    assert_eq!(
        (other.leader, other.leader_epoch, other.isr.len()),
        (Some(NodeId(1)), LeaderEpoch(0), 3)
    );
    assert!(!*nodes[0].broker.storage_failed().borrow());
}

/// Fails if what a failed replica never acknowledges fills the stream that its leader has to this node; also while nobody
/// else knows of the failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_with_a_failed_directory_goes_on_in_the_other() {
    let (cluster, nodes, broken) = cluster_with_two_directories(2).await;
    cluster.script.deaf.store(true, Ordering::Relaxed);
    // After that no new image makes anybody look.
    eventually("all are strict", || cluster.script.partition().strict.len() == 3).await;
    broken.store(true, Ordering::Relaxed);
    let value = "x".repeat(900 * 1024);
    // Much more than the window of one stream.
    for _ in 0..24 {
        nodes[0].produce(batch(&value), 1).await.unwrap();
    }
    let produced = tokio::time::timeout(Duration::from_secs(20), produce_to_other(&nodes[0], batch("after")));
    assert_eq!(produced.await.expect("a produce hangs"), Ok(Offset(1)));
    assert_eq!(
        (other(&cluster).isr.len(), other(&cluster).leader_epoch),
        (3, LeaderEpoch(0))
    );
    cluster.script.deaf.store(false, Ordering::Relaxed);
    eventually("the failed replica is out of the ISR", || {
        cluster.script.partition().isr == [NODES[0], NODES[1]]
    })
    .await;
}

/// Fails if what is described is not the broker's own, or if a directory is told as sound that has failed.
#[tokio::test(flavor = "multi_thread")]
async fn log_directories_are_described_with_sizes_and_the_failed_one_without() {
    let (cluster, nodes, broken) = cluster_with_two_directories(0).await;
    for _ in 0..3 {
        produce_to_other(&nodes[0], batch("more")).await.unwrap();
    }
    let describe = async || {
        let described = nodes[0].run(|shard| Box::pin(async move { shard.describe_log_dirs().await }));
        described.await.try_into().expect("two directories")
    };
    let size = batch("before").len() as u64;
    let replica = |partition, size_bytes| ReplicaSize {
        topic: "orders".to_owned(),
        partition,
        size_bytes,
    };
    let [first, second]: [LogDirDescription; 2] = describe().await;
    assert_eq!((&*first.path, first.failed), (cluster.path(0), false));
    assert_eq!(first.replicas, [replica(0, size)]);
    assert_eq!(second.replicas, [replica(1, size + 3 * batch("more").len() as u64)]);
    for directory in [&first, &second] {
        let space = directory.space.unwrap();
        assert!(
            space.free_bytes > 0 && space.free_bytes <= space.total_bytes,
            "{space:?}"
        );
    }
    broken.store(true, Ordering::Relaxed);
    nodes[0].produce(batch("during"), -1).await.unwrap_err();
    let [failed, other]: [LogDirDescription; 2] = describe().await;
    assert_eq!((failed.failed, failed.space, failed.replicas.len()), (true, None, 0));
    assert_eq!((other.failed, other.replicas), (false, second.replicas));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// ◆ Of two copies of a replica, the one counts that is where the metadata has it: the other, here one of some time ago, would
/// be a member of the ISR that forgot what it acknowledged. Fails if the copy that is found last is taken.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_replica_in_two_directories_the_one_where_the_metadata_has_it_counts() {
    let (cluster, mut nodes, sound) = cluster_with_two_directories(2).await;
    let second = cluster.path(2).with_extension("second");
    let aside = tempfile::tempdir().unwrap();
    nodes.pop().unwrap().broker.shutdown().await;
    copy(&second, aside.path());

    // It is taken away and given again, in the first directory, and catches up there.
    let (node, ids) = cluster.start_on_two_directories(NODES[2], sound.clone()).await;
    cluster.script.change_partition_of(OTHER, |moved| {
        moved.directories[2] = ids[0];
        moved.isr.retain(|member| *member != NODES[2]);
    });
    register_with(&cluster, &node, ids);
    assert_eq!(produce_to_other(&nodes[0], batch("after")).await, Ok(Offset(1)));
    eventually("it is in sync", || other(&cluster).isr.len() == 3).await;
    node.broker.shutdown().await;

    std::fs::remove_dir_all(&second).unwrap();
    copy(aside.path(), &second);
    let (node, ids) = cluster.start_on_two_directories(NODES[2], sound).await;
    register_with(&cluster, &node, ids);
    let describe = || node.run(|shard| Box::pin(async move { shard.describe_log_dirs().await }));
    eventually("the other copy is gone", || !second.join("orders-1").exists()).await;
    let whole = ReplicaSize {
        topic: "orders".to_owned(),
        partition: 1,
        size_bytes: (batch("before").len() + batch("after").len()) as u64,
    };
    let [first, second]: [LogDirDescription; 2] = describe().await.try_into().expect("two directories");
    assert!(first.replicas.contains(&whole), "{:?}", first.replicas);
    assert_eq!(second.replicas, []);
}
