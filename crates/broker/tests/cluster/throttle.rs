//! Replication that is throttled (KIP-73).

use crate::support::*;
use std::time::{Duration, Instant};
use types::{NodeId, Offset};

const RATE: i64 = 20_000;
const BATCH: i64 = 10_000;
const BATCHES: i64 = 100;

/// Two replicas are in sync, and the third has to get a megabyte at 20 kB a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_replica_comes_at_its_rate_and_holds_nobody_up() {
    let cluster = Cluster::new(2, &[("leader.replication.throttled.replicas", "0:1")]);
    cluster
        .script
        .change_partition(|partition| partition.isr = NODES[..2].to_vec());
    cluster.script.change(|image| {
        let of_leader = image.broker_configs.entry(Some(NodeId(1))).or_default();
        of_leader.insert("leader.replication.throttled.rate".to_owned(), RATE.to_string());
    });
    let first = cluster.start(NODES[0]).await;
    let _second = cluster.start(NODES[1]).await;
    eventually_leads(&first).await;
    let value = "x".repeat(usize::try_from(BATCH).unwrap());
    for _ in 0..BATCHES {
        first.produce(batch(&value), -1).await.unwrap();
    }
    let begun = Instant::now();
    let third = cluster.start(NODES[2]).await;
    third.read_to(2).await;
    // Meanwhile those in sync go on as fast as ever.
    while begun.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        first.produce(batch("small"), -1).await.unwrap();
        assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let copied = third.fetch(0).await.high_watermark;
    // What is saved at the start is a second's worth, and a batch may overdraw.
    let elapsed = i64::try_from(begun.elapsed().as_millis()).unwrap();
    let most = (RATE * (1_000 + elapsed) / 1_000 + BATCH) / BATCH;
    assert!(
        copied >= Offset(2) && copied.0 <= most,
        "{copied} of at most {most} after {elapsed} ms"
    );
    assert_eq!(cluster.script.partition().isr, NODES[..2]);
    // Without the throttle the rest, for which 45 s would be needed, is there at once.
    cluster.script.configure("leader.replication.throttled.replicas", "");
    eventually("the third is in the ISR", || cluster.script.partition().isr.len() == 3).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
}
