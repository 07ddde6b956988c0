//! What appending, reading the tail and restarting cost as a log grows: a measurement, run by `make bench-growth`.
//!
//! `OTTLA_BENCH_DIR` is a directory with room, `OTTLA_BENCH_GB=1,20` the sizes at which it measures.

use bytes::Bytes;
use host::{HostRef, RealDisk};
use logstore::conformance::{SimMachine, batch, flush, partition};
use logstore::{Flusher, Log, LogConfig, LogDir, PlainFlush};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

const BATCH_BYTES: usize = 64 * 1024;
/// Appended between two flushes, as the broker's rounds are.
const ROUND: u64 = 1 << 20;
/// As `SNAPSHOT_BYTES` in the broker.
const CHECKPOINT: u64 = 64 << 20;
const MEASURED: u64 = 256 << 20;

fn fill(log: &mut Log, flusher: &Flusher, template: &[u8], bytes: u64) -> Duration {
    let (mut written, mut took) = (0, Duration::ZERO);
    while written < bytes {
        let began = Instant::now();
        let mut round = 0;
        while round < ROUND {
            let mut batch = template.to_vec();
            let end = log.log_end_offset();
            records::set_base_offset(&mut batch, end);
            round += batch.len() as u64;
            log.append(Bytes::from(batch), end, end.plus(1), 0).unwrap();
        }
        took += began.elapsed();
        if written / CHECKPOINT != (written + round) / CHECKPOINT {
            log.checkpoint_index().unwrap();
            log.write_producer_snapshot(log.log_end_offset(), &[]).unwrap();
        }
        assert!(flush(log, flusher));
        written += round;
    }
    took
}

/// Time of a read of the newest batch, which is in memory, and of one from the newest file.
fn tail_reads(log: &Log) -> (Duration, Duration) {
    let end = log.log_end_offset();
    let read = |back: i64| {
        let began = Instant::now();
        for _ in 0..1_000 {
            let slice = log.read(Offset(end.0 - back), end, BATCH_BYTES * 2, true).unwrap();
            assert!(!slice.is_empty());
        }
        began.elapsed() / 1_000
    };
    (read(1), read(200))
}

#[test]
#[ignore = "a measurement; needs room and minutes"]
fn cost_does_not_grow_with_the_log() {
    let root = std::env::var("OTTLA_BENCH_DIR").expect("OTTLA_BENCH_DIR");
    let sizes = std::env::var("OTTLA_BENCH_GB").unwrap_or_else(|_| "1,20".into());
    let path = Path::new(&root).join("growth");
    let host: HostRef = SimMachine::host(Arc::new(RealDisk), 1);
    let dir = LogDir::open(&host, &path).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut log = dir
        .create_log("growth", partition(0), ReplicaIncarnation(1), LogConfig::default())
        .unwrap();
    let template = batch(Offset(0), LeaderEpoch(0), 1, BATCH_BYTES - 80, 1);
    let mut appends = Vec::new();
    for size in sizes.split(',').map(|size| size.trim().parse::<u64>().unwrap()) {
        let target = (size << 30).saturating_sub(MEASURED + log.size());
        fill(&mut log, &flusher, &template, target);
        let append = fill(&mut log, &flusher, &template, MEASURED);
        let (memory, file) = tail_reads(&log);
        println!(
            "at {size} GiB: {:.0} MiB/s appended, newest batch read in {memory:?}, newest file in {file:?}",
            (MEASURED >> 20) as f64 / append.as_secs_f64()
        );
        appends.push((append, file));
    }
    if let (Some(first), Some(last)) = (appends.first(), appends.last()) {
        println!(
            "ratio of the last to the first: append {:.2}, read {:.2}",
            last.0.as_secs_f64() / first.0.as_secs_f64(),
            last.1.as_secs_f64() / first.1.as_secs_f64()
        );
    }
    let bytes = log.size();
    // As after kill -9: nothing is closed.
    drop((log, flusher, dir));
    let began = Instant::now();
    let mut dir = LogDir::open(&host, &path).unwrap();
    let found = dir.recover().unwrap().remove(0);
    let (_, mut headers) = found.log.recovered_tail().unwrap();
    assert!(headers.by_ref().all(|header| header.is_ok()));
    println!(
        "restart with {bytes} bytes: {} read by recovery, {} for producers, in {:?}; {:?}",
        found.bytes_read,
        headers.bytes_read(),
        began.elapsed(),
        found.outcome
    );
    assert_eq!(found.log.size(), bytes);
    assert!(
        found.bytes_read < 2 * CHECKPOINT,
        "recovery read more than what follows the checkpoint"
    );
    drop((found, dir));
    std::fs::remove_dir_all(&path).unwrap();
}
