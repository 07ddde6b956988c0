use super::progress::Progress;
use super::report::{Pause, Report, Times};
use super::target::Target;
use crate::client::{Cluster, Outgoing, Producer, Topic};
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::process::Command;

/// A load that is well before anything happens.
const BEFORE: Duration = Duration::from_secs(3);
/// A hook that takes longer is taken for one that hangs.
const HOOK: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(
    after_help = "Writes a record at a time to each partition, with a client that asks anew who leads when it is refused. Then it runs\n\
    --hook, which ends a broker, or waits for you to do so, and says for how long each partition acknowledged nothing.\n\n\
    Example: ottla bench failover --hook 'kill -9 4711'\n\
    Example: ottla bench failover --duration 60s --format json        # and end a broker meanwhile"
)]
pub(super) struct Failover {
    #[command(flatten)]
    target: Target,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    record_size: u32,
    /// Records a second to each partition, as far as they are acknowledged
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// What ends a broker, run by `sh -c` when everything is acknowledged
    #[arg(long, value_name = "CMD")]
    hook: Option<String>,
    /// How long is watched for pauses, from the hook on
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
}

/// What one partition's writer saw.
#[derive(Debug, Default)]
struct Seen {
    /// When it was acknowledged last.
    last: Cell<Option<Instant>>,
    longest: Cell<Duration>,
    records: Cell<u64>,
    bytes: Cell<u64>,
    errors: RefCell<BTreeMap<String, u64>>,
}

impl Seen {
    fn acknowledged(&self, now: Instant, bytes: u64) {
        self.until(now);
        self.last.set(Some(now));
        self.records.set(self.records.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn until(&self, now: Instant) {
        if let Some(last) = self.last.get() {
            self.longest.set(self.longest.get().max(now - last));
        }
    }
}

impl Failover {
    pub async fn run(self, bootstrap: &str, progress: Progress) -> anyhow::Result<Report> {
        let mut cluster = Cluster::new(bootstrap);
        self.target.leaders(&mut cluster).await?;
        let before = cluster.topic(&self.target.topic, false).await?;
        let told = tokio::task::spawn_local({
            let progress = progress.clone();
            async move { progress.tell().await }
        });
        let seen: Vec<(i32, Rc<Seen>)> = before.partitions.iter().map(|p| (p.index, Rc::default())).collect();
        let mut writers = Vec::new();
        for (partition, seen) in &seen {
            let mut cluster = Cluster::new(bootstrap);
            let producer = Producer::new(&mut cluster, &self.target.topic).await?;
            let writer = write(
                cluster,
                producer,
                (*partition, seen.clone()),
                (self.rate, self.record_size as usize),
                progress.clone(),
            );
            writers.push(tokio::task::spawn_local(writer));
        }
        tokio::time::sleep(BEFORE).await;
        if let Some((partition, _)) = seen.iter().find(|(_, seen)| seen.last.get().is_none()) {
            bail!(
                "partition {partition} of {} acknowledges nothing (`ottla why {}` says why)",
                self.target.topic,
                self.target.topic
            );
        }
        // Pauses of the time before are not asked for.
        seen.iter().for_each(|(_, seen)| seen.longest.set(Duration::ZERO));
        let began = Instant::now();
        match &self.hook {
            Some(hook) => run_hook(hook).await?,
            None => eprintln!(
                "End a broker now: pauses are watched for {} s.",
                self.duration.as_secs()
            ),
        }
        tokio::time::sleep(self.duration.saturating_sub(began.elapsed())).await;
        let now = Instant::now();
        seen.iter().for_each(|(_, seen)| seen.until(now));
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        told.abort();
        let after = cluster.topic(&self.target.topic, false).await?;
        Ok(report(&seen, &before, &after, now - began))
    }
}

async fn run_hook(hook: &str) -> anyhow::Result<()> {
    let running = Command::new("sh").arg("-c").arg(hook).kill_on_drop(true).status();
    let status = tokio::time::timeout(HOOK, running).await;
    let status = status.with_context(|| format!("--hook has not ended after {} s", HOOK.as_secs()))?;
    let status = status.context("--hook cannot be started")?;
    if !status.success() {
        bail!("--hook: {status}");
    }
    Ok(())
}

/// A record at a time, for ever.
async fn write(
    mut cluster: Cluster,
    mut producer: Producer,
    (partition, seen): (i32, Rc<Seen>),
    (rate, size): (u32, usize),
    progress: Progress,
) {
    let mut timer = tokio::time::interval(Duration::from_secs_f64(1.0 / f64::from(rate)));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let value = Bytes::from(vec![b'.'; size]);
    loop {
        timer.tick().await;
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let record = Outgoing {
            partition: Some(partition),
            timestamp: i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX),
            key: None,
            value: Some(value.clone()),
            headers: Vec::new(),
        };
        match producer.send(&mut cluster, &[record]).await {
            Ok(_) => {
                seen.acknowledged(Instant::now(), size as u64);
                progress.add(1, size as u64);
            }
            Err(error) => *seen.errors.borrow_mut().entry(error.to_string()).or_default() += 1,
        }
    }
}

/// Latency: of the partitions whose leader is another one now, how long each acknowledged nothing.
fn report(seen: &[(i32, Rc<Seen>)], before: &Topic, after: &Topic, took: Duration) -> Report {
    let leader = |topic: &Topic, index: i32| {
        topic
            .partitions
            .iter()
            .find(|p| p.index == index)
            .map_or(-1, |p| p.leader)
    };
    let mut times = Times::new();
    let (mut pauses, mut errors) = (Vec::new(), BTreeMap::new());
    let (mut records, mut bytes) = (0, 0);
    for (partition, seen) in seen {
        let (leader_before, leader_after) = (leader(before, *partition), leader(after, *partition));
        if leader_before != leader_after {
            times.add(seen.longest.get());
        }
        pauses.push(Pause {
            partition: *partition,
            leader_before,
            leader_after,
            ms: seen.longest.get().as_secs_f64() * 1000.0,
        });
        records += seen.records.get();
        bytes += seen.bytes.get();
        for (error, count) in &*seen.errors.borrow() {
            *errors.entry(error.clone()).or_default() += count;
        }
    }
    Report {
        latency: times.latency(),
        errors,
        pauses,
        ..Report::new("failover", records, bytes, took)
    }
}
