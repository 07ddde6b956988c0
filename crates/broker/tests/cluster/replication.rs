use crate::support::*;
use host::{Host, RealHost};
use metrics::{Page, Source};
use std::time::{Duration, Instant};
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_on_every_replica() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    for index in 0..20 {
        let appended = nodes[0].produce(batch(&format!("value {index}")), -1).await.unwrap();
        assert_eq!(appended.base_offset, Offset(index));
    }
    let leader = nodes[0].read_to(20).await;
    for node in &nodes[1..] {
        assert_eq!(node.read_to(20).await, leader, "node {}", node.id);
        let refused = node.produce(batch("not here"), 1).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
        assert_eq!(refused.leader, Some((NodeId(1), LeaderEpoch(0))));
    }
    let first = records::split_batches(&leader.into()).next().unwrap().unwrap().header;
    assert_eq!((first.base_offset, first.leader_epoch), (Offset(0), LeaderEpoch(0)));
    for node in nodes {
        node.broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_keep_their_order() {
    let cluster = Cluster::new(2, &[]);
    let nodes = cluster.start_all().await;
    nodes[0].produce(batch("first"), -1).await.unwrap();
    let offsets = nodes[0]
        .run(|shard| {
            Box::pin(async move {
                let appends: Vec<_> = (0..3_000)
                    .map(|index| {
                        let batch = batch_of(4, index, &"x".repeat(1000));
                        let header = records::BatchHeader::parse(&batch).unwrap();
                        shard.append(TP, batch, header, -1)
                    })
                    .collect();
                futures::future::join_all(appends).await
            })
        })
        .await;
    let offsets: Vec<i64> = offsets
        .into_iter()
        .map(|appended| appended.unwrap().base_offset.0)
        .collect();
    assert_eq!(offsets, (1..3_001).collect::<Vec<_>>());
    assert_eq!(nodes[1].read_to(3_001).await, nodes[0].read_to(3_001).await);
}

/// Fails if a high watermark goes to followers in a frame of its own for each record, rather than with the next one, or alone
/// every 10 ms at most.
#[tokio::test(flavor = "multi_thread")]
async fn high_watermarks_go_with_the_next_records() {
    const RECORDS: u64 = 300;
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    nodes[0].produce(batch("the first"), -1).await.unwrap();
    let frames = || {
        let mut page = Page::new();
        nodes[0].broker.write(&mut page);
        let text = page.into_text();
        let line = text
            .lines()
            .find(|line| line.starts_with("ottla_replication_sent_frames_total "));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let (before, began) = (frames(), Instant::now());
    for index in 0..RECORDS {
        nodes[0].produce(batch(&format!("value {index}")), -1).await.unwrap();
    }
    // A frame for each record and follower, since each record was waited for.
    let sent = frames() - before;
    let alone = u64::try_from(began.elapsed().as_millis()).unwrap() / 10 + 2;
    assert!(sent >= RECORDS, "{sent}");
    assert!(sent <= 2 * (RECORDS + alone), "{sent} frames, {alone} may go alone");
}

/// With `LogAppendTime` the broker's time is stored, answered, and answered again for a duplicate: after a failover and
/// after a restart from a snapshot too.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_append_is_stored_and_answered() {
    let cluster = Cluster::new(1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut nodes = cluster.start_all().await;
    let before = RealHost::new().wall_ms();
    let first = nodes[0].produce(batch_of(9, 0, "once"), -1).await.unwrap();
    assert!(first.log_append_time >= before && first.log_append_time <= RealHost::new().wall_ms());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = nodes[0].produce(batch_of(9, 1, "twice"), -1).await.unwrap();
    assert!(second.log_append_time > first.log_append_time);
    let stored = nodes[0].read_to(2).await;
    for (batch, appended) in records::split_batches(&stored.into()).zip([first, second]) {
        let batch = batch.unwrap();
        assert!(batch.header.is_log_append_time() && records::verify_crc(&batch.bytes));
        assert_eq!(batch.header.max_timestamp, appended.log_append_time);
    }
    assert_eq!(nodes[0].produce(batch_of(9, 0, "once"), -1).await, Ok(first));
    cluster.script.elect(Some(2), &[1, 2, 3]);
    eventually_leads(&nodes[1]).await;
    assert_eq!(nodes[1].produce(batch_of(9, 0, "once"), -1).await, Ok(first));
    assert_eq!(nodes[1].produce(batch_of(9, 1, "twice"), -1).await, Ok(second));
    nodes.remove(2).broker.shutdown().await;
    let third = cluster.start(NodeId(3)).await;
    cluster.script.elect(Some(3), &[1, 2, 3]);
    eventually_leads(&third).await;
    assert_eq!(third.produce(batch_of(9, 1, "twice"), -1).await, Ok(second));
    nodes.push(third);
    for node in nodes {
        node.broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_gets_the_place_of_the_original_also_after_failover_and_restart() {
    let cluster = Cluster::new(1, &[]);
    let mut nodes = cluster.start_all().await;
    nodes[0].produce(batch("before"), -1).await.unwrap();
    assert_eq!(
        nodes[0].produce(batch_of(9, 0, "once"), -1).await.unwrap().base_offset,
        Offset(1)
    );
    assert_eq!(
        nodes[0].produce(batch_of(9, 1, "twice"), -1).await.unwrap().base_offset,
        Offset(2)
    );
    assert_eq!(
        nodes[0].produce(batch_of(9, 0, "once"), -1).await.unwrap().base_offset,
        Offset(1)
    );
    let gap = nodes[0].produce(batch_of(9, 7, "gap"), -1).await.unwrap_err();
    assert_eq!(gap.code, ErrorCode::OutOfOrderSequenceNumber);
    cluster.script.elect(Some(2), &[1, 2, 3]);
    eventually_leads(&nodes[1]).await;
    assert_eq!(
        nodes[1].produce(batch_of(9, 1, "twice"), -1).await.unwrap().base_offset,
        Offset(2)
    );
    // A restart rebuilds producer states from snapshot and log.
    nodes.remove(2).broker.shutdown().await;
    let third = cluster.start(NODES[2]).await;
    cluster.script.elect(Some(3), &[1, 2, 3]);
    eventually_leads(&third).await;
    assert_eq!(
        third.produce(batch_of(9, 1, "twice"), -1).await.unwrap().base_offset,
        Offset(2)
    );
    assert_eq!(
        third.produce(batch_of(9, 2, "thrice"), -1).await.unwrap().base_offset,
        Offset(3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_follower_leaves_the_isr_and_comes_back() {
    let mut cluster = Cluster::new(2, &[("min.insync.replicas", "2")]);
    cluster.timings.replica_lag = Duration::from_millis(700);
    let mut nodes = cluster.start_all().await;
    nodes[0].produce(batch("with three"), -1).await.unwrap();
    nodes.remove(2).broker.shutdown().await;
    // Waits for the member that is gone, until the ISR is committed without it.
    nodes[0].produce(batch("with two"), -1).await.unwrap();
    assert_eq!(cluster.script.partition().isr, [NodeId(1), NodeId(2)]);
    let proposed = cluster.script.proposals.lock().unwrap().clone();
    assert!(
        proposed.iter().all(|proposal| proposal.isr.len() >= 2),
        "nobody else was proposed away: {proposed:?}"
    );
    for index in 0..50 {
        nodes[0].produce(batch(&format!("missed {index}")), -1).await.unwrap();
    }
    let third = cluster.start(NODES[2]).await;
    assert_eq!(third.read_to(52).await, nodes[0].read_to(52).await);
    eventually("the third is back in the ISR", || {
        cluster.script.partition().isr.len() == 3
    })
    .await;
    // Now two are gone: what waits is told, and then nothing is written any more.
    nodes.remove(1).broker.shutdown().await;
    third.broker.shutdown().await;
    let written = nodes[0].produce(batch("with one"), -1).await.unwrap_err();
    assert_eq!(written.code, ErrorCode::NotEnoughReplicasAfterAppend);
    assert_eq!(cluster.script.partition().isr, [NodeId(1)]);
    let refused = nodes[0].produce(batch("with one"), -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotEnoughReplicas);
    assert_eq!(nodes[0].fetch(0).await.high_watermark, Offset(52), "not committed");
}

/// ◆ A waiting produce belongs to one leader epoch; what only the old leader has is cut by epoch (KIP-101).
#[tokio::test(flavor = "multi_thread")]
async fn failover_cuts_what_was_not_committed() {
    let cluster = Cluster::new(1, &[]);
    let first = cluster.start(NODES[0]).await;
    eventually_leads(&first).await;
    for index in 0..5 {
        first.produce(batch(&format!("lost {index}")), 1).await.unwrap();
    }
    let waiting = first.produce_later(batch("never committed"), -1).await;
    let seen = first.fetch(0).await;
    assert_eq!(
        (seen.error, seen.high_watermark, seen.records.len()),
        (ErrorCode::None, Offset(0), 0),
        "nobody else has it, so nobody sees it"
    );
    cluster.script.elect(Some(2), &[2, 3]);
    let failed = soon("the waiting produce is told", waiting).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(failed.leader, Some((NodeId(2), LeaderEpoch(1))));
    let second = cluster.start(NODES[1]).await;
    let third = cluster.start(NODES[2]).await;
    eventually_leads(&second).await;
    for index in 0..3 {
        second.produce(batch(&format!("kept {index}")), -1).await.unwrap();
    }
    let kept = second.read_to(3).await;
    assert_eq!(third.read_to(3).await, kept);
    assert_eq!(first.read_to(3).await, kept, "the old leader has what the new one has");
    let end = first.fetch(3).await;
    assert_eq!((end.error, end.records.len()), (ErrorCode::None, 0), "and nothing more");
    // The consumer of the old epoch is told where its log parts (KIP-320).
    let epoch_end = second
        .run(|shard| Box::pin(async move { shard.epoch_end_offset(TP, LeaderEpoch(1), LeaderEpoch(0)).await }))
        .await;
    assert_eq!(
        epoch_end,
        Ok((LeaderEpoch(0), Offset(0))),
        "the new leader never had that epoch: back to where its first begins"
    );
    let fenced = second
        .run(|shard| Box::pin(async move { shard.list_offset(TP, -1, LeaderEpoch(0), false).await }))
        .await;
    assert_eq!(fenced.unwrap_err().code, ErrorCode::FencedLeaderEpoch);
    let unknown = second
        .run(|shard| Box::pin(async move { shard.list_offset(TP, -1, LeaderEpoch(9), false).await }))
        .await;
    assert_eq!(unknown.unwrap_err().code, ErrorCode::UnknownLeaderEpoch);
}

/// ◆ A duplicate is not answered before the high watermark covers the original.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_waits_for_the_original() {
    let cluster = Cluster::new(1, &[]);
    let first = cluster.start(NODES[0]).await;
    eventually_leads(&first).await;
    let original = batch_of(9, 0, "x");
    assert_eq!(first.produce(original.clone(), 1).await.unwrap().base_offset, Offset(0));
    let mut duplicate = first.produce_later(original, -1).await;
    let early = tokio::time::timeout(Duration::from_millis(300), &mut duplicate).await;
    assert!(early.is_err(), "answered before anybody else has it: {early:?}");
    let _second = cluster.start(NODES[1]).await;
    let _third = cluster.start(NODES[2]).await;
    let appended = soon("the duplicate is answered", duplicate).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(first.fetch(0).await.high_watermark, Offset(1));
}
