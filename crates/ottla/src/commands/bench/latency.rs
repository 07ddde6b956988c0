use super::client::Client;
use super::link::Shape;
use super::load::{Job, Lane, Tally, Window};
use super::pace::Pace;
use super::produce::{Acks, Codec, wall_ms};
use super::progress::Progress;
use super::reading::Reading;
use super::report::{Report, Times};
use super::target::Target;
use crate::client::Cluster;
use clap::Args;
use records::{Batch, decode_records};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use types::limits;

/// More than this without an answer, and it is no longer an open loop: then latency says so.
const IN_FLIGHT: usize = 10_000;
/// When a record was to be sent: nanoseconds since the run began, at the front of its value.
pub(super) const STAMP: usize = 8;
/// For what was sent last to arrive.
pub(super) const LAST_RECORDS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(
    after_help = "With --client librdkafka one producer leaves the partition of a record to librdkafka, and one consumer \
    is assigned all partitions at their ends. Set are, for the producer: acks, compression.type, linger.ms (--linger); \
    for the consumer: group.id, enable.auto.commit=false. Everything else is librdkafka's default.\n\n\
    Example: ottla bench latency --rate 5000 --record-size 1024 --duration 20s"
)]
pub(super) struct Latency {
    #[command(flatten)]
    pub target: Target,
    /// Who writes and reads
    #[arg(long, value_enum, default_value_t = Client::Bare)]
    client: Client,
    /// Records a second
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(STAMP as i64..=1_000_000))]
    pub record_size: u32,
    /// Records wait so long for others, to go with them in a batch
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    pub linger: Duration,
    /// Who acknowledges
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Codec of the batches
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Not measured, at the beginning
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
}

/// What arrived.
pub(super) struct Arrivals {
    began: Instant,
    window: Window,
    pub times: Times,
    pub records: u64,
    pub bytes: u64,
}

impl Arrivals {
    pub fn new(began: Instant, window: Window) -> Self {
        Self {
            began,
            window,
            times: Times::new(),
            records: 0,
            bytes: 0,
        }
    }

    fn take(&mut self, batch: &Batch) {
        let now = Instant::now();
        for record in decode_records(batch, limits::DECOMPRESSED_BYTES_MAX).unwrap_or_default() {
            self.arrive(&record.value.unwrap_or_default(), now);
        }
    }

    /// A value that is not stamped is nobody's.
    pub fn arrive(&mut self, value: &[u8], now: Instant) {
        let Some(stamp) = value.first_chunk::<STAMP>() else {
            return;
        };
        let due = self.began + Duration::from_nanos(u64::from_be_bytes(*stamp));
        if self.window.holds(due) {
            self.times.add(now - due);
            self.records += 1;
            self.bytes += value.len() as u64;
        }
    }

    /// Latency is of what arrived.
    pub fn report(&self, tally: &Tally) -> Report {
        Report {
            latency: self.times.latency(),
            errors: tally.errors.clone(),
            ..Report::new("latency", self.records, self.bytes, self.window.length())
        }
    }
}

/// Puts down at the front of `value` when it is to be sent.
pub(super) fn stamp(value: &mut [u8], since_began: Duration) {
    let nanoseconds = u64::try_from(since_began.as_nanos()).unwrap_or(u64::MAX);
    value[..STAMP].copy_from_slice(&nanoseconds.to_be_bytes());
}

impl Latency {
    pub async fn run(self, bootstrap: &str, progress: Progress) -> anyhow::Result<Report> {
        self.client.check()?;
        let mut cluster = Cluster::new(bootstrap);
        let leaders = self.target.leaders(&mut cluster).await?;
        let ends = Reading::positions(&mut cluster, &self.target.topic, true).await?;
        #[cfg(feature = "librdkafka")]
        if self.client == Client::Librdkafka {
            return super::librdkafka::latency(self, bootstrap, ends, progress).await;
        }
        let window = Window::new(self.warmup, self.duration);
        let began = Instant::now();
        let arrivals = Rc::new(RefCell::new(Arrivals::new(began, window)));
        let tally = Rc::new(RefCell::new(Tally::new(window)));
        let permits = Arc::new(Semaphore::new(IN_FLIGHT));
        let (mut lanes, mut queues) = (Vec::new(), Vec::new());
        for (address, partitions) in &leaders {
            let positions = partitions.iter().filter_map(|index| Some((*index, *ends.get(index)?)));
            let mut reading = Reading::open(address, &self.target.topic, positions.collect()).await?;
            let (arrivals, tally_of_reader) = (arrivals.clone(), tally.clone());
            tokio::task::spawn_local(async move {
                let error = loop {
                    if let Err(error) = reading.fetch(|batch| arrivals.borrow_mut().take(batch)).await {
                        break error;
                    }
                };
                tally_of_reader.borrow_mut().fail(format!("the reader: {error}"));
            });
            let lane = Lane::open(address, permits.clone(), tally.clone(), progress.clone()).await?;
            let (queue, jobs) = mpsc::unbounded_channel();
            lanes.push(tokio::task::spawn_local(lane.open_loop(jobs)));
            queues.extend(partitions.iter().map(|partition| (*partition, queue.clone())));
        }
        let telling = progress.clone();
        let told = tokio::task::spawn_local(async move { telling.tell().await });
        self.send(queues, began, window).await?;
        futures::future::join_all(lanes).await;
        let sent = tally.borrow().sent;
        let arrived = async {
            while arrivals.borrow().records < sent {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_RECORDS, arrived).await;
        told.abort();
        let report = arrivals.borrow().report(&tally.borrow());
        Ok(report)
    }

    /// A batch at a time, each for the next partition, with the records that were to be sent since the last.
    async fn send(
        &self,
        queues: Vec<(i32, mpsc::UnboundedSender<Job>)>,
        began: Instant,
        window: Window,
    ) -> anyhow::Result<()> {
        let shape = Shape {
            topic: self.target.topic.clone(),
            acks: self.acks.number(),
            compression: self.compression.compression(),
        };
        let interval = Duration::from_secs_f64(1.0 / f64::from(self.rate));
        let mut pace = Pace::every(self.linger.max(interval));
        let mut value = vec![b'.'; self.record_size as usize];
        // The last of a batch is due when it is sent: anything else would count as latency.
        let mut due = pace.began + interval;
        for (partition, queue) in queues.iter().cycle() {
            let Some(until) = pace.next().await.filter(|until| *until < window.until) else {
                return Ok(());
            };
            let first = due;
            let mut values = Vec::new();
            while due <= until {
                stamp(&mut value, due - began);
                values.push(value.clone());
                due += interval;
            }
            if values.is_empty() {
                continue;
            }
            let frame = shape.frame(*partition, wall_ms(), values.iter().map(Vec::as_slice))?;
            let _ = queue.send(Job { due: first, frame });
        }
        Ok(())
    }
}
