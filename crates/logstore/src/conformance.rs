//! What every [`FlushStrategy`] must pass: [`check`]. And [`SimMachine`], a host with a simulated disk for such
//! suites.

use crate::{FlushStrategy, Flusher, JournalSize, Log, LogConfig, LogDir, RecoveryOutcome};
use bytes::Bytes;
use host::sim_disk::SimDisk;
use host::{Disk, Host, HostRef, Net, Pool, RealNet, ThreadBody};
use records::{BatchBuilder, Compression};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use types::{LeaderEpoch, Monotonic, Offset, ReplicaIncarnation, TopicId, TopicPartition};
use uuid::Uuid;

/// A machine with a given disk whose pools run jobs at once, in the caller. Its clock stands still.
pub struct SimMachine {
    disk: Arc<dyn Disk>,
    random: AtomicU64,
    /// A pool whose jobs are never run.
    stuck: Option<&'static str>,
}

struct InlinePool;

struct StuckPool;

impl Pool for StuckPool {
    fn submit(&self, _job: Box<dyn FnOnce() + Send>) {}
}

impl Pool for InlinePool {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

impl SimMachine {
    #[must_use]
    pub fn host(disk: Arc<dyn Disk>, seed: u64) -> HostRef {
        Self::host_with_stuck(disk, seed, None)
    }

    /// The same; of this pool no job is ever run, as if its thread had too much to do.
    #[must_use]
    pub fn host_with_stuck(disk: Arc<dyn Disk>, seed: u64, stuck: Option<&'static str>) -> HostRef {
        Arc::new(Self {
            disk,
            random: AtomicU64::new(seed),
            stuck,
        })
    }
}

impl Host for SimMachine {
    fn now(&self) -> Monotonic {
        Monotonic::default()
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    fn random_u64(&self) -> u64 {
        self.random
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn net(&self) -> Arc<dyn Net> {
        Arc::new(RealNet)
    }

    fn spawn_thread(&self, _name: &str, _body: ThreadBody) -> tokio::sync::oneshot::Receiver<()> {
        // Nothing here needs one: the receiver reports a thread that ended.
        tokio::sync::oneshot::channel().1
    }

    fn pool(&self, name: &str, _threads: usize) -> Arc<dyn Pool> {
        match self.stuck == Some(name) {
            true => Arc::new(StuckPool),
            false => Arc::new(InlinePool),
        }
    }
}

/// A batch of `records` records of `bytes` bytes each, at `base`.
#[must_use]
pub fn batch(base: Offset, epoch: LeaderEpoch, records: usize, bytes: usize, seed: u64) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None)
        .base_offset(base)
        .leader_epoch(epoch);
    let value: Vec<u8> = (0..bytes).map(|index| (seed as usize + index) as u8).collect();
    for index in 0..records {
        builder.push(1_000 + base.0 + index as i64, None, Some(&value), &[]);
    }
    builder.build()
}

/// Appends one such batch to the end of a log; answers its bytes.
///
/// # Errors
/// Those of [`Log::append`].
pub fn append(
    log: &mut Log,
    epoch: LeaderEpoch,
    records: usize,
    bytes: usize,
    seed: u64,
) -> Result<Bytes, crate::LogError> {
    append_at(log, log.log_end_offset(), epoch, records, bytes, seed)
}

/// [`append`] of a batch that begins at `first`.
///
/// # Errors
/// As [`Log::append`].
pub fn append_at(
    log: &mut Log,
    first: Offset,
    epoch: LeaderEpoch,
    records: usize,
    bytes: usize,
    seed: u64,
) -> Result<Bytes, crate::LogError> {
    let next = first.plus(records as i64);
    let batch = batch(first, epoch, records, bytes, seed);
    log.append(batch.clone(), first, next, 0)?;
    Ok(batch)
}

/// Flushes through a flusher whose pool runs inline; answers whether it succeeded.
pub fn flush(log: &mut Log, flusher: &Flusher) -> bool {
    let Some(job) = log.begin_flush() else {
        return !log.is_offline();
    };
    let result = Arc::new(Mutex::new(None));
    let slot = result.clone();
    flusher.submit(
        job,
        Box::new(move |done| {
            *crate::directory::lock(&slot) = Some(done);
        }),
    );
    let done = crate::directory::lock(&result).take();
    match done {
        Some(Ok(flushed)) => {
            log.finish_flush(&flushed);
            true
        }
        _ => false,
    }
}

/// The partition `partition` of the suites' topic.
#[must_use]
pub fn partition(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicId(Uuid::from_u128(0x0f0e_0d0c_0b0a_4908_8706_0504_0302_0100)),
        partition,
    }
}

/// A journal that is full soon.
pub const SMALL_JOURNAL: JournalSize = JournalSize {
    bytes: 8 * 1024,
    bytes_max: 16 * 1024,
};

/// Runs the suite over some seeds.
///
/// Several logs are appended to and flushed; then the power fails, all that was not synced is gone or torn,
/// and everything that the strategy had reported must be there: data, marks and epochs. A strategy that reports
/// before it synced fails here.
///
/// # Errors
/// The first broken promise, with its seed.
pub fn check(make: impl Fn() -> Box<dyn FlushStrategy>, seeds: std::ops::Range<u64>) -> Result<(), String> {
    for seed in seeds {
        check_one(make(), seed).map_err(|problem| format!("seed {seed}: {problem}"))?;
    }
    Ok(())
}

fn check_one(strategy: Box<dyn FlushStrategy>, seed: u64) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let sim = SimDisk::new();
    let path = Path::new("/data");
    // Sometimes whoever relieves the journal comes too late.
    let stuck = (seed % 3 == 1).then_some("log-coverer");
    let host = SimMachine::host_with_stuck(sim.handle(), seed, stuck);
    let dir = LogDir::open_sized(&host, path, SMALL_JOURNAL).map_err(|error| text(&error))?;
    let flusher = dir.start_flusher(&host, strategy);
    // In some runs a durable batch is damaged after the crash: without a durable mark nobody would notice.
    let damage = seed % 4 == 3;
    let config = LogConfig {
        segment_bytes: if damage { 1 << 20 } else { 4096 << (seed % 5) },
        ..LogConfig::default()
    };
    let mut logs = Vec::new();
    for index in 0..3 {
        let log = dir.create_log("orders", partition(index), ReplicaIncarnation(7), config);
        logs.push(log.map_err(|error| text(&error))?);
    }
    let mut content: Vec<Vec<u8>> = vec![Vec::new(); logs.len()];
    for round in 0..20u64 {
        for (index, log) in logs.iter_mut().enumerate() {
            let epoch = LeaderEpoch((round / 4) as i32);
            let bytes = append(log, epoch, 1 + index, 300, seed + round).map_err(|error| text(&error))?;
            content[index].extend_from_slice(&bytes);
            if (seed + round + index as u64).is_multiple_of(3) && !flush(log, &flusher) {
                return Err("a flush failed on a healthy disk".to_owned());
            }
        }
    }
    let promised: Vec<_> = logs
        .iter()
        .map(|log| (log.durable_offset(), log.epoch_durable()))
        .collect();
    if promised.iter().all(|(durable, _)| *durable == Offset::ZERO) {
        return Err("nothing was ever reported durable".to_owned());
    }
    if seed.is_multiple_of(2) {
        sim.crash(seed)
    } else {
        sim.crash_losing_everything_unsynced()
    }
    drop((logs, flusher, dir));
    let damaged = damage && promised[0].0 > Offset::ZERO;
    if damaged {
        let file = path.join("orders-0/00000000000000000000.log");
        sim.flip_bit(&file, 80, 1)
            .map_err(|error| format!("partition 0 lost its durable data: {error}"))?;
    }
    let host = SimMachine::host(sim.handle(), seed + 1);
    let mut dir = LogDir::open_sized(&host, path, SMALL_JOURNAL).map_err(|error| text(&error))?;
    let recovered = dir.recover().map_err(|error| text(&error))?;
    for found in &recovered {
        let index = found.log.topic_partition().partition as usize;
        let (durable, epoch) = promised[index];
        if damaged && index == 0 {
            match &found.outcome {
                RecoveryOutcome::Corrupt { at, .. } if *at == Offset::ZERO => continue,
                other => return Err(format!("damage below the durable offset was taken for {other:?}")),
            }
        }
        if let RecoveryOutcome::Corrupt { at, why } = &found.outcome {
            return Err(format!("partition {index} is corrupt at {at}: {why}"));
        }
        if found.log.log_end_offset() < durable {
            let end = found.log.log_end_offset();
            return Err(format!(
                "partition {index}: {durable} was reported durable, the log ends at {end}"
            ));
        }
        if let Some(epoch) = epoch
            && !found.log.epochs().iter().any(|(known, _)| *known == epoch)
        {
            return Err(format!(
                "partition {index}: epoch {epoch} was reported durable and is lost"
            ));
        }
        let bytes = read_all(&found.log)?;
        if !content[index].starts_with(&bytes) {
            return Err(format!("partition {index}: the content differs"));
        }
    }
    if recovered.len() == promised.len() {
        Ok(())
    } else {
        Err(format!("{} logs were found", recovered.len()))
    }
}

/// All bytes of a log, read the way a consumer would.
///
/// # Errors
/// What reading says, or a range that does not go on.
pub fn read_all(log: &Log) -> Result<Vec<u8>, String> {
    let (mut from, mut all) = (log.log_start_offset(), Vec::new());
    while from < log.log_end_offset() {
        let slice = log
            .read(from, log.log_end_offset(), 1000, true)
            .map_err(|error| error.to_string())?;
        let bytes = slice.bytes().map_err(|error| error.to_string())?;
        let Some((first, next)) = crate::LogSlice::offsets(&bytes) else {
            return Err(format!("nothing to read at {from}"));
        };
        if first > from || next <= from {
            return Err(format!("a read at {from} gave {first}..{next}"));
        }
        all.extend_from_slice(&bytes);
        from = next;
    }
    Ok(all)
}
