//! Reads of what is not in memory: nothing of them happens before somebody waits for them.

use bytes::Bytes;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append, flush, partition};
use logstore::{Log, LogConfig, LogDir, LogError, LogSlice, PlainFlush};
use std::path::Path;
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

const DATA: &str = "/data";
const BATCHES: u64 = 60;

/// A log of several segments that was not read since the restart, and its directory.
fn restarted(sim: &SimDisk) -> (LogDir, Log) {
    let config = LogConfig {
        segment_bytes: 2_000,
        index_interval_bytes: 300,
        ..LogConfig::default()
    };
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), config)
        .unwrap();
    for seed in 0..BATCHES {
        append(&mut log, LeaderEpoch((seed / 25) as i32), 2, 40, seed).unwrap();
    }
    assert!(flush(&mut log, &flusher));
    log.close().unwrap();
    drop((log, flusher, dir));
    let host = SimMachine::host(sim.reopen(), 2);
    let mut dir = LogDir::open(&host, Path::new(DATA)).unwrap();
    let mut log = dir.recover().unwrap().remove(0).log;
    log.set_config(config);
    assert!(log.segment_sizes().len() > 3);
    (dir, log)
}

/// Asks for a read without touching the disk.
fn ask(sim: &SimDisk, log: &Log, from: i64, up_to: i64, max_bytes: usize, at_least_one: bool) -> LogSlice {
    let before = sim.reads();
    let slice = log.read(Offset(from), Offset(up_to), max_bytes, at_least_one).unwrap();
    assert_eq!(sim.reads(), before, "the disk was asked for {from}..{up_to}");
    slice
}

/// Fails if an index, a header or the name of a file is looked up where a shard would wait for it, or if what is found
/// later differs from what is found at once.
#[test]
fn a_cold_read_touches_the_disk_only_where_it_is_waited_for() {
    let sim = SimDisk::new();
    let (_dir, log) = restarted(&sim);
    let end = log.log_end_offset().0;
    let mut cold = 0;
    for (from, up_to) in (0..end).flat_map(|from| [from + 1, from + 2, from + 9, end].map(|up_to| (from, up_to))) {
        for (max_bytes, at_least_one) in [(1, true), (1, false), (700, true), (700, false), (1 << 20, true)] {
            sim.set_faults(|faults| faults.nothing_is_cached = true);
            let slice = ask(&sim, &log, from, up_to, max_bytes, at_least_one);
            assert!(matches!(slice, LogSlice::Cold(_)) && !slice.is_cached() && !slice.is_empty());
            let waited_for = slice.bytes().unwrap();
            assert!(waited_for.len() <= slice.len() || at_least_one);
            // Its files are open now, and cached.
            sim.set_faults(|faults| faults.nothing_is_cached = false);
            let found = log.read(Offset(from), Offset(up_to), max_bytes, at_least_one).unwrap();
            assert!(!matches!(found, LogSlice::Cold(_)));
            let context = format!("{from}..{up_to}, {max_bytes} bytes, {at_least_one}");
            assert_eq!(found.bytes().unwrap(), waited_for, "{context}");
            check(&waited_for, (from, up_to), max_bytes, at_least_one, &context);
            cold += usize::from(!waited_for.is_empty());
        }
    }
    assert!(cold > 500, "{cold}");
}

/// Two records a batch.
fn check(bytes: &Bytes, (from, up_to): (i64, i64), max_bytes: usize, at_least_one: bool, context: &str) {
    let straddles = from / 2 * 2 + 2 > up_to;
    match LogSlice::offsets(bytes) {
        None => assert!(straddles || (!at_least_one && max_bytes < 200), "{context}"),
        Some((first, next)) => {
            assert!(
                !straddles && first.0 == from / 2 * 2 && next.0 <= up_to,
                "{context}: {first}..{next}"
            );
            assert!(bytes.len() <= max_bytes || next.0 == first.0 + 2, "{context}");
        }
    }
}

/// ◆ Between the question and the read a replica is deleted and made anew under the same name, a segment is retired, or
/// the log is cut. Fails if anything is read from files that are another's, or if any of it is taken for damage.
#[test]
fn what_is_gone_before_it_is_read_is_neither_read_nor_damage() {
    let sim = SimDisk::new();
    let (dir, log) = restarted(&sim);
    let config = *log.config();
    let slice = ask(&sim, &log, 4, 8, 1 << 20, true);
    log.delete().unwrap();
    assert!(matches!(slice.bytes(), Err(LogError::Gone)));
    let mut again = dir
        .create_log("orders", partition(0), ReplicaIncarnation(2), config)
        .unwrap();
    for seed in 0..BATCHES {
        append(&mut again, LeaderEpoch(0), 2, 40, seed + 1_000).unwrap();
    }
    assert!(matches!(slice.bytes(), Err(LogError::Gone)));

    let sim = SimDisk::new();
    let (_dir, mut log) = restarted(&sim);
    let slice = ask(&sim, &log, 4, 8, 1 << 20, true);
    let moved = log.begin_log_start(Offset(100)).unwrap().unwrap();
    moved.run().unwrap();
    log.finish_log_start(&moved).unwrap();
    assert!(matches!(slice.bytes(), Err(LogError::OffsetOutOfRange { .. })));
    let slice = ask(&sim, &log, 104, 108, 1 << 20, true);
    log.truncate_to(Offset(102)).unwrap();
    assert!(matches!(slice.bytes(), Err(LogError::Gone)));
}

/// Fails if damage that only the look-up meets is passed over, or taken for a missing file.
#[test]
fn what_cannot_be_found_is_damage() {
    let sim = SimDisk::new();
    let (_dir, log) = restarted(&sim);
    let slice = ask(&sim, &log, 4, 8, 1 << 20, true);
    let file = Path::new(DATA).join("orders-0/00000000000000000000.log");
    sim.handle()
        .open(&file, host::OpenMode::Write)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(matches!(slice.bytes(), Err(LogError::Rot(_))));
    sim.handle().remove_file(&file).unwrap();
    let slice = log.read(Offset(4), Offset(8), 1 << 20, true);
    assert!(matches!(slice.and_then(|slice| slice.bytes()), Err(LogError::Rot(_))));
}
