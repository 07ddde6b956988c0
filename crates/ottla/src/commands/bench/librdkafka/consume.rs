use super::reader::Reader;
use super::{POLL, Positions, Span};
use crate::commands::bench::progress::Progress;
use crate::commands::bench::report::Report;
use anyhow::{anyhow, bail};
use rdkafka::Message;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing for so long, and there will be nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What one consumer read.
#[derive(Debug, Default)]
struct Read {
    records: u64,
    /// Of values.
    bytes: u64,
    errors: BTreeMap<String, u64>,
    /// How long it took, without the end of the consumer.
    took: Duration,
}

pub(super) fn run(
    consumers: u32,
    bootstrap: &str,
    topic: &str,
    span: &Span,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let read = || read_all(bootstrap, topic, span, progress, started);
    let all = thread::scope(|scope| {
        let reading: Vec<_> = (0..consumers).map(|_| scope.spawn(read)).collect();
        let joined = reading.into_iter().map(|reading| reading.join());
        joined
            .map(|read| read.map_err(|_| anyhow!("a consumer's thread panicked"))?)
            .collect::<anyhow::Result<Vec<Read>>>()
    })?;
    let mut sum = Read::default();
    for read in all {
        sum.records += read.records;
        sum.bytes += read.bytes;
        sum.took = sum.took.max(read.took);
        for (error, count) in read.errors {
            *sum.errors.entry(error).or_default() += count;
        }
    }
    Ok(Report {
        errors: sum.errors,
        ..Report::new("consume", sum.records, sum.bytes, sum.took)
    })
}

fn read_all(bootstrap: &str, topic: &str, span: &Span, progress: &Progress, started: Instant) -> anyhow::Result<Read> {
    let holds_any = |(partition, start): &(i32, i64)| span.ends.get(partition).is_some_and(|end| end > start);
    let starts = span.starts.iter().map(|(partition, start)| (*partition, *start));
    let mut open: Positions = starts.filter(holds_any).collect();
    let reader = Reader::open(bootstrap, topic, &open, true)?;
    let (mut read, mut last) = (Read::default(), Instant::now());
    while !open.is_empty() {
        match reader.poll(POLL) {
            Some(Ok(message)) => {
                last = Instant::now();
                let partition = message.partition();
                let end = span.ends.get(&partition).copied().unwrap_or_default();
                // What is written meanwhile is not asked for.
                if message.offset() < end {
                    let bytes = message.payload_len() as u64;
                    read.records += 1;
                    read.bytes += bytes;
                    progress.add(1, bytes);
                }
                if message.offset() + 1 >= end {
                    open.remove(&partition);
                }
            }
            // Where the last offsets hold no records: markers of transactions, or what compaction took.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => *read.errors.entry(error.to_string()).or_default() += 1,
            None if last.elapsed() > SILENCE_MAX => {
                let partitions: Vec<_> = open.keys().collect();
                bail!(
                    "nothing for {} s, and partitions {partitions:?} are not at their ends; errors: {:?}",
                    SILENCE_MAX.as_secs(),
                    read.errors
                );
            }
            None => {}
        }
    }
    read.took = started.elapsed();
    Ok(read)
}
