use super::client::Client;
use super::link::{Frame, Shape};
use super::load::{Lane, Tally, Window, drive};
use super::pace::Pace;
use super::progress::Progress;
use super::reading::Reading;
use super::report::Report;
use super::target::{Leaders, Target};
use crate::client::Cluster;
use clap::{Args, ValueEnum};
use records::Compression;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Letters of the values: text, which compresses as such.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _";

#[derive(Debug, Args)]
#[command(
    after_help = "With --client librdkafka records go to the partitions in turn, and each producer and consumer is a \
    librdkafka client. Set are, for producers: acks, compression.type, batch.size, \
    max.in.flight.requests.per.connection, linger.ms where --linger is given, and where a batch holds one record \
    batch.num.messages=1 and linger.ms=0; for consumers: group.id, enable.auto.commit=false. Everything else is \
    librdkafka's default. Without --rate a producer hands over at most twice the records that its requests in flight \
    hold, so that a queue's length is not taken for latency; with one request of one record in flight it sends the \
    next when the last is reported. Bytes are of values, of whole batches otherwise.\n\n\
    Example: ottla bench produce --producers 3 --record-size 100 --batch-size 16384\n\
    Example: ottla bench produce --in-flight 1 --batch-size 1         # one record at a time\n\
    Example: ottla bench produce --rate 30000 --consumers 1 --format json"
)]
pub(super) struct Produce {
    #[command(flatten)]
    pub target: Target,
    /// Who writes and reads
    #[arg(long, value_enum, default_value_t = Client::Bare)]
    client: Client,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub record_size: u32,
    /// Bytes of a batch, as many records as fit and at least one
    #[arg(long, default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub batch_size: u32,
    /// Records wait so long for others of their batch (librdkafka only, which waits 5 ms by default)
    #[arg(long, value_parser = humantime::parse_duration)]
    pub linger: Option<Duration>,
    /// Who acknowledges
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Codec of the batches
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Producers, each with a connection to every leader
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub producers: u32,
    /// Requests without an answer, of each producer on all its connections together (librdkafka: on each)
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// Records a second, of all producers; without it each sends as soon as it may
    #[arg(long)]
    pub rate: Option<f64>,
    /// Consumers that read everything at the tail meanwhile
    #[arg(long, default_value_t = 0)]
    pub consumers: u32,
    /// Not measured, at the beginning
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Acks {
    /// Every in-sync replica
    All,
    /// The leader alone
    #[value(name = "1")]
    Leader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Acks {
    pub fn number(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
        }
    }
}

impl Codec {
    pub fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }
}

pub(super) fn wall_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

impl Produce {
    pub async fn run(self, bootstrap: &str, progress: Progress) -> anyhow::Result<Report> {
        if let Some(rate) = self.rate.filter(|rate| !rate.is_finite() || *rate <= 0.0) {
            anyhow::bail!("--rate {rate}: wants records a second, more than 0");
        }
        self.client.check()?;
        if self.linger.is_some() && self.client == Client::Bare {
            anyhow::bail!("--linger is for --client librdkafka: the bare client's batches wait for nothing");
        }
        let mut cluster = Cluster::new(bootstrap);
        let leaders = self.target.leaders(&mut cluster).await?;
        #[cfg(feature = "librdkafka")]
        if self.client == Client::Librdkafka {
            let ends = Reading::positions(&mut cluster, &self.target.topic, true).await?;
            return super::librdkafka::produce(self, bootstrap, leaders, ends, progress).await;
        }
        let window = Window::new(self.warmup, self.duration);
        let tally = Rc::new(RefCell::new(Tally::new(window)));
        let read = self.read_at_the_tail(&mut cluster, &leaders, &tally).await?;
        let telling = progress.clone();
        let told = tokio::task::spawn_local(async move { telling.tell().await });
        let mut lanes = Vec::new();
        for _ in 0..self.producers {
            lanes.extend(self.producer(&leaders, &tally, &progress).await?);
        }
        futures::future::join_all(lanes).await;
        told.abort();
        let mut report = tally.borrow().report("produce");
        report.read_mb_per_second = read.map(|read| read.get() as f64 / window.length().as_secs_f64() / 1e6);
        Ok(report)
    }

    pub fn records_per_batch(&self) -> u32 {
        (self.batch_size / self.record_size).max(1)
    }

    async fn producer(
        &self,
        leaders: &Leaders,
        tally: &Rc<RefCell<Tally>>,
        progress: &Progress,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let permits = Arc::new(Semaphore::new(self.in_flight as usize));
        let (mut tasks, mut queues) = (Vec::new(), Vec::new());
        let per_batch = self.records_per_batch();
        for (address, partitions) in leaders {
            let frames = self.frames(partitions)?;
            let lane = Lane::open(address, permits.clone(), tally.clone(), progress.clone()).await?;
            if self.rate.is_none() {
                tasks.push(tokio::task::spawn_local(lane.close_loop(frames)));
            } else {
                let (queue, jobs) = mpsc::unbounded_channel();
                queues.push((queue, frames));
                tasks.push(tokio::task::spawn_local(lane.open_loop(jobs)));
            }
        }
        if let Some(rate) = self.rate {
            let batches = rate / f64::from(per_batch) / f64::from(self.producers);
            let pace = Pace::every(Duration::from_secs_f64(1.0 / batches));
            let until = tally.borrow().window.until;
            tasks.push(tokio::task::spawn_local(drive(pace, queues, until)));
        }
        Ok(tasks)
    }

    /// One request for each partition.
    fn frames(&self, partitions: &[i32]) -> anyhow::Result<Vec<Frame>> {
        let shape = Shape {
            topic: self.target.topic.clone(),
            acks: self.acks.number(),
            compression: self.compression.compression(),
        };
        let values = self.values();
        let frame = |partition: &i32| shape.frame(*partition, wall_ms(), values.iter().map(Vec::as_slice));
        partitions.iter().map(frame).collect()
    }

    /// Those of a batch, each another one.
    pub fn values(&self) -> Vec<Vec<u8>> {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut value = || {
            let mut letter = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                LETTERS[(random >> 33) as usize % LETTERS.len()]
            };
            (0..self.record_size).map(|_| letter()).collect::<Vec<u8>>()
        };
        (0..self.records_per_batch()).map(|_| value()).collect()
    }

    /// Bytes that the consumers read within the window, all of them together; counted while it goes on.
    async fn read_at_the_tail(
        &self,
        cluster: &mut Cluster,
        leaders: &Leaders,
        tally: &Rc<RefCell<Tally>>,
    ) -> anyhow::Result<Option<Rc<Cell<u64>>>> {
        if self.consumers == 0 {
            return Ok(None);
        }
        let (read, window) = (Rc::new(Cell::new(0)), tally.borrow().window);
        let ends = Reading::positions(cluster, &self.target.topic, true).await?;
        for _ in 0..self.consumers {
            for (address, partitions) in leaders {
                let positions = partitions.iter().filter_map(|index| Some((*index, *ends.get(index)?)));
                let mut reading = Reading::open(address, &self.target.topic, positions.collect()).await?;
                let (read, tally) = (read.clone(), tally.clone());
                tokio::task::spawn_local(async move {
                    let count = |bytes: usize| {
                        if window.holds(Instant::now()) {
                            read.set(read.get() + bytes as u64);
                        }
                    };
                    let error = loop {
                        if let Err(error) = reading.fetch(|batch| count(batch.bytes.len())).await {
                            break error;
                        }
                    };
                    tally.borrow_mut().fail(format!("a consumer: {error}"));
                });
            }
        }
        Ok(Some(read))
    }
}
