use super::deliveries::Deliveries;
use super::producer::Producer;
use super::reader::Reader;
use super::round_robin::RoundRobin;
use super::{Positions, pace};
use crate::commands::bench::load::{LAST_ANSWERS, Tally, Window};
use crate::commands::bench::produce::{Acks, Codec, Produce};
use crate::commands::bench::progress::Progress;
use crate::commands::bench::report::Report;
use crate::commands::bench::target::Leaders;
use anyhow::anyhow;
use clap::ValueEnum;
use rdkafka::ClientConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Throughput is of values, not of batches: a user of librdkafka sees no others.
pub(super) fn run(
    load: &Produce,
    bootstrap: &str,
    leaders: &Leaders,
    ends: &Positions,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let (began, window) = (Instant::now(), Window::new(load.warmup, load.duration));
    let partitions = Arc::new(ends.keys().copied().collect::<Vec<_>>());
    let values = Arc::new(load.values());
    let (config, held_max) = (config(load, bootstrap), held_max(load, leaders.len(), partitions.len()));
    let (mut readers, mut producers) = (Vec::new(), Vec::new());
    for _ in 0..load.consumers {
        readers.push(Reader::open(bootstrap, &load.target.topic, ends, false)?);
    }
    for index in 0..load.producers as usize {
        let bytes = u64::from(load.record_size);
        let deliveries = Deliveries::new(began, bytes, held_max, Tally::new(window), progress.clone());
        let records = RoundRobin {
            topic: load.target.topic.clone(),
            partitions: partitions.clone(),
            values: values.clone(),
            // Not all for the same partition at once.
            at: AtomicUsize::new(index),
        };
        producers.push((index, Producer::create(&config, deliveries)?, records));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let read = |reader: Reader| scope.spawn(|| reader.read_at_the_tail(window, &stop));
        let reading: Vec<_> = readers.into_iter().map(read).collect();
        let write = |(index, producer, records): (usize, Producer, RoundRobin)| {
            scope.spawn(move || producer.run(|producer| send(load, producer, records, began, index)))
        };
        let writing: Vec<_> = producers.into_iter().map(write).collect();
        let mut tally = Tally::new(window);
        let written: Vec<_> = writing.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // Before anything can fail: readers would be waited for.
        stop.store(true, SeqCst);
        for written in written {
            tally.join(written.map_err(|_| anyhow!("a producer's thread panicked"))?);
        }
        let mut read_bytes = 0;
        for tail in reading {
            let tail = tail.join().map_err(|_| anyhow!("a consumer's thread panicked"))?;
            tally.fail_with(tail.errors);
            read_bytes += tail.bytes;
        }
        let mut report = tally.report("produce");
        let read_mb_per_second = read_bytes as f64 / window.length().as_secs_f64() / 1e6;
        report.read_mb_per_second = (load.consumers > 0).then_some(read_mb_per_second);
        Ok(report)
    })
}

/// As far as producers of every load have it in common.
pub(super) fn base(bootstrap: &str, acks: Acks, compression: Codec) -> ClientConfig {
    let compression = compression.to_possible_value();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("acks", acks.number().to_string())
        .set(
            "compression.type",
            compression.as_ref().map_or("none", |codec| codec.get_name()),
        );
    config
}

fn config(load: &Produce, bootstrap: &str) -> ClientConfig {
    let mut config = base(bootstrap, load.acks, load.compression);
    config
        .set("batch.size", load.batch_size.to_string())
        .set("max.in.flight.requests.per.connection", load.in_flight.to_string());
    let alone = load.records_per_batch() == 1;
    if alone {
        config.set("batch.num.messages", "1");
    }
    if let Some(linger) = load.linger.or(alone.then_some(Duration::ZERO)) {
        config.set("linger.ms", milliseconds(linger));
    }
    config
}

pub(super) fn milliseconds(time: Duration) -> String {
    (time.as_secs_f64() * 1000.0).to_string()
}

/// Records: twice what requests in flight hold. What is sent next is there when an answer comes, and no queue is measured that
/// could be of any length. Where batches have to fill, at least twice one for each partition: they would wait for linger.ms.
fn held_max(load: &Produce, leaders: usize, partitions: usize) -> u64 {
    let in_flight = load.in_flight as usize * leaders;
    match load.records_per_batch() {
        1 => 2 * in_flight as u64,
        records => 2 * in_flight.max(partitions) as u64 * u64::from(records),
    }
}

fn send(load: &Produce, producer: &Producer, records: RoundRobin, began: Instant, index: usize) {
    let until = producer.deliveries().tally().window.until;
    if let Some(rate) = load.rate {
        let interval = Duration::from_secs_f64(f64::from(load.producers) / rate);
        // Each at another time.
        let first = began + interval.mul_f64((index + 1) as f64 / f64::from(load.producers));
        pace(first, interval, until, |due| {
            records.send(producer, due, until + LAST_ANSWERS)
        });
    } else if load.in_flight == 1 && load.records_per_batch() == 1 {
        producer.send_one_at_a_time(records, until);
    } else {
        loop {
            producer.deliveries().wait_for_room(until);
            let now = Instant::now();
            if now >= until || records.send(producer, now, until).is_break() {
                return;
            }
        }
    }
}
