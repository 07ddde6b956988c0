//! Which leader epoch, which incarnation and which registration a replica goes by.

use crate::support::*;
use records::BatchHeader;
use std::sync::Arc;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, ReplicaIncarnation, TopicPartition};

/// ◆ Nothing before the own registration is applied, nothing after it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn without_registration_nothing_is_served() {
    let cluster = Cluster::new(1, &[("min.insync.replicas", "1")]);
    cluster
        .script
        .change_partition(|partition| partition.isr = vec![NodeId(1)]);
    let node = cluster.start(NODES[0]).await;
    eventually_leads(&node).await;
    node.produce(batch("alone"), -1).await.unwrap();
    node.control.unregister();
    for _ in 0..100 {
        if node.produce(batch("no"), 1).await.is_err() {
            return;
        }
    }
    panic!("an unregistered broker takes records");
}

/// ◆ A broker that is back before its registration is applied leads nothing, whatever the image says of its dead self.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_own_registration_nothing_is_led() {
    let mut cluster = Cluster::new(1, &[]);
    // A leader would soon propose the others away.
    cluster.timings.replica_lag = Duration::from_millis(100);
    let node = cluster.start_unregistered(NODES[0]).await;
    // An image without the registration, that names it.
    cluster.script.configure("retention.ms", "1000");
    for _ in 0..6 {
        let refused = node.produce(batch("no"), 1).await.unwrap_err();
        assert!(
            matches!(
                refused.code,
                ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition
            ),
            "{refused:?}"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(cluster.script.proposals.lock().unwrap().len(), 0);
    cluster.register(&node, node.broker.replica_addr().unwrap().port());
    eventually_leads(&node).await;
    assert_eq!(node.produce(batch("yes"), 1).await.unwrap().base_offset, Offset(0));
}

/// ◆ A watch skips images: the same leader in a later epoch was not the leader in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_the_leader_epoch_is_a_demotion_and_a_promotion() {
    let cluster = Cluster::new(1, &[]);
    let first = cluster.start(NODES[0]).await;
    eventually_leads(&first).await;
    let waiting = first.produce_later(batch("of epoch 0"), -1).await;
    cluster
        .script
        .change_partition(|partition| partition.leader_epoch = LeaderEpoch(2));
    let failed = soon("the waiting produce is told", waiting).await.unwrap_err();
    assert_eq!(failed.code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(failed.leader, Some((NodeId(1), LeaderEpoch(2))));
    eventually_leads(&first).await;
    let offset = first.produce(batch("of epoch 2"), 1).await.unwrap().base_offset;
    let _second = cluster.start(NODES[1]).await;
    let _third = cluster.start(NODES[2]).await;
    let epochs: Vec<_> = records::split_batches(&first.read_to(offset.0 + 1).await.into())
        .map(|batch| batch.unwrap().header.leader_epoch)
        .collect();
    // The first was appended, or was still waiting for its epoch to be durable.
    let (last, before) = epochs.split_last().unwrap();
    assert_eq!(*last, LeaderEpoch(2));
    assert!(before.is_empty() || before == [LeaderEpoch(0)], "{before:?}");
}

/// Another incarnation is another replica: nothing of the old log counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_incarnation_begins_empty() {
    let cluster = Cluster::new(1, &[]);
    let nodes = cluster.start_all().await;
    for index in 0..3 {
        nodes[0].produce(batch(&format!("old {index}")), -1).await.unwrap();
    }
    for node in &nodes {
        node.read_to(3).await;
    }
    cluster
        .script
        .change_partition(|partition| partition.incarnation = ReplicaIncarnation(200));
    for node in &nodes {
        let emptied = async {
            loop {
                let seen = node.fetch(0).await;
                if seen.error == ErrorCode::None && seen.high_watermark == Offset(0) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), emptied)
            .await
            .expect("the old log is gone");
    }
    let appended = nodes[0].produce(batch("new"), -1).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    let leader = nodes[0].read_to(1).await;
    for node in &nodes[1..] {
        assert_eq!(node.read_to(1).await, leader);
    }
}

/// ◆ A leader epoch below the highest in the log is refused: that image is older than what is here.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_older_than_the_log_makes_no_leader() {
    let cluster = Cluster::new(1, &[("min.insync.replicas", "1")]);
    let epoch = |epoch| {
        cluster.script.change_partition(|partition| {
            partition.isr = vec![NodeId(1)];
            partition.leader_epoch = LeaderEpoch(epoch);
        });
    };
    epoch(3);
    let node = cluster.start(NODES[0]).await;
    eventually_leads(&node).await;
    assert_eq!(
        node.produce(batch("of epoch 3"), -1).await.unwrap().base_offset,
        Offset(0)
    );
    assert!(node.broker.shutdown().await, "everything is on disk");
    epoch(1);
    let node = cluster.start(NODES[0]).await;
    for _ in 0..20 {
        let refused = node.produce(batch("of epoch 1"), 1).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotLeaderOrFollower);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    epoch(4);
    eventually_leads(&node).await;
    let appended = node.produce(batch("of epoch 4"), -1).await.unwrap();
    assert_eq!(appended.base_offset, Offset(1), "nothing was appended in between");
}

/// Replicas are made one after the other, each with a sync; who is here already hears of its new epoch meanwhile. Fails where
/// an image is looked at only after everything that the one before it names has been made.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_hears_of_its_leader_while_thousands_are_made() {
    const OTHERS: usize = 1_000;
    let cluster = Cluster::new(1, &[("min.insync.replicas", "1")]);
    cluster
        .script
        .change_partition(|partition| partition.isr = vec![NodeId(1)]);
    let node = cluster.start(NODES[0]).await;
    eventually_leads(&node).await;
    cluster.script.change(|image| {
        let mut topic = (*image.topics[&TP.topic]).clone();
        let other = topic.partitions[0].clone();
        topic.partitions.extend(std::iter::repeat_n(other, OTHERS));
        image.topics.insert(TP.topic, Arc::new(topic));
    });
    let exists = |partition: usize| {
        let tp = TopicPartition {
            partition: i32::try_from(partition).unwrap(),
            ..TP
        };
        let (bytes, header) = (batch("other"), BatchHeader::parse(&batch("other")).unwrap());
        let node = &node;
        async move {
            let appended = node.run(move |shard| shard.append(tp, bytes, header, -1)).await;
            appended.is_ok()
        }
    };
    // It has begun.
    while !exists(1).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.script.change_partition(|partition| {
        partition.leader = None;
        partition.leader_epoch = LeaderEpoch(2);
    });
    while node.produce(batch("in epoch 0"), -1).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!exists(OTHERS).await, "all were made before the new epoch was heard of");
    while !exists(OTHERS).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
