//! ◆ Damage below the durable mark: the replica resigns and copies again; a sole copy stays offline, untouched.

use crate::support::*;
use host::sim_disk::SimDisk;
use records::BatchHeader;
use std::path::Path;
use std::time::Duration;
use types::{ErrorCode, NodeId, Offset};

const LOG: &str = "/data/orders-0/00000000000000000000.log";

fn log_of(disk: &SimDisk) -> Vec<u8> {
    disk.handle().read(Path::new(LOG)).unwrap()
}

async fn cluster_with(records: usize, configs: &[(&str, &str)]) -> (Vec<SimDisk>, Cluster, Vec<Node>) {
    let disks: Vec<SimDisk> = NODES.iter().map(|_| SimDisk::new()).collect();
    let cluster = Cluster::on_disks(disks.iter().map(SimDisk::handle).collect(), configs);
    let nodes = cluster.start_all().await;
    for index in 0..records {
        nodes[0].produce(batch(&format!("value {index}")), -1).await.unwrap();
    }
    (disks, cluster, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_follower_copies_again() {
    // In a batch in the middle: its base offset and its leader epoch, which no CRC covers, its CRC, a record.
    for (place, bit) in [(5, 3), (7, 3), (15, 3), (18, 3), (70, 3)] {
        let (disks, cluster, mut nodes) = cluster_with(20, &[]).await;
        nodes[2].read_to(20).await;
        assert!(nodes.remove(2).broker.shutdown().await, "everything is on disk");
        let whole = log_of(&disks[2]);
        assert_eq!(whole, log_of(&disks[0]));
        // The first ten are of one length.
        let first = BatchHeader::parse(&whole).unwrap().size() as u64;
        disks[2].flip_bit(Path::new(LOG), 9 * first + place, bit).unwrap();
        let third = cluster.start(NODES[2]).await;
        assert_eq!(
            third.read_to(20).await,
            nodes[0].read_to(20).await,
            "flipped at {place}"
        );
        nodes[0].produce(batch("after it"), -1).await.unwrap();
        third.read_to(21).await;
        assert_eq!(log_of(&disks[2]), log_of(&disks[0]), "flipped at {place}");
        assert!(third.broker.shutdown().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sole_copy_stays_offline_and_untouched() {
    let (disks, cluster, nodes) = cluster_with(20, &[("min.insync.replicas", "1")]).await;
    for node in nodes {
        assert!(node.broker.shutdown().await);
    }
    cluster.script.elect(Some(1), &[1]);
    disks[0].flip_bit(Path::new(LOG), 100, 3).unwrap();
    let damaged = log_of(&disks[0]);
    let first = cluster.start(NODES[0]).await;
    for _ in 0..20 {
        let refused = first.produce(batch("no"), 1).await.unwrap_err();
        assert!(
            matches!(
                refused.code,
                ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError
            ),
            "{refused:?}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(!first.broker.shutdown().await, "no clean stop: a log is not whole");
    assert_eq!(log_of(&disks[0]), damaged, "for whoever wants to save what is left");
    assert_eq!(cluster.script.partition().isr, [NodeId(1)]);
}

/// ◆ What did not reach the disk makes no clean stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_on_a_failed_disk_is_not_clean() {
    let (disks, _cluster, mut nodes) = cluster_with(3, &[]).await;
    disks[2].set_faults(|faults| faults.syncs_before_error = Some(0));
    let appended = nodes[0].produce(batch("with a failed disk"), 1).await.unwrap();
    assert_eq!(appended.base_offset, Offset(3));
    let third = nodes.remove(2);
    let mut failed = third.broker.storage_failed();
    tokio::time::timeout(Duration::from_secs(20), failed.wait_for(|failed| *failed))
        .await
        .expect("the disk fails")
        .unwrap();
    assert!(!third.broker.shutdown().await);
    for node in nodes {
        assert!(node.broker.shutdown().await, "the others are clean");
    }
}
