use crate::support::*;
use types::{ErrorCode, NodeId, Offset};

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
