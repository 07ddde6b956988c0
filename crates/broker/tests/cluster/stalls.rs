//! Disks that answer late, or not for a long time.

use crate::support::*;
use logstore::{FlushJob, FlushStrategy, Flushed, PlainFlush};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// Three nodes of which the one at `stalled` has a gate before its disk, and a committed record.
async fn cluster_with_gate(stalled: usize, replica_lag: Duration) -> (Cluster, Vec<Node>, Arc<Gate>) {
    let mut cluster = Cluster::new(1, &[("min.insync.replicas", "2")]);
    cluster.timings.flush_stall = Duration::from_millis(1_000);
    cluster.timings.replica_lag = replica_lag;
    let mut nodes = Vec::new();
    let mut gate = None;
    for (at, node) in NODES.into_iter().enumerate() {
        if at == stalled {
            let (node, gated) = cluster.start_gated(node).await;
            nodes.push(node);
            gate = Some(gated);
        } else {
            nodes.push(cluster.start(node).await);
        }
    }
    eventually_leads(&nodes[0]).await;
    nodes[0].produce(batch("before"), -1).await.unwrap();
    (cluster, nodes, gate.unwrap())
}

/// ◆ Fails without the resignation: node 1 would lead, and acknowledge nothing, for as long as its disk stalls. The
/// replica lag is so long that only the resignation itself can take node 1 out of the way of the high watermark.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_flush_stalls_resigns_and_comes_back_as_a_follower() {
    let (cluster, nodes, gate) = cluster_with_gate(0, Duration::from_secs(300)).await;
    gate.close();
    let waiting = nodes[0].produce_later(batch_of(7, 0, "during"), -1).await;
    let told = soon("the waiting produce is told", waiting).await.unwrap_err();
    assert_eq!(told.code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(told.leader, Some((NodeId(2), LeaderEpoch(1))));
    let moved = cluster.script.partition();
    assert_eq!((moved.leader, moved.isr), (Some(NodeId(2)), vec![NodeId(2), NodeId(3)]));
    // Sent again as clients do: it is there once.
    eventually_leads(&nodes[1]).await;
    let again = nodes[1].produce(batch_of(7, 0, "during"), -1).await.unwrap();
    assert_eq!(again.base_offset, Offset(1));
    assert_eq!(
        nodes[1].produce(batch("after"), -1).await.unwrap().base_offset,
        Offset(2)
    );
    assert_eq!(cluster.script.partition().isr.len(), 2, "while the disk stalls");
    gate.open();
    eventually("the first is back in the ISR", || {
        cluster.script.partition().isr.len() == 3
    })
    .await;
    let bytes = nodes[1].read_to(3).await;
    assert_eq!(nodes[0].read_to(3).await, bytes);
    assert_eq!(nodes[2].read_to(3).await, bytes);
    let settled = cluster.script.partition();
    assert_eq!(
        (settled.leader, settled.leader_epoch),
        (Some(NodeId(2)), LeaderEpoch(1))
    );
}

/// ◆ Fails without standing down: where the metadata is on the disk that stalls, its node learns of no other leader, and its
/// clients would wait for it as long as the disk does.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nothing_of_its_resignation_sends_its_clients_away() {
    let (cluster, nodes, gate) = cluster_with_gate(0, Duration::from_secs(300)).await;
    cluster.script.deaf.store(true, Ordering::Relaxed);
    gate.close();
    let waiting = nodes[0].produce_later(batch_of(7, 0, "during"), -1).await;
    let told = soon("the waiting produce is told", waiting).await.unwrap_err();
    assert_eq!((told.code, told.leader), (ErrorCode::KafkaStorageError, None));
    let refused = nodes[0].produce(batch_of(7, 0, "during"), -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    // Nobody led instead: it goes on where it stood, and what it was sent before is there once.
    gate.open();
    let again = loop {
        match nodes[0].produce(batch_of(7, 0, "during"), -1).await {
            Ok(again) => break again,
            Err(refused) => assert_eq!(refused.code, ErrorCode::KafkaStorageError),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(again.base_offset, Offset(1));
    assert_eq!(
        nodes[0].produce(batch("after"), -1).await.unwrap().base_offset,
        Offset(2)
    );
    assert_eq!(cluster.script.partition().leader_epoch, LeaderEpoch(0));
}

/// Takes a while for every round.
struct SlowFlush;

impl FlushStrategy for SlowFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        std::thread::sleep(Duration::from_millis(300));
        PlainFlush.flush(jobs)
    }
}

/// Fails if time with something to flush counts, and not the time that one flush takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_keeps_its_leaders() {
    let mut cluster = Cluster::new(1, &[]);
    cluster.timings.flush_stall = Duration::from_millis(1_500);
    cluster.flush = Arc::new(|| Box::new(SlowFlush));
    let nodes = cluster.start_all().await;
    // Always something to flush, for twice the limit and more.
    let mut waiting = Vec::new();
    for index in 0..80 {
        waiting.push(nodes[0].produce_later(batch(&format!("slow {index}")), -1).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for produce in waiting {
        soon("a produce on a slow disk", produce).await.unwrap();
    }
    assert_eq!(cluster.script.partition().leader_epoch, LeaderEpoch(0));
    assert_eq!(*cluster.script.resignations.lock().unwrap(), []);
}

/// Fails if a leader resigns with nobody to take over: the partition would be offline, or lose what is committed.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_in_sync_replica_leads_on_and_acknowledges_when_its_disk_is_back() {
    let mut cluster = Cluster::new(1, &[("min.insync.replicas", "1")]);
    cluster.timings.flush_stall = Duration::from_millis(500);
    cluster.script.elect(Some(1), &[1]);
    let (first, gate) = cluster.start_gated(NODES[0]).await;
    // Alive as far as anyone knows, and not in the ISR.
    cluster.script.change(|image| {
        image.brokers.insert(NODES[1], registration(NODES[1], 200, 1, 1));
    });
    eventually_leads(&first).await;
    first.produce(batch("before"), -1).await.unwrap();
    gate.close();
    let waiting = first.produce_later(batch("during"), -1).await;
    // The limit and some ticks.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(cluster.script.partition().leader_epoch, LeaderEpoch(1));
    assert_eq!(
        *cluster.script.resignations.lock().unwrap(),
        [],
        "nobody is asked in vain"
    );
    gate.open();
    let appended = soon("the produce is committed", waiting).await.unwrap();
    assert_eq!(appended.base_offset, Offset(1));
}

/// Fails if a follower's disk holds the high watermark for longer than the lag rule, or moves the leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_flush_stalls_leaves_the_isr_and_nothing_else_moves() {
    let (cluster, nodes, gate) = cluster_with_gate(2, Duration::from_millis(1_500)).await;
    gate.close();
    let appended = nodes[0].produce(batch("during"), -1).await.unwrap();
    assert_eq!(appended.base_offset, Offset(1));
    let now = cluster.script.partition();
    assert_eq!(
        (now.leader_epoch, now.isr),
        (LeaderEpoch(0), vec![NodeId(1), NodeId(2)])
    );
    nodes[0].produce(batch("after"), -1).await.unwrap();
    gate.open();
    eventually("the third is back in the ISR", || {
        cluster.script.partition().isr.len() == 3
    })
    .await;
    assert_eq!(nodes[2].read_to(3).await, nodes[0].read_to(3).await);
    assert_eq!(*cluster.script.resignations.lock().unwrap(), []);
}
