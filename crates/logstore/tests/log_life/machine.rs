//! A machine with a simulated disk whose clock is set by hand and whose cleaner runs when it is told to.

use bytes::Bytes;
use host::sim_disk::SimDisk;
use host::{Disk, Host, HostRef, Net, Pool, ThreadBody};
use logstore::conformance::{SimMachine, partition};
use logstore::{Log, LogConfig, LogDir};
use records::{BatchBuilder, Compression};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::{LeaderEpoch, Monotonic, Offset, ReplicaIncarnation};

pub const DATA: &str = "/data";

type Job = Box<dyn FnOnce() + Send>;

struct Machine {
    inner: HostRef,
    clock_ms: Arc<AtomicU64>,
    cleaner: Arc<Jobs>,
}

#[derive(Default)]
struct Jobs(Mutex<Vec<Job>>);

impl Pool for Jobs {
    fn submit(&self, job: Job) {
        self.0.lock().unwrap().push(job);
    }
}

impl Host for Machine {
    fn now(&self) -> Monotonic {
        Monotonic(Duration::from_millis(self.clock_ms.load(Ordering::Relaxed)))
    }
    fn wall_ms(&self) -> i64 {
        self.clock_ms.load(Ordering::Relaxed) as i64
    }
    fn random_u64(&self) -> u64 {
        self.inner.random_u64()
    }
    fn disk(&self) -> Arc<dyn Disk> {
        self.inner.disk()
    }
    fn net(&self) -> Arc<dyn Net> {
        self.inner.net()
    }
    fn spawn_thread(&self, name: &str, body: ThreadBody) -> tokio::sync::oneshot::Receiver<()> {
        self.inner.spawn_thread(name, body)
    }
    fn pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        match name {
            "log-cleaner" => self.cleaner.clone(),
            _ => self.inner.pool(name, threads),
        }
    }
}

/// A life of a log directory.
pub struct Life {
    pub sim: SimDisk,
    pub dir: LogDir,
    clock_ms: Arc<AtomicU64>,
    cleaner: Arc<Jobs>,
}

impl Life {
    pub fn begin(sim: &SimDisk, seed: u64) -> Self {
        let (clock_ms, cleaner) = (Arc::new(AtomicU64::new(0)), Arc::new(Jobs::default()));
        let host: HostRef = Arc::new(Machine {
            inner: SimMachine::host(sim.handle(), seed),
            clock_ms: clock_ms.clone(),
            cleaner: cleaner.clone(),
        });
        let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
        Self {
            sim: sim.clone(),
            dir,
            clock_ms,
            cleaner,
        }
    }

    pub fn create(&self, incarnation: u64, config: LogConfig) -> Log {
        self.dir
            .create_log("orders", partition(0), ReplicaIncarnation(incarnation), config)
            .unwrap()
    }

    pub fn set_clock(&self, ms: u64) {
        self.clock_ms.store(ms, Ordering::Relaxed);
        self.dir.remove_due_files();
    }

    /// What the cleaner was given, and what it gives itself.
    pub fn clean(&self) {
        loop {
            let jobs = std::mem::take(&mut *self.cleaner.0.lock().unwrap());
            if jobs.is_empty() {
                return;
            }
            jobs.into_iter().for_each(|job| job());
        }
    }

    /// Names in the partition's directory, without its metadata.
    pub fn files(&self) -> Vec<String> {
        self.names("orders-0")
            .into_iter()
            .filter(|name| name != "partition.metadata")
            .collect()
    }

    pub fn names(&self, below: &str) -> Vec<String> {
        let entries = self.sim.handle().read_dir(&Path::new(DATA).join(below)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// One record of `bytes` bytes in a batch at the end of the log.
pub fn append(log: &mut Log, timestamp: i64, bytes: usize, wall_ms: i64) {
    let batch = batch(log.log_end_offset(), timestamp, bytes);
    let end = log.log_end_offset();
    log.append(batch, end, end.plus(1), wall_ms).unwrap();
}

pub fn batch(base: Offset, timestamp: i64, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None)
        .base_offset(base)
        .leader_epoch(LeaderEpoch(0));
    builder.push(timestamp, None, Some(&vec![7; bytes]), &[]);
    builder.build()
}

pub fn bases(log: &Log) -> Vec<i64> {
    log.segment_sizes().iter().map(|(base, _)| base.0).collect()
}
