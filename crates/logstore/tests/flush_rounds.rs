//! What a round of the flusher costs over many segments, with either strategy: a measurement.
//!
//! `OTTLA_BENCH_DIR` is a directory on the disk to be measured; figures of `docs/adr/0013-tail-journal.md`.

use host::{HostRef, RealHost};
use logstore::conformance::{append, partition};
use logstore::{FlushStrategy, JournalFlush, Log, LogConfig, LogDir, PlainFlush};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::{LeaderEpoch, ReplicaIncarnation};

/// Times of rounds in which each of `count` logs has one new record, for a while.
fn rounds(dir: &LogDir, strategy: &mut dyn FlushStrategy, count: i32, bytes: usize, time: Duration) -> Vec<Duration> {
    let mut logs: Vec<Log> = (0..count)
        .map(|index| {
            let incarnation = ReplicaIncarnation(1);
            dir.create_log("orders", partition(index), incarnation, LogConfig::default())
                .unwrap()
        })
        .collect();
    let (began, mut took) = (Instant::now(), Vec::new());
    while took.len() < 20 || (began.elapsed() < time && took.len() < 5_000) {
        for log in &mut logs {
            append(log, LeaderEpoch(0), 1, bytes - 80, 1).unwrap();
        }
        let jobs = logs.iter_mut().map(|log| log.begin_flush().unwrap()).collect();
        let round = Instant::now();
        let flushed = strategy.flush(jobs).unwrap();
        took.push(round.elapsed());
        for (log, flushed) in logs.iter_mut().zip(&flushed) {
            log.finish_flush(flushed);
        }
    }
    logs.into_iter().for_each(|log| log.delete().unwrap());
    took
}

#[test]
#[ignore = "a measurement; needs a quiet disk"]
fn rounds_over_many_segments() {
    let root = std::env::var("OTTLA_BENCH_DIR").expect("OTTLA_BENCH_DIR");
    let host: HostRef = Arc::new(RealHost::new());
    let seconds = std::env::var("OTTLA_BENCH_SECONDS").map_or(2.0, |text| text.parse().unwrap());
    let time = Duration::from_secs_f64(seconds);
    let sizes: [(usize, &[i32]); 3] = [(1024, &[1, 6, 30, 100, 1000]), (64 * 1024, &[6]), (250 * 1024, &[1, 6])];
    println!("bytes files | strategy: p50 p99 max of rounds, rounds; directly, waits");
    for (bytes, counts) in sizes {
        for count in counts {
            for journal in [false, true] {
                let path = Path::new(&root).join("flush-rounds");
                let _ = std::fs::remove_dir_all(&path);
                let dir = LogDir::open(&host, &path).unwrap();
                let mut strategy: Box<dyn FlushStrategy> = match journal {
                    true => Box::new(JournalFlush),
                    false => Box::new(PlainFlush),
                };
                let mut took = rounds(&dir, &mut *strategy, *count, bytes, time);
                // The journal has grown by then.
                let first = took.split_off(took.len() / 4);
                let mut took = first;
                took.sort_unstable();
                let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_micros();
                let stats = dir.stats();
                println!(
                    "{bytes:>7} {count:>5} | {}: {} {} {} us, {}; {}, {}; {} bytes of journal",
                    if journal { "journal" } else { "plain  " },
                    at(50),
                    at(99),
                    at(100),
                    took.len(),
                    stats.journal_direct_rounds,
                    stats.journal_waits,
                    stats.journal_capacity_bytes,
                );
                drop(dir);
                std::fs::remove_dir_all(&path).unwrap();
            }
        }
    }
}
