//! Retention and DeleteRecords: what the leader deletes is deleted everywhere.

use crate::subject::AppendError;
use crate::support::*;
use records::{BatchBuilder, Compression};
use std::path::Path;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

const LONG: Duration = Duration::from_secs(20);

impl Node {
    async fn delete_records(&self, offset: i64, timeout: Duration) -> Result<Offset, AppendError> {
        self.run(move |shard| Box::pin(async move { shard.delete_records(TP, Offset(offset), timeout).await }))
            .await
    }

    /// [`Node::delete_records`] that is under way when this returns.
    async fn delete_records_later(&self, offset: i64) -> tokio::sync::oneshot::Receiver<Result<Offset, AppendError>> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.run(move |shard| {
            Box::pin(async move {
                tokio::task::spawn_local(async move {
                    let _ = reply.send(shard.delete_records(TP, Offset(offset), LONG).await);
                });
                tokio::task::yield_now().await;
            })
        })
        .await;
        answer
    }

    /// Where this replica's log starts; −1 while it serves nothing.
    async fn log_start(&self) -> Offset {
        for offset in 0.. {
            let seen = self.fetch(offset).await;
            if seen.error != ErrorCode::OffsetOutOfRange {
                return seen.log_start;
            }
        }
        unreachable!("a log ends")
    }

    async fn eventually_starts_at(&self, offset: i64) {
        let moved = async {
            while self.log_start().await != Offset(offset) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, moved)
            .await
            .unwrap_or_else(|_| panic!("node {} does not delete", self.id));
    }
}

async fn produced(nodes: &[Node], records: i64) {
    for index in 0..records {
        nodes[0].produce(batch(&format!("record {index}")), -1).await.unwrap();
    }
    for node in nodes {
        node.read_to(records).await;
    }
}

fn code(outcome: Result<Offset, AppendError>) -> ErrorCode {
    outcome.map_or_else(|error| error.code, |_| ErrorCode::None)
}

/// Fails if followers do not follow, if the answer comes before they have, or if a log start is only in memory.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_on_every_replica_when_that_is_answered() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    produced(&nodes, 10).await;
    assert_eq!(nodes[0].delete_records(4, LONG).await, Ok(Offset(4)));
    for node in &nodes {
        assert_eq!(node.log_start().await, Offset(4), "node {}", node.id);
        assert_eq!(node.fetch(3).await.error, ErrorCode::OffsetOutOfRange);
        assert_eq!(node.fetch(4).await.error, ErrorCode::None);
    }
    // What is deleted already stays so.
    assert_eq!(nodes[0].delete_records(2, LONG).await, Ok(Offset(4)));
    assert_eq!(
        nodes[0].delete_records(-1, LONG).await,
        Ok(Offset(10)),
        "the high watermark"
    );
    // Nothing is left, and everything goes on from there: over the same streams, and over new ones.
    nodes[0].produce(batch("after"), -1).await.unwrap();
    for node in nodes {
        assert!(node.broker.shutdown().await);
    }
    let again = [cluster.start(NODES[1]).await, cluster.start(NODES[2]).await];
    cluster.script.elect(Some(2), &[2, 3]);
    eventually_leads(&again[0]).await;
    again[0].produce(batch("and later"), -1).await.unwrap();
    for node in &again {
        node.eventually_starts_at(10).await;
    }
}

/// Fails if a replica that starts over does not take the batch that the log start lies in.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_joins_although_the_log_starts_in_the_middle_of_a_batch() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    for _ in 0..2 {
        let mut five = BatchBuilder::new(Compression::None);
        for number in 0..5 {
            five.push(number, None, Some(b"value"), &[]);
        }
        nodes[0].produce(five.build(), -1).await.unwrap();
    }
    assert_eq!(nodes[0].delete_records(7, LONG).await, Ok(Offset(7)));
    nodes[2].broker.shutdown().await;
    cluster.script.elect(Some(1), &[1, 2]);
    std::fs::remove_dir_all(cluster.path(2)).unwrap();
    let third = cluster.start(NODES[2]).await;
    let copied = async {
        while third.fetch(7).await.high_watermark != Offset(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, copied).await.expect("it is never copied");
    let records = third.fetch(7).await.records;
    assert_eq!(records, nodes[0].fetch(7).await.records);
    let first = records::split_batches(&records).next().unwrap().unwrap();
    assert_eq!(first.header.base_offset, Offset(5));
}

/// Behaviour 50. Fails if a replica that is down and not fenced is not waited for, or ◆ one that is fenced and may be elected all
/// the same, or if one that may not is.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_every_live_replica() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    produced(&nodes, 5).await;
    nodes[2].broker.shutdown().await;
    let late = nodes[0].delete_records(3, Duration::from_millis(300)).await;
    assert_eq!(code(late), ErrorCode::RequestTimedOut);
    assert_eq!(nodes[0].log_start().await, Offset(3), "all the same");
    let mut waiting = nodes[0].delete_records_later(5).await;
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "answered although node 3 has not deleted: {early:?}");
    cluster.script.change(|image| {
        let mut fenced = (*image.brokers[&NodeId(3)]).clone();
        fenced.fenced = true;
        image.brokers.insert(fenced.node_id, fenced.into());
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "answered although node 3 is in the ISR: {early:?}");
    let not_third = |node: &NodeId| *node != NodeId(3);
    cluster
        .script
        .change_partition(|partition| partition.isr.retain(not_third));
    assert_eq!(soon("the deletion is answered", waiting).await, Ok(Offset(5)));
    let third = cluster.start(NODES[2]).await;
    third.eventually_starts_at(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_belongs_to_one_leader_epoch() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    produced(&nodes, 5).await;
    nodes[2].broker.shutdown().await;
    let waiting = nodes[0].delete_records_later(5).await;
    cluster.script.elect(Some(2), &[1, 2]);
    let failed = soon("the deletion is told", waiting).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(failed.leader, Some((NodeId(2), LeaderEpoch(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_is_refused() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    produced(&nodes, 5).await;
    for (node, offset, expected) in [
        (0, 6, ErrorCode::OffsetOutOfRange),
        (0, -2, ErrorCode::OffsetOutOfRange),
        (1, 3, ErrorCode::NotLeaderOrFollower),
        (0, 0, ErrorCode::None),
    ] {
        assert_eq!(
            code(nodes[node].delete_records(offset, LONG).await),
            expected,
            "{offset}"
        );
    }
    cluster.script.configure("cleanup.policy", "compact");
    let refused = async {
        while code(nodes[0].delete_records(1, LONG).await) != ErrorCode::PolicyViolation {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, refused)
        .await
        .expect("compacted, but deleted");
    cluster.script.configure("cleanup.policy", "compact,delete");
    let allowed = async {
        while code(nodes[0].delete_records(2, LONG).await) != ErrorCode::None {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, allowed).await.expect("never allowed");
}

/// Fails if nobody looks at retention, if followers keep what the leader deleted, or if files stay.
#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_on_every_replica() {
    let mut cluster = Cluster::new(
        1,
        &[
            ("segment.bytes", "1000"),
            ("retention.ms", "-1"),
            ("file.delete.delay.ms", "0"),
        ],
    );
    cluster.timings.retention_check = Duration::from_millis(50);
    let nodes = cluster.start_all().await;
    produced(&nodes, 60).await;
    for node in &nodes {
        assert_eq!(node.log_start().await, Offset(0), "nothing expires");
    }
    cluster.script.configure("retention.bytes", "2500");
    let leader_moved = async {
        while nodes[0].log_start().await == Offset(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, leader_moved)
        .await
        .expect("nothing is deleted");
    let start = nodes[0].log_start().await;
    for (index, node) in nodes.iter().enumerate() {
        node.eventually_starts_at(start.0).await;
        let log = cluster.path(index).join("orders-0");
        eventually("the files are gone", || !first_segment(&log)).await;
        let kept: u64 = std::fs::read_dir(&log)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert!((2_000..4_600).contains(&kept), "{kept} bytes are kept");
    }
    // Everything is old: the active segment goes too, and offsets go on.
    cluster.script.configure("retention.ms", "1");
    for node in &nodes {
        node.eventually_starts_at(60).await;
    }
    assert_eq!(
        nodes[0].produce(batch("new"), -1).await.unwrap().base_offset,
        Offset(60)
    );
}

fn first_segment(log: &Path) -> bool {
    log.join("00000000000000000000.log").exists() || log.join("00000000000000000000.log.deleted").exists()
}
