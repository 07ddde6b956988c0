use crate::support::*;
use std::time::{Duration, Instant};
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_min_bytes_or_max_wait() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    nodes[0].produce(batch("one"), -1).await.unwrap();
    let one = nodes[0].read_to(1).await.len();
    for (from, min_bytes, max_wait, bytes, waits) in [
        (0, 1, LONG, one, false),
        (0, 0, LONG, one, false),
        (1, 0, LONG, 0, false),
        (1, 1, SHORT, 0, true),
        // Not enough, but what there is when the time is over.
        (0, one + 1, SHORT, one, true),
    ] {
        let started = Instant::now();
        let plan = fetch_plan(from, min_bytes, max_wait);
        let fetched = soon("an answer", nodes[0].fetch_later(plan).await).await;
        assert_eq!((fetched.error, fetched.records.len()), (ErrorCode::None, bytes));
        assert_eq!(started.elapsed() >= SHORT, waits, "from {from}, {min_bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wakes_when_there_is_enough() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    let any = nodes[0].fetch_later(fetch_plan(0, 1, LONG)).await;
    nodes[0].produce(batch("0"), -1).await.unwrap();
    let fetched = soon("woken by the first", any).await;
    let one = fetched.records.len();
    assert_eq!((fetched.high_watermark, one > 0), (Offset(1), true));
    // Each append wakes it; only the third is enough.
    let mut three = nodes[0].fetch_later(fetch_plan(0, 3 * one, LONG)).await;
    nodes[0].produce(batch("1"), -1).await.unwrap();
    let early = tokio::time::timeout(SHORT, &mut three).await;
    assert!(early.is_err(), "two are not enough: {early:?}");
    nodes[0].produce(batch("2"), -1).await.unwrap();
    let fetched = soon("woken by the third", three).await;
    assert_eq!((fetched.high_watermark, fetched.records.len()), (Offset(3), 3 * one));
}

#[tokio::test(flavor = "multi_thread")]
async fn wakes_when_the_leadership_is_lost() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    let waiting = nodes[0].fetch_later(fetch_plan(0, 1, LONG)).await;
    cluster.script.elect(Some(2), &[1, 2, 3]);
    let fetched = soon("woken by the election", waiting).await;
    assert_eq!(fetched.error, ErrorCode::NotLeaderOrFollower);
    assert_eq!(fetched.current_leader, Some((NodeId(2), LeaderEpoch(1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_divergence_is_told_at_once() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    for index in 0..3 {
        nodes[0].produce(batch(&format!("{index}")), -1).await.unwrap();
    }
    cluster.script.elect(Some(1), &[1, 2, 3]);
    eventually("the new epoch begins", || {
        cluster.script.partition().leader_epoch == LeaderEpoch(1)
    })
    .await;
    eventually_leads(&nodes[0]).await;
    let new = nodes[0].produce(batch("of epoch 1"), -1).await.unwrap();
    assert_eq!(new.base_offset, Offset(3));
    for (fetch_offset, last_fetched_epoch, error, diverging) in [
        (3, 0, ErrorCode::None, None),
        (4, 0, ErrorCode::None, Some((LeaderEpoch(0), Offset(3)))),
        (5, 1, ErrorCode::None, Some((LeaderEpoch(1), Offset(4)))),
        (4, 2, ErrorCode::OffsetOutOfRange, None),
    ] {
        let mut plan = fetch_plan(fetch_offset, 1, LONG);
        plan.partitions[0].last_fetched_epoch = LeaderEpoch(last_fetched_epoch);
        let fetched = soon("an answer", nodes[0].fetch_later(plan).await).await;
        assert_eq!(
            (fetched.error, fetched.diverging),
            (error, diverging),
            "{fetch_offset} after epoch {last_fetched_epoch}"
        );
        assert_eq!(fetched.records.is_empty(), fetch_offset != 3);
    }
}
