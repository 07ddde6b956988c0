use super::deliveries::Deliveries;
use super::produce::{base, milliseconds};
use super::producer::{Outgoing, Producer};
use super::reader::Reader;
use super::{Positions, pace};
use crate::commands::bench::latency::{Arrivals, LAST_RECORDS, Latency, stamp};
use crate::commands::bench::load::{LAST_ANSWERS, Tally, Window};
use crate::commands::bench::progress::Progress;
use crate::commands::bench::report::Report;
use anyhow::anyhow;
use rdkafka::Message;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// So late is noticed that all has arrived.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn run(load: &Latency, bootstrap: &str, ends: &Positions, progress: &Progress) -> anyhow::Result<Report> {
    let (began, window) = (Instant::now(), Window::new(load.warmup, load.duration));
    let reader = Reader::open(bootstrap, &load.target.topic, ends, false)?;
    let mut config = base(bootstrap, load.acks, load.compression);
    config.set("linger.ms", milliseconds(load.linger));
    let bytes = u64::from(load.record_size);
    let deliveries = Deliveries::new(began, bytes, u64::MAX, Tally::new(window), progress.clone());
    let producer = Producer::create(&config, deliveries)?;
    let expected = OnceLock::new();
    thread::scope(|scope| {
        let reading = scope.spawn(|| read(&reader, Arrivals::new(began, window), &expected));
        let mut tally = producer.run(|producer| send(load, producer, began, window));
        let _ = expected.set(Expected {
            records: tally.sent,
            until: Instant::now() + LAST_RECORDS,
        });
        let (arrivals, errors) = reading.join().map_err(|_| anyhow!("the reader's thread panicked"))?;
        tally.fail_with(errors);
        Ok(arrivals.report(&tally))
    })
}

/// What was acknowledged of the window, and for how long it is waited for.
struct Expected {
    records: u64,
    until: Instant,
}

fn read(reader: &Reader, mut arrivals: Arrivals, expected: &OnceLock<Expected>) -> (Arrivals, BTreeMap<String, u64>) {
    let mut errors = BTreeMap::new();
    let all = |arrivals: &Arrivals| {
        let is_all = |expected: &Expected| arrivals.records >= expected.records || Instant::now() > expected.until;
        expected.get().is_some_and(is_all)
    };
    while !all(&arrivals) {
        match reader.poll(LOOK) {
            Some(Ok(message)) => arrivals.arrive(message.payload().unwrap_or_default(), Instant::now()),
            Some(Err(error)) => *errors.entry(format!("the reader: {error}")).or_default() += 1,
            None => {}
        }
    }
    (arrivals, errors)
}

fn send(load: &Latency, producer: &Producer, began: Instant, window: Window) {
    let mut value = vec![b'.'; load.record_size as usize];
    let interval = Duration::from_secs_f64(1.0 / f64::from(load.rate));
    pace(began, interval, window.until, |due| {
        stamp(&mut value, due - began);
        let record = Outgoing {
            topic: &load.target.topic,
            partition: None,
            value: &value,
            due,
        };
        producer.send(&record, window.until + LAST_ANSWERS)
    });
}
