//! Reads of what is not in memory: nothing of them happens before somebody waits for them.

use bytes::Bytes;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append, flush, partition};
use logstore::{Flusher, Log, LogConfig, LogDir, LogError, LogSlice, PlainFlush};
use std::path::Path;
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

const DATA: &str = "/data";
const BATCHES: u64 = 60;

fn made(sim: &SimDisk, config: LogConfig) -> (LogDir, Flusher, Log) {
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let log = dir.create_log("orders", partition(0), ReplicaIncarnation(1), config);
    (dir, flusher, log.unwrap())
}

/// A log of several segments that was not read since the restart, and its directory.
fn restarted(sim: &SimDisk) -> (LogDir, Log) {
    let config = LogConfig {
        segment_bytes: 2_000,
        index_interval_bytes: 300,
        ..LogConfig::default()
    };
    let (dir, flusher, mut log) = made(sim, config);
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
            assert!(matches!(slice, LogSlice::Cold(_)) && slice.bytes_now().is_none() && !slice.is_empty());
            let waited_for = slice.bytes().unwrap();
            assert!(waited_for.len() <= slice.len() || at_least_one);
            // Its files are open now, and on their way to memory.
            sim.set_faults(|faults| (faults.nothing_is_cached, faults.reads_are_under_way) = (false, true));
            let coming = log.read(Offset(from), Offset(up_to), max_bytes, at_least_one).unwrap();
            assert!(matches!(coming, LogSlice::Cold(_)));
            sim.set_faults(|faults| faults.reads_are_under_way = false);
            let found = log.read(Offset(from), Offset(up_to), max_bytes, at_least_one).unwrap();
            assert!(!matches!(found, LogSlice::Cold(_)));
            let context = format!("{from}..{up_to}, {max_bytes} bytes, {at_least_one}");
            assert_eq!(found.bytes_now().unwrap().unwrap(), waited_for, "{context}");
            sim.set_faults(|faults| faults.reads_are_under_way = true);
            assert!(found.bytes_now().is_none() || found.is_empty(), "{context}");
            assert_eq!(found.bytes().unwrap(), waited_for, "{context}");
            sim.set_faults(|faults| faults.reads_are_under_way = false);
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

/// ◆ Fails if a range that is read around the page cache differs from what was written, whether it begins and ends at pages or
/// not, if damage in it is passed over, or if what cannot be read so is not read at all.
#[test]
fn what_is_read_around_the_page_cache_is_what_was_written() {
    let sim = SimDisk::new();
    let (config, at_least) = (
        LogConfig {
            segment_bytes: 3 << 20,
            ..LogConfig::default()
        },
        256 * 1024,
    );
    let (_dir, flusher, mut log) = made(&sim, config);
    let batches: Vec<Bytes> = (0..90)
        .map(|seed| append(&mut log, LeaderEpoch(0), 1, 100_000, seed).unwrap())
        .collect();
    assert!(flush(&mut log, &flusher));
    assert!(log.segment_sizes().len() >= 3);
    let read = |from: usize, count: usize| {
        sim.set_faults(|faults| faults.nothing_is_cached = true);
        let (from, up_to) = (Offset(from as i64), Offset((from + count) as i64));
        log.read(from, up_to, 2 << 20, true).unwrap().bytes()
    };
    let direct = || sim.direct_reads();
    // A segment holds 31 of them, and the first two are closed.
    for (from, count) in [(0, 3), (3, 5), (8, 11), (40, 1), (45, 2), (50, 9)] {
        let before = direct();
        assert_eq!(
            read(from, count).unwrap(),
            batches[from..from + count].concat(),
            "{from}+{count}"
        );
        let long = count * batches[0].len() >= at_least;
        assert_eq!(direct() > before, long, "{from}+{count}");
    }
    // Who reads again does so in the ordinary way, and so does who reads of the active segment.
    for (from, count) in [(3, 5), (5, 9), (80, 9)] {
        let before = direct();
        assert_eq!(
            read(from, count).unwrap(),
            batches[from..from + count].concat(),
            "{from}+{count}"
        );
        assert_eq!(direct(), before, "{from}+{count}");
    }
    let file = sim
        .handle()
        .open(
            &Path::new(DATA).join("orders-0/00000000000000000000.log"),
            host::OpenMode::Write,
        )
        .unwrap();
    file.write_all_at(&[0xff; 3], 25 * batches[0].len() as u64 + 50_000)
        .unwrap();
    let before = direct();
    assert!(matches!(read(23, 4), Err(LogError::Rot(_))));
    assert!(direct() > before);
    sim.set_faults(|faults| faults.no_direct_reads = true);
    assert_eq!(read(27, 4).unwrap(), batches[27..31].concat());
}
