use crate::background_pool::{BackgroundPool, ask_for_long_slices};
use crate::{Disk, Host, Net, Pool, ProcessUsage, RealDisk, RealNet, ThreadBody};
use rand::Rng;
use std::sync::{Arc, Mutex, mpsc};
use std::time::SystemTime;
use types::{Monotonic, limits};

/// This machine: OS threads, real files, real sockets.
pub struct RealHost {
    started: tokio::time::Instant,
    disk: Arc<RealDisk>,
    net: Arc<RealNet>,
}

struct ThreadPool {
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl RealHost {
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: tokio::time::Instant::now(),
            disk: Arc::new(RealDisk),
            net: Arc::new(RealNet),
        }
    }
}

impl Default for RealHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for RealHost {
    fn now(&self) -> Monotonic {
        Monotonic(self.started.elapsed())
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn random_u64(&self) -> u64 {
        rand::rng().next_u64()
    }

    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn net(&self) -> Arc<dyn Net> {
        self.net.clone()
    }

    fn spawn_thread(&self, name: &str, body: ThreadBody) -> tokio::sync::oneshot::Receiver<()> {
        let (ended, receiver) = tokio::sync::oneshot::channel();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the system refuses an epoll descriptor");
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async move { body().await });
            // What the tasks hold (files, a database) is closed when the receiver hears of the end.
            drop(tasks);
            drop(runtime);
            // Dropped without sending if the body panicked, so that the receiver sees an error.
            let _ = ended.send(());
        });
        if let Err(error) = spawned {
            tracing::error!(%error, name, "cannot start a thread");
        }
        receiver
    }

    fn pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        threads_of_a_pool(name, threads, || ())
    }

    fn patient_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        threads_of_a_pool(name, threads, ask_for_long_slices)
    }

    fn process_usage(&self) -> Option<ProcessUsage> {
        ProcessUsage::of_this_process()
    }

    fn background_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        Arc::new(BackgroundPool::new(name, threads, 0, Some(limits::BACKGROUND_PATIENCE)))
    }

    fn idle_pool(&self, name: &str, threads: usize) -> Arc<dyn Pool> {
        Arc::new(BackgroundPool::new(name, threads, limits::IDLE_POOL_RESTS, None))
    }
}

/// Threads that call `first`, then take jobs.
fn threads_of_a_pool(name: &str, threads: usize, first: fn()) -> Arc<dyn Pool> {
    let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..threads.max(1) {
        let queue = queue.clone();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            first();
            loop {
                let job = match queue.lock() {
                    Ok(queue) => queue.recv(),
                    Err(_) => return,
                };
                match job {
                    Ok(job) => job(),
                    Err(_) => return,
                }
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, name, "cannot start a thread");
        }
    }
    Arc::new(ThreadPool { jobs })
}

impl Pool for ThreadPool {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        if self.jobs.send(job).is_err() {
            tracing::error!("a job was given to a pool whose threads have ended");
        }
    }
}
