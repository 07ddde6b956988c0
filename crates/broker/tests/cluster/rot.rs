//! ◆ Bytes that rot on the disk of a running replica: never sent, noticed by reads and by the scrub, and copied again.

use crate::support::*;
use host::sim_disk::SimDisk;
use records::BatchHeader;
use std::path::{Path, PathBuf};
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

const LOG: &str = "/data/orders-0";
const RECORDS: i64 = 40;
/// Bytes of a batch, and bits in them: base offset, leader epoch, CRC, a record.
const DAMAGE: [(u64, u8); 4] = [(7, 3), (15, 3), (18, 3), (66, 3)];

/// Segments in order.
fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.handle().read_dir(Path::new(LOG)).unwrap_or_default().into_iter();
    let logs = names.filter(|entry| entry.name.ends_with(".log"));
    logs.map(|entry| Path::new(LOG).join(entry.name)).collect()
}

fn log_of(disk: &SimDisk) -> Vec<u8> {
    let handle = disk.handle();
    segments(disk)
        .iter()
        .flat_map(|path| handle.read(path).unwrap_or_default())
        .collect()
}

/// Three nodes with a log of several segments, none of it in memory; with or without a scrub.
async fn cluster_with(scrub: bool, configs: &[(&str, &str)]) -> (Vec<SimDisk>, Cluster, Vec<Node>) {
    let disks: Vec<SimDisk> = NODES.iter().map(|_| SimDisk::new()).collect();
    let configs = [&[("segment.bytes", "1000")], configs].concat();
    let mut cluster = Cluster::on_disks(disks.iter().map(SimDisk::handle).collect(), &configs);
    cluster.config.insert("log.scrub.bytes.per.second".into(), "0".into());
    let nodes = cluster.start_all().await;
    for index in 0..RECORDS {
        nodes[0].produce(batch(&format!("value {index:02}")), -1).await.unwrap();
    }
    for node in &nodes {
        node.read_to(RECORDS).await;
    }
    for node in nodes {
        assert!(node.broker.shutdown().await);
    }
    if scrub {
        cluster
            .config
            .insert("log.scrub.bytes.per.second".into(), "100000000".into());
        cluster.config.insert("log.scrub.interval.ms".into(), "20".into());
    }
    cluster.script.elect(Some(1), &[1, 2, 3]);
    let nodes = cluster.start_all().await;
    while nodes[0].fetch(RECORDS).await.high_watermark < Offset(RECORDS) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(segments(&disks[0]).len() > 3);
    (disks, cluster, nodes)
}

/// Flips a bit of the second batch of the second segment; answers the batch's offset.
fn flip(disk: &SimDisk, (byte, bit): (u64, u8)) -> Offset {
    let path = &segments(disk)[1];
    let bytes = disk.handle().read(path).unwrap();
    let first = BatchHeader::parse(&bytes).unwrap();
    let second = BatchHeader::parse(&bytes[first.size()..]).unwrap();
    disk.flip_bit(path, first.size() as u64 + byte, bit).unwrap();
    second.base_offset
}

/// Waits until all three are in the ISR again, in a later leader epoch than `before`, with the same bytes.
async fn whole_again(cluster: &Cluster, disks: &[SimDisk], before: LeaderEpoch) {
    let whole = || {
        let partition = cluster.script.partition();
        let same = |disk: &SimDisk| log_of(disk) == log_of(&disks[1]);
        partition.leader_epoch > before && partition.isr.len() == 3 && disks.iter().all(same)
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !whole() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(
        waited.await.is_ok(),
        "not copied again: {:?}",
        cluster.script.partition()
    );
}

fn leader<'a>(cluster: &Cluster, nodes: &'a [Node]) -> &'a Node {
    let leads = cluster.script.partition().leader.unwrap();
    nodes.iter().find(|node| node.id == leads).unwrap()
}

/// The scrub, on a follower and on the leader. Fails without the scrub, and without the chain for the first two kinds.
#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_has_a_rotten_replica_copied_again() {
    for (node, damage) in [(2, DAMAGE[0]), (2, DAMAGE[2]), (0, DAMAGE[1]), (0, DAMAGE[3])] {
        let (disks, cluster, nodes) = cluster_with(true, &[]).await;
        let (before, good) = (cluster.script.partition().leader_epoch, log_of(&disks[1]));
        flip(&disks[node], damage);
        whole_again(&cluster, &disks, before).await;
        assert!(log_of(&disks[node]).starts_with(&good), "every byte as it was");
        assert_eq!(
            cluster.script.partition().leader == Some(NODES[0]),
            node != 0,
            "a rotten leader does not lead on"
        );
        nodes_serve(&cluster, &nodes).await;
    }
}

async fn nodes_serve(cluster: &Cluster, nodes: &[Node]) {
    let leader = leader(cluster, nodes);
    leader.produce(batch("after it"), -1).await.unwrap();
    let mut all = Vec::new();
    for node in nodes {
        all.push(node.read_to(RECORDS + 1).await);
    }
    assert!(all.iter().all(|bytes| *bytes == all[0]));
}

/// A read of a client, without a scrub: nothing of the batch goes out, all of the others do, and the log is copied again.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_meets_rot_answers_a_storage_error_and_has_the_leader_copied_again() {
    for damage in DAMAGE {
        let (disks, cluster, nodes) = cluster_with(false, &[]).await;
        let before = cluster.script.partition().leader_epoch;
        let rotten = flip(&disks[0], damage);
        let seen = nodes[0].fetch(rotten.0).await;
        // NOT_LEADER if the other leads already.
        assert!(
            matches!(
                seen.error,
                ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower
            ) && seen.records.is_empty(),
            "{damage:?}: {seen:?}"
        );
        whole_again(&cluster, &disks, before).await;
        assert_eq!(cluster.script.partition().leader, Some(NODES[1]));
        nodes_serve(&cluster, &nodes).await;
    }
}

/// A leader that cannot send a follower what it needs gives way to one that can.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_needs_the_rotten_batch_gets_it_from_another() {
    let (mut disks, mut cluster, mut nodes) = cluster_with(false, &[]).await;
    let before = cluster.script.partition().leader_epoch;
    assert!(nodes.pop().unwrap().broker.shutdown().await);
    cluster
        .script
        .change_partition(|partition| partition.isr.retain(|node| *node != NODES[2]));
    // An empty disk in place of the third.
    disks[2] = SimDisk::new();
    cluster.replace_disk(NODES[2], disks[2].handle());
    flip(&disks[0], DAMAGE[2]);
    nodes.push(cluster.start(NODES[2]).await);
    whole_again(&cluster, &disks, before).await;
    nodes_serve(&cluster, &nodes).await;
}

/// ◆ A rotten replica throws nothing away while it is a member of the ISR, whoever leads meanwhile: it would be counted,
/// or elected, for what it no longer has. Fails without the look at ISR and ELR.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_replica_keeps_its_log_while_it_is_in_the_isr() {
    let (disks, cluster, nodes) = cluster_with(true, &[]).await;
    cluster.script.deaf.store(true, std::sync::atomic::Ordering::Relaxed);
    flip(&disks[2], DAMAGE[2]);
    let rotten = log_of(&disks[2]);
    cluster.script.reports(1).await;
    for (leader, isr) in [(2, &[1, 2, 3]), (1, &[1, 2, 3])] {
        cluster.script.elect(Some(leader), isr);
        // It follows in the new epoch: what is acknowledged there needs it.
        let node = usize::try_from(leader).unwrap() - 1;
        eventually_leads(&nodes[node]).await;
        nodes[node].produce(batch("goes on"), -1).await.unwrap();
        assert!(log_of(&disks[2]).starts_with(&rotten));
    }
    cluster.script.deaf.store(false, std::sync::atomic::Ordering::Relaxed);
    // Another state of the partition is another question.
    cluster.script.change_partition(|_| {});
    let before = cluster.script.partition().leader_epoch;
    whole_again(&cluster, &disks, before).await;
}

/// ◆ The only copy stays: it leads, takes records and serves what is good.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_sole_copy_serves_what_is_good() {
    let (disks, cluster, mut nodes) = cluster_with(true, &[("min.insync.replicas", "1")]).await;
    for node in nodes.drain(1..) {
        assert!(node.broker.shutdown().await);
    }
    cluster.script.elect(Some(1), &[1]);
    let rotten = flip(&disks[0], DAMAGE[2]);
    let before = log_of(&disks[0]);
    cluster.script.reports(1).await;
    nodes[0].produce(batch("goes on"), -1).await.unwrap();
    let bad = nodes[0].fetch(rotten.0).await;
    assert_eq!((bad.error, bad.records.len()), (ErrorCode::KafkaStorageError, 0));
    for good in [0, rotten.0 + 1, RECORDS] {
        let seen = nodes[0].fetch(good).await;
        assert!(
            seen.error == ErrorCode::None && !seen.records.is_empty(),
            "{good}: {seen:?}"
        );
    }
    assert!(
        log_of(&disks[0]).starts_with(&before),
        "for whoever wants to save what is left"
    );
    let partition = cluster.script.partition();
    assert_eq!((partition.leader, &partition.isr), (Some(NodeId(1)), &vec![NodeId(1)]));
}
