//! A fetch asks for memory in each round of its long poll, and holds what it read.

use crate::support::*;
use broker::{FetchMemory, FetchPartition, FetchPlan};
use std::time::{Duration, Instant};
use types::{LeaderEpoch, Offset};

/// So much is free; what was asked for and kept is written down.
struct Scarce {
    free: usize,
    reserved: Vec<usize>,
    kept: Vec<usize>,
}

impl FetchMemory for Scarce {
    fn reserve(&mut self, wanted: usize) -> usize {
        self.reserved.push(wanted);
        wanted.min(self.free)
    }

    fn keep(&mut self, bytes: usize) {
        self.kept.push(bytes);
    }
}

/// What a fetch of this leader from `from` read, how long it took, and what it did with its memory.
async fn fetch(node: &Node, from: i64, min_bytes: usize, free: usize) -> (usize, Duration, Scarce) {
    let partition = FetchPartition {
        tp: TP,
        fetch_offset: Offset(from),
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let plan = FetchPlan {
        partitions: vec![partition],
        max_bytes: 1 << 20,
        min_bytes,
        max_wait: Duration::from_secs(10),
        read_committed: false,
        from_follower: false,
    };
    node.run(move |shard| {
        Box::pin(async move {
            let mut memory = Scarce {
                free,
                reserved: Vec::new(),
                kept: Vec::new(),
            };
            let begin = Instant::now();
            let fetched = shard.fetch_within(plan, &mut memory).await;
            (fetched[0].records.len(), begin.elapsed(), memory)
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_reads_what_there_is_memory_for_and_does_not_wait_for_more() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    for index in 0..10 {
        nodes[0].produce(batch(&format!("value {index}")), -1).await.unwrap();
    }
    let all = nodes[0].read_to(10).await.len();
    let (bytes, took, memory) = fetch(&nodes[0], 0, all, all / 2).await;
    assert!(bytes > 0 && bytes <= all / 2, "{bytes} of {all}");
    assert!(took < Duration::from_secs(5), "as much as fits is enough: {took:?}");
    assert_eq!((memory.reserved, memory.kept), (vec![1 << 20], vec![bytes]));

    // A poll that waits holds nothing, and asks again when there is something to read.
    let waiting = fetch(&nodes[0], 10, 1, 1 << 20);
    let producing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        nodes[0].produce(batch("late"), -1).await.unwrap();
    };
    let ((bytes, _, memory), ()) = tokio::join!(waiting, producing);
    assert!(bytes > 0);
    assert!(memory.kept.len() >= 2 && memory.reserved.len() == memory.kept.len());
    assert_eq!((memory.kept.first(), memory.kept.last()), (Some(&0), Some(&bytes)));
    for node in nodes {
        node.broker.shutdown().await;
    }
}
