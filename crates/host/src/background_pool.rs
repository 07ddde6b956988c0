use crate::Pool;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of the thread that does what has waited too long: a tenth of the time that any other gets, where there is not enough for both.
const LATE_NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run while no other thread of the machine wants to, `SCHED_IDLE`, and are interrupted by whoever does.
///
/// ◆ Niceness does not do it: since Linux 6.6 a thread that runs goes on to the end of its slice, mostly until the timer's next
/// tick, and a record waits for that at each of the five threads that it passes through. Who may not change how its threads are
/// scheduled has ordinary ones.
pub(crate) struct BackgroundPool {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    /// There is one, or the pool has gone.
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(Instant, Job)>,
    closed: bool,
}

impl BackgroundPool {
    /// With `patience`, one more thread, which gives way but gets on, does what has waited for so long.
    pub(crate) fn new(name: &str, threads: usize, patience: Option<Duration>) -> Self {
        let queue = Arc::new(Queue::default());
        for _ in 0..threads.max(1) {
            start(name, &queue, Duration::ZERO, || {
                // SAFETY: the kernel reads the parameter, which lives across the call; 0 is the calling thread.
                unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
            });
        }
        if let Some(patience) = patience {
            start(name, &queue, patience, || {
                // Without an id, Linux takes the calling thread.
                let _ = rustix::process::setpriority_process(None, LATE_NICENESS);
            });
        }
        Self { queue }
    }
}

impl Pool for BackgroundPool {
    fn submit(&self, job: Job) {
        self.queue.lock().waiting.push_back((Instant::now(), job));
        self.queue.changed.notify_all();
    }
}

impl Drop for BackgroundPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first job, once it has waited for `patience`; `None` when there will be no more.
    fn next(&self, patience: Duration) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            let left = jobs
                .waiting
                .front()
                .map(|(since, _)| patience.saturating_sub(since.elapsed()));
            jobs = match left {
                Some(Duration::ZERO) => return jobs.waiting.pop_front().map(|(_, job)| job),
                Some(left) => match self.changed.wait_timeout(jobs, left) {
                    Ok((jobs, _)) => jobs,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None if jobs.closed => return None,
                None => self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// A thread that calls `first`, then takes jobs.
fn start(name: &str, queue: &Arc<Queue>, patience: Duration, first: fn()) {
    let queue = queue.clone();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        first();
        while let Some(job) = queue.next(patience) {
            job();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, name, "cannot start a thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, PoolExt, RealHost};

    /// (policy, niceness) of the thread that asks.
    fn scheduled() -> (i32, i32) {
        // SAFETY: asks about the calling thread and touches no memory of ours.
        let policy = unsafe { libc::sched_getscheduler(0) };
        (policy, rustix::process::getpriority_process(None).unwrap())
    }

    #[tokio::test]
    async fn threads_of_a_background_pool_give_way_and_no_others() {
        let host = RealHost::new();
        let own = scheduled();
        for pool in [host.background_pool("low", 1), host.idle_pool("idle", 1)] {
            assert_eq!(pool.run(scheduled).await.unwrap().0, libc::SCHED_IDLE);
        }
        assert_eq!(host.pool("plain", 1).run(scheduled).await.unwrap(), own);
        assert_eq!(scheduled(), own);
    }

    /// ◆ Nothing waits for ever because others want all the time that there is.
    #[tokio::test]
    async fn what_has_waited_for_long_is_done_by_a_thread_that_gets_on() {
        let patience = Duration::from_millis(50);
        let pool = BackgroundPool::new("low", 1, Some(patience));
        // Neither ends before the other has begun.
        let both = Arc::new(std::sync::Barrier::new(2));
        let asked = Instant::now();
        let [one, other] = [both.clone(), both].map(|both| {
            pool.run(move || {
                both.wait();
                scheduled()
            })
        });
        let mut threads = [one.await.unwrap(), other.await.unwrap()];
        assert!(asked.elapsed() >= patience);
        threads.sort_by_key(|(policy, _)| *policy == libc::SCHED_IDLE);
        let own = scheduled();
        assert_eq!(threads[0], (own.0, own.1.max(LATE_NICENESS)));
        assert_eq!(threads[1].0, libc::SCHED_IDLE);
    }

    #[tokio::test]
    async fn a_pool_that_is_gone_has_done_its_jobs() {
        let pool = BackgroundPool::new("low", 2, Some(Duration::from_secs(60)));
        let jobs: Vec<_> = (0..100).map(|job| pool.run(move || job)).collect();
        drop(pool);
        assert_eq!(
            futures::future::try_join_all(jobs).await.unwrap(),
            (0..100).collect::<Vec<_>>()
        );
    }
}
