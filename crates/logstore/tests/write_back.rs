//! The kernel writes pages back on its own, and what goes wrong then is told once, to whoever holds the file open.

use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append, flush, partition};
use logstore::{LogConfig, LogDir, LogError, PlainFlush, RecoveryOutcome};
use std::path::Path;
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

/// ◆ A file with unsynced bytes stays open until it is synced, over a roll too: closed before, the error of its
/// write-back vanishes with the inode, and a sync of the file opened anew says that all is well. Fails if `roll` lets go
/// of the file.
#[test]
fn a_write_back_error_before_a_roll_takes_the_directory_offline() {
    let sim = SimDisk::new();
    sim.set_faults(|faults| faults.lose_error_on_close = true);
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), LogConfig::default())
        .expect("created");
    append(&mut log, LeaderEpoch(0), 3, 100, 1).expect("appended");
    assert!(flush(&mut log, &flusher));
    append(&mut log, LeaderEpoch(0), 3, 100, 2).expect("appended");
    sim.fail_write_back(Path::new("/data/orders-0/00000000000000000000.log"))
        .expect("there");
    log.roll().expect("nothing has told it yet");
    append(&mut log, LeaderEpoch(0), 3, 100, 3).expect("appended");
    assert!(!flush(&mut log, &flusher), "records 3..6 are on no disk");
    assert!(log.is_offline() && dir.is_offline());
    assert_eq!(log.durable_offset(), Offset(3));
    let refused = append(&mut log, LeaderEpoch(0), 3, 100, 4);
    assert!(matches!(refused, Err(LogError::Offline)), "{refused:?}");
}

/// ◆ What a failed sync has left in the page cache is read back by the next life, and no sync of it brings it to the disk: it is
/// written again before it counts as durable. Fails without `write_again` in recovery.
#[test]
fn what_only_the_page_cache_has_after_a_failed_sync_is_written_again_by_recovery() {
    for log_start in [0, 4, 6] {
        write_again(Offset(log_start));
    }
}

/// With a log start that has moved to the middle of what is on no disk, or to its end: a segment is as good as its first batch.
fn write_again(log_start: Offset) {
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), LogConfig::default())
        .expect("created");
    append(&mut log, LeaderEpoch(0), 3, 100, 1).expect("appended");
    assert!(flush(&mut log, &flusher));
    append(&mut log, LeaderEpoch(0), 3, 100, 2).expect("appended");
    append(&mut log, LeaderEpoch(0), 3, 100, 3).expect("appended");
    log.increment_log_start(log_start).expect("moved");
    sim.set_faults(|faults| faults.syncs_before_error = Some(0));
    assert!(!flush(&mut log, &flusher), "records 3..9 are on no disk");

    // The process is started again, on a disk that works again, and relies on what it found.
    let host = SimMachine::host(sim.reopen(), 2);
    let mut dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let found = dir.recover().expect("recovers").remove(0);
    assert_eq!(
        (found.log.durable_offset(), found.log.log_end_offset()),
        (Offset(9), Offset(9))
    );

    sim.crash_losing_everything_unsynced();
    let host = SimMachine::host(sim.handle(), 3);
    let mut dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let found = dir.recover().expect("recovers").remove(0);
    assert_eq!(
        found.outcome,
        RecoveryOutcome::Intact,
        "what was said to be durable is lost"
    );
    assert_eq!(found.log.log_end_offset(), Offset(9));
}
