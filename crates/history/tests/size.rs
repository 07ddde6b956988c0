//! How much time and memory ten million operations cost:
//! `cargo test --release -p history --test size -- --ignored --nocapture`

use history::{Body, Demands, Event, Header, Read, Verdict};
use std::io::{BufReader, BufWriter, Write};
use std::time::Instant;

const OPERATIONS: u64 = 10_000_000;
const PARTITIONS: u64 = 30;
const READERS: u64 = 2;
const BATCH: u64 = 50;

fn memory_mib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Ten million sends, all acknowledged, each read by two consumers and by the final scan.
fn write(to: &mut impl Write) {
    Header::default().write(to).unwrap();
    let mut line = |at: u64, worker: String, body| {
        let worker = worker.into();
        history::write_event(to, &Event { at, worker, body }).unwrap();
    };
    for batch in 0..OPERATIONS / BATCH {
        let (partition, at) = (batch % PARTITIONS, batch * 1_000_000);
        let name = || format!("topic-{partition}").into();
        let first = batch / PARTITIONS * BATCH;
        let values = || (batch * BATCH..(batch + 1) * BATCH).zip(first..);
        for (value, _) in values() {
            let body = Body::Send {
                operation: value,
                partition: Some(name()),
                value,
            };
            line(at, format!("p{}", batch % 7), body);
        }
        for (value, offset) in values() {
            let body = Body::Sent {
                operation: value,
                partition: None,
                offset: Some(offset.cast_signed()),
                leader_epoch: None,
            };
            line(at + 1000, format!("p{}", batch % 7), body);
        }
        let record = |(value, offset): (u64, u64)| Read {
            offset: offset.cast_signed(),
            value: Some(value),
            leader_epoch: Some(3),
        };
        for reader in 0..=READERS {
            let (partition, records) = (name(), values().map(record).collect());
            if reader == READERS {
                let bounds = Some((0, (first + BATCH).cast_signed()));
                line(
                    at + 3000,
                    "scan".into(),
                    Body::Final {
                        partition,
                        records,
                        bounds,
                    },
                );
            } else {
                line(at + 2000, format!("c{reader}"), Body::Poll { partition, records });
            }
        }
    }
}

#[test]
#[ignore = "writes 2.5 GB and takes a minute; in release"]
fn ten_million_operations_within_four_gibibytes() {
    let directory = std::env::var("OTTLA_BENCH_DIR").unwrap_or_else(|_| std::env::temp_dir().display().to_string());
    let path = std::path::Path::new(&directory).join(format!("ottla-history-{}.jsonl", std::process::id()));
    let started = Instant::now();
    let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
    write(&mut file);
    file.flush().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{} MB written in {:.1?}; {} MiB resident",
        bytes / 1_000_000,
        started.elapsed(),
        memory_mib("VmRSS")
    );
    let started = Instant::now();
    let history = history::read(BufReader::with_capacity(1 << 20, std::fs::File::open(&path).unwrap()));
    std::fs::remove_file(&path).unwrap();
    let history = history.unwrap();
    println!(
        "{} lines read in {:.1?}; {} MiB resident",
        history.line(),
        started.elapsed(),
        memory_mib("VmRSS")
    );
    let started = Instant::now();
    let report = history.check(&Demands::default());
    println!(
        "checked in {:.1?}; at most {} MiB resident",
        started.elapsed(),
        memory_mib("VmHWM")
    );
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    assert_eq!(
        (report.counts.acknowledged, report.counts.polled),
        (OPERATIONS, OPERATIONS * READERS)
    );
    assert!(memory_mib("VmHWM") < 4096);
}
