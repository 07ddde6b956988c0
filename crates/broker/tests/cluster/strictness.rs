use crate::support::*;
use std::time::Duration;
use types::{LeaderEpoch, NodeId, Offset};

/// What was appended while nothing asked for a flush is flushed when the topic becomes strict, on leader and follower:
/// no produce waits for other traffic.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_becomes_strict_is_flushed() {
    let cluster = Cluster::new(1, &[("flush.messages", "1000")]);
    let first = cluster.start(NODES[0]).await;
    let second = cluster.start(NODES[1]).await;
    eventually_leads(&first).await;
    // Waits for the third; the others have it in memory.
    let waiting = first.produce_later(batch("relaxed"), -1).await;
    cluster.script.configure("flush.messages", "1");
    let third = cluster.start(NODES[2]).await;
    let appended = soon("the produce is committed", waiting).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    for node in [&second, &third] {
        node.read_to(1).await;
    }
}

/// ◆ A replica is said to be strict once all that it has is durable, not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_marked_strict_once_it_is_durable() {
    let mut cluster = Cluster::new(1, &[("flush.messages", "1000")]);
    let (node, gate) = cluster.start_gated(NODES[0]).await;
    eventually_leads(&node).await;
    node.produce(batch("relaxed"), 1).await.unwrap();
    gate.close();
    cluster.script.configure("flush.messages", "1");
    // Some ticks.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(*cluster.script.marks.lock().unwrap(), [], "bytes are dirty");
    gate.open();
    eventually("marked", || !cluster.script.marks.lock().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let marks = cluster.script.marks.lock().unwrap().clone();
    assert_eq!(marks, [(NodeId(1), LeaderEpoch(0), true)], "once");
    assert_eq!(cluster.script.partition().strict, [NodeId(1)]);
}
