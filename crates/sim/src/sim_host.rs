use crate::sim_net::SimNet;
use host::{Disk, Host, Net, Pool, ThreadBody};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use types::Monotonic;

/// A blocking job takes this long, in microseconds.
const JOB_MICROS: std::ops::Range<u64> = 50..4_000;
/// How often a job looks whether the disk still stalls.
const STALLED: Duration = Duration::from_millis(5);

/// What is done to a machine, over its lives.
#[derive(Debug, Default)]
pub struct Machinery {
    /// Blocking jobs wait while it is set. What does not block reaches the page cache all the same.
    pub stalled: AtomicBool,
    /// By how much its wall clock is off.
    pub clock_ms: AtomicI64,
}

/// One life of one simulated machine: threads are local tasks, blocking jobs take simulated time, every random number
/// comes from the seed.
pub struct SimHost {
    started: tokio::time::Instant,
    disk: Arc<dyn Disk>,
    machinery: Arc<Machinery>,
    net: Arc<SimNet>,
    random: Arc<Mutex<SmallRng>>,
}

struct SimPool {
    jobs: mpsc::UnboundedSender<Box<dyn FnOnce() + Send>>,
}

impl SimHost {
    /// Inside the simulated host's runtime; `seed` differs for every life.
    #[must_use]
    pub fn new(seed: u64, disk: Arc<dyn Disk>, machinery: Arc<Machinery>) -> Self {
        Self {
            started: tokio::time::Instant::now(),
            disk,
            machinery,
            net: Arc::new(SimNet),
            random: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))),
        }
    }
}

impl Host for SimHost {
    fn now(&self) -> Monotonic {
        Monotonic(self.started.elapsed())
    }

    fn wall_ms(&self) -> i64 {
        // turmoil's epoch is fixed by the runner; elapsed time is the simulation's.
        let epoch = Duration::from_secs(1_700_000_000);
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let now = i64::try_from((epoch + elapsed).as_millis()).unwrap_or(i64::MAX);
        now.saturating_add(self.machinery.clock_ms.load(Ordering::Relaxed))
    }

    fn random_u64(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn net(&self) -> Arc<dyn Net> {
        self.net.clone()
    }

    fn spawn_thread(&self, _name: &str, body: ThreadBody) -> tokio::sync::oneshot::Receiver<()> {
        let (ended, receiver) = tokio::sync::oneshot::channel();
        let seed = self.random_u64();
        tokio::task::spawn_local(async move {
            // What openraft starts below belongs to the simulation too.
            raft::simulated(seed, body()).await;
            // Nobody may be waiting.
            let _ = ended.send(());
        });
        receiver
    }

    fn pool(&self, _name: &str, threads: usize) -> Arc<dyn Pool> {
        let (jobs, queue) = mpsc::unbounded_channel::<Box<dyn FnOnce() + Send>>();
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let (queue, random, machinery) = (queue.clone(), self.random.clone(), self.machinery.clone());
            tokio::task::spawn_local(async move {
                loop {
                    let Some(job) = queue.lock().await.recv().await else {
                        return;
                    };
                    let micros = random
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .random_range(JOB_MICROS);
                    tokio::time::sleep(Duration::from_micros(micros)).await;
                    while machinery.stalled.load(Ordering::Relaxed) {
                        tokio::time::sleep(STALLED).await;
                    }
                    job();
                }
            });
        }
        Arc::new(SimPool { jobs })
    }
}

impl Pool for SimPool {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        // After a crash the worker is gone, and so is whoever waits for the job.
        let _ = self.jobs.send(job);
    }
}
