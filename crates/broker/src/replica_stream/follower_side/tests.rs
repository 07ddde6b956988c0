use crate::support::*;
use std::time::Duration;
use types::{BrokerEpoch, ErrorCode, NodeId, Offset};

/// A partition that leaves its stream and is back in the same turn of the loop states its position again: nothing else
/// would, until the stream breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_leaves_and_comes_back_is_followed() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    // It has a replica.
    nodes[1].read_to(0).await;
    for index in 0..20 {
        nodes[1]
            .run(|shard| {
                let partition = shard.partition(TP).unwrap();
                let now = shard.links().host.now();
                let (view, rules) = {
                    let mut partition = partition.borrow_mut();
                    let change = partition.become_idle(ErrorCode::NotLeaderOrFollower);
                    shard.change(TP, change);
                    (partition.view.clone(), partition.rules)
                };
                assert_eq!(view.leader, Some(NodeId(1)));
                let change = partition.borrow_mut().on_view(view, rules, now);
                shard.change(TP, change);
                Box::pin(async {})
            })
            .await;
        let appended = nodes[0].produce(batch(&format!("{index}")), -1).await.unwrap();
        assert_eq!(appended.base_offset, Offset(index));
    }
    // Nor was it dropped for its silence.
    assert_eq!(cluster.script.proposals.lock().unwrap().len(), 0);
}

/// Fails if a position that is stated twice, which the leader refuses, is repeated for ever: the leader has closed the first
/// one's feed. So it was where an answer to an earlier position came late (simulator, seed 381).
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_stated_twice_is_stated_anew() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    nodes[1].read_to(0).await;
    nodes[0].produce(batch("first"), -1).await.unwrap();
    let generation = || async {
        let read = |shard: crate::shard::ShardRef| {
            let hello = shard.partition(TP).unwrap().borrow().hello(BrokerEpoch(1));
            futures::future::ready(hello.unwrap().generation)
        };
        nodes[1].run(move |shard| Box::pin(read(shard))).await
    };
    let before = generation().await;
    nodes[1]
        .run(|shard| {
            shard.restate_later(TP);
            shard.restate_refused();
            Box::pin(async {})
        })
        .await;
    let stated = async {
        while generation().await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let stated = tokio::time::timeout(Duration::from_secs(20), stated).await;
    stated.expect("the position is stated as something new");
    // All of the ISR, the follower included.
    nodes[0].produce(batch("second"), -1).await.unwrap();
    assert_eq!(cluster.script.proposals.lock().unwrap().len(), 0);
}
