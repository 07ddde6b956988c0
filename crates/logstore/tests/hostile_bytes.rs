//! Random bytes where files should be: no panic, no memory beyond the file's size.

use host::OpenMode;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append, flush, partition, read_all};
use logstore::{
    LogConfig, LogDir, LogDirError, PlainFlush, RecoveryOutcome, decode_producer_snapshot, inspect_marks,
    parse_epoch_checkpoint, parse_offset_checkpoint,
};
use proptest::prelude::*;
use std::path::Path;
use types::{DirectoryId, LeaderEpoch, Offset, ReplicaIncarnation};
use uuid::Uuid;

const DATA: &str = "/data";
const SEGMENT: &str = "/data/orders-0/00000000000000000000.log";

/// A directory with one log of 10 durable batches and 5 that are not.
fn directory() -> (SimDisk, Offset) {
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new(DATA)).expect("opens");
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), LogConfig::default())
        .expect("created");
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    for index in 0..15 {
        append(&mut log, LeaderEpoch(0), 2, 50, index).expect("appended");
        if index == 9 {
            assert!(flush(&mut log, &flusher));
        }
    }
    (sim, Offset(20))
}

fn overwrite(sim: &SimDisk, path: &str, position: u64, bytes: &[u8], cut: bool) {
    let disk = sim.reopen();
    let file = disk.open(Path::new(path), OpenMode::Create).expect("opens");
    file.write_all_at(bytes, position).expect("written");
    if cut {
        file.set_len(position + bytes.len() as u64).expect("cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_segment(position in 0u64..3000, bytes in prop::collection::vec(any::<u8>(), 1..600), cut: bool) {
        let (sim, durable) = directory();
        let before = sim.reopen().read(Path::new(SEGMENT)).expect("read");
        overwrite(&sim, SEGMENT, position, &bytes, cut);
        let after = sim.reopen().read(Path::new(SEGMENT)).expect("read");
        let host = SimMachine::host(sim.reopen(), 2);
        let mut dir = LogDir::open(&host, Path::new(DATA)).expect("opens");
        let mut recovered = dir.recover().expect("recovers");
        let found = recovered.remove(0);
        prop_assert!(found.bytes_read <= 4 * after.len() as u64);
        let content = read_all(&found.log).expect("reads");
        prop_assert!(before.starts_with(&content), "damaged data was taken for good");
        match found.outcome {
            RecoveryOutcome::Corrupt { at, .. } => {
                prop_assert!(at < durable);
                prop_assert_eq!(sim.handle().read(Path::new(SEGMENT)).expect("read"), after, "corrupt data was cut");
            }
            _ => prop_assert!(found.log.log_end_offset() >= durable),
        }
    }

    #[test]
    fn a_marks_journal(which in 0..2usize, position in 0u64..2000, bytes in prop::collection::vec(any::<u8>(), 1..600), cut: bool) {
        let (sim, durable) = directory();
        overwrite(&sim, &format!("{DATA}/marks-{which}"), position, &bytes, cut);
        let host = SimMachine::host(sim.reopen(), 2);
        // Refused, or older marks (a damaged last round looks like a torn one): never a panic, and never
        // a durable mark that nobody wrote.
        if let Ok(mut dir) = LogDir::open(&host, Path::new(DATA)) {
            for found in dir.recover().expect("recovers") {
                prop_assert!(found.log.log_end_offset() >= durable);
            }
        }
    }

    #[test]
    fn files_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000), more in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_producer_snapshot(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = (parse_offset_checkpoint(&text), parse_epoch_checkpoint(&text));
        prop_assert!(inspect_marks(&[bytes, more], DirectoryId(Uuid::from_u128(1))).is_err());
    }
}

#[test]
fn a_damaged_round_before_a_good_one_is_corruption() {
    let (sim, _) = directory();
    // marks-0: snapshot, then the rounds of create and flush, a sector each, then zeros.
    let rounds = sim.reopen().read(Path::new("/data/marks-0")).expect("read");
    let ends = rounds.iter().rposition(|byte| *byte != 0).expect("rounds");
    assert_eq!(ends / 512, 2);
    sim.flip_bit(Path::new("/data/marks-0"), 512 + 50, 0).expect("there");
    let host = SimMachine::host(sim.reopen(), 2);
    assert!(matches!(
        LogDir::open(&host, Path::new(DATA)),
        Err(LogDirError::Marks { .. })
    ));
    let (sim, durable) = directory();
    sim.flip_bit(Path::new("/data/marks-0"), 1024 + 50, 0).expect("there");
    let host = SimMachine::host(sim.reopen(), 2);
    let mut dir = LogDir::open(&host, Path::new(DATA)).expect("a torn last round is ignored");
    assert!(dir.recover().expect("recovers")[0].log.log_end_offset() >= durable);
}

#[test]
fn a_failed_sync_takes_the_directory_offline_for_good() {
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new(DATA)).expect("opens");
    let create = |index| dir.create_log("orders", partition(index), ReplicaIncarnation(1), LogConfig::default());
    let (mut log, mut other) = (create(0).expect("created"), create(1).expect("created"));
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    append(&mut log, LeaderEpoch(0), 1, 10, 0).expect("appended");
    append(&mut other, LeaderEpoch(0), 1, 10, 0).expect("appended");
    sim.set_faults(|faults| faults.syncs_before_error = Some(0));
    assert!(!flush(&mut log, &flusher));
    assert_eq!(log.durable_offset(), Offset(0));
    assert!(dir.is_offline());
    assert!(!flush(&mut other, &flusher), "another log of the directory was flushed");
    assert!(matches!(
        append(&mut other, LeaderEpoch(0), 1, 10, 0),
        Err(logstore::LogError::Offline)
    ));
    assert!(create(2).is_err());
}
