//! Disks on which there is no room left.

use crate::support::*;
use host::sim_disk::SimDisk;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, Offset};

const RESERVE: u64 = 64 * 1024;

/// Three nodes, each with a disk of its own and a reserve, and one committed record.
async fn cluster(reserve_bytes: u64, replica_lag: Duration) -> (Cluster, Vec<Node>, Vec<SimDisk>) {
    let disks: Vec<SimDisk> = NODES.iter().map(|_| SimDisk::new()).collect();
    let mut cluster = Cluster::on_disks(
        disks.iter().map(SimDisk::handle).collect(),
        &[("min.insync.replicas", "2")],
    );
    cluster.reserve_bytes = Some(reserve_bytes);
    cluster.timings.replica_lag = replica_lag;
    let nodes = cluster.start_all().await;
    nodes[0].produce(batch("before"), -1).await.unwrap();
    (cluster, nodes, disks)
}

/// So many bytes are left on the disk from now on.
fn leave(disk: &SimDisk, free_bytes: u64) {
    let used = disk.used_bytes();
    disk.set_faults(|faults| faults.capacity_bytes = Some(used + free_bytes));
}

/// Until a produce is answered so, and no other way than `until_then`.
async fn eventually_produces(node: &Node, until_then: Option<ErrorCode>, then: Option<ErrorCode>) -> Option<Offset> {
    for _ in 0..500 {
        let answer = node.produce(batch("again"), -1).await;
        let code = answer.err().map(|error| error.code);
        if code == then {
            return answer.ok().map(|appended| appended.base_offset);
        }
        assert_eq!(code, until_then);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never answered with {then:?}");
}

/// Fails without the reserve: the write would be taken until the file system itself refuses, and the directory be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_leader_takes_no_records_serves_reads_and_goes_on_by_itself() {
    let (cluster, nodes, disks) = cluster(RESERVE, Duration::from_secs(300)).await;
    leave(&disks[0], RESERVE - 1);
    eventually_produces(&nodes[0], None, Some(ErrorCode::KafkaStorageError)).await;
    let full = nodes[0].fetch(0).await;
    assert_eq!(full.error, ErrorCode::None);
    let end = full.high_watermark;
    assert!(end >= Offset(1));
    let bytes = nodes[0].read_to(end.0).await;
    // A little more than the reserve is not enough for one that was full.
    leave(&disks[0], RESERVE + RESERVE / 4 - 1);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let refused = nodes[0].produce(batch("too early"), -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    leave(&disks[0], 4 * RESERVE);
    let next = eventually_produces(&nodes[0], Some(ErrorCode::KafkaStorageError), None).await;
    assert_eq!(next, Some(end), "nothing of what was refused is in the log");
    assert!(nodes[1].read_to(end.0 + 1).await.starts_with(&bytes));
    let settled = cluster.script.partition();
    assert_eq!((settled.leader_epoch, settled.isr.len()), (LeaderEpoch(0), 3));
}

/// Fails if what is written between two measurements does not count.
#[tokio::test(flavor = "multi_thread")]
async fn no_burst_gets_past_the_reserve() {
    let (_cluster, nodes, disks) = cluster(8 << 20, Duration::from_secs(300)).await;
    let room = 256 * 1024;
    leave(&disks[0], (8 << 20) + room);
    // One measurement, of disks that have all the room there is.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let before = disks[0].used_bytes();
    let value = "x".repeat(16 * 1024);
    let mut refused = 0;
    for _ in 0..64 {
        match nodes[0].produce(batch(&value), 1).await {
            Ok(_) => assert_eq!(refused, 0),
            Err(error) => {
                assert_eq!(error.code, ErrorCode::KafkaStorageError);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    let taken = disks[0].used_bytes() - before;
    assert!(taken < room + 32 * 1024, "{taken} bytes were taken of {room}");
}

/// Fails if a follower takes what its disk has no room for, if its replica does not come back, or if it must be
/// restarted first.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_follower_leaves_the_isr_and_comes_back_when_there_is_room() {
    let (cluster, nodes, disks) = cluster(RESERVE, Duration::from_millis(1_500)).await;
    leave(&disks[2], RESERVE / 2);
    // Measured by then.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let used = disks[2].used_bytes();
    let mut end = 1;
    // There would be room for these in the reserve.
    for _ in 0..3 {
        nodes[0].produce(batch(&"x".repeat(6 * 1024)), -1).await.unwrap();
        end += 1;
    }
    // Much more than the window of one stream.
    let value = "x".repeat(900 * 1024);
    for _ in 0..24 {
        let appended = nodes[0].produce(batch(&value), -1).await.unwrap();
        assert_eq!(appended.base_offset, Offset(end));
        end += 1;
    }
    let without = cluster.script.partition();
    assert_eq!((without.isr.len(), without.leader_epoch), (2, LeaderEpoch(0)));
    assert!(disks[2].used_bytes() < used + 8 * 1024, "records went into the reserve");
    leave(&disks[2], 1 << 30);
    eventually("the third is back in the ISR", || {
        cluster.script.partition().isr.len() == 3
    })
    .await;
    assert_eq!(nodes[2].read_to(end).await, nodes[0].read_to(end).await);
}

/// ◆ Somebody else took the reserve: the write itself finds no room. Fails if that takes the directory offline for good,
/// or leaves half a batch or a producer's sequence behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_finds_no_room_is_as_if_it_had_never_been() {
    let (cluster, nodes, disks) = cluster(0, Duration::from_secs(300)).await;
    nodes[0].produce(batch_of(7, 0, "first"), -1).await.unwrap();
    let bytes = nodes[0].read_to(2).await;
    leave(&disks[0], 700);
    let value = "x".repeat(2_000);
    let refused = nodes[0].produce(batch_of(7, 1, &value), -1).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    assert_eq!(nodes[0].read_to(2).await, bytes);
    leave(&disks[0], 1 << 20);
    // The same again, as an idempotent producer does: its sequence is not taken for one that was seen.
    let mut place = None;
    while place.is_none() {
        place = nodes[0].produce(batch_of(7, 1, &value), -1).await.ok();
    }
    assert_eq!(place.map(|appended| appended.base_offset), Some(Offset(2)));
    let all = nodes[0].read_to(3).await;
    assert_eq!(nodes[1].read_to(3).await, all);
    // Not a byte of the failed write is left in the file.
    let log = std::path::Path::new("/data/orders-0/00000000000000000000.log");
    assert_eq!(disks[0].handle().read(log).unwrap(), all);
    assert_eq!(cluster.script.partition().leader_epoch, LeaderEpoch(0));
}

/// Somebody else took everything when the topic was created. Fails if that takes the directory offline, or if the replica
/// is not made by itself once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_that_finds_no_room_is_made_when_there_is_some() {
    let disks: Vec<SimDisk> = NODES.iter().map(|_| SimDisk::new()).collect();
    let mut cluster = Cluster::on_disks(
        disks.iter().map(SimDisk::handle).collect(),
        &[("min.insync.replicas", "2")],
    );
    cluster.reserve_bytes = Some(0);
    let mut nodes = Vec::new();
    for node in NODES {
        nodes.push(cluster.start_unregistered(node).await);
    }
    leave(&disks[2], 10);
    for node in &nodes {
        cluster.register(node, node.broker.replica_addr().unwrap().port());
    }
    eventually_leads(&nodes[0]).await;
    nodes[0].produce(batch("without the third"), 1).await.unwrap();
    let log = std::path::Path::new("/data/orders-0");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!disks[2].handle().exists(log));
    assert!(!*nodes[2].broker.storage_failed().borrow());
    leave(&disks[2], 1 << 30);
    eventually("the third has its replica", || disks[2].handle().exists(log)).await;
    assert_eq!(nodes[2].read_to(1).await, nodes[0].read_to(1).await);
}
