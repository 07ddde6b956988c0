use crate::Pool;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of the thread that does what has waited too long: a tenth of the time that any other gets, where there is not enough for both.
const LATE_NICENESS: i32 = 10;

/// The longest that a thread may ask for, `sched_setattr(2)`.
const SLICE: Duration = Duration::from_millis(100);

/// The longest rest after a job.
const REST_MAX: Duration = Duration::from_secs(1);

/// What has waited for so many times the patience is late, even if the pool gets on with others.
const LATE_AT_LAST: u32 = 4;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run while no other thread of the machine wants to, `SCHED_IDLE`, and are interrupted by whoever does.
///
/// ◆ Niceness does not do it: since Linux 6.6 a thread that runs goes on to the end of its slice, mostly until the timer's next
/// tick, and a record waits for that at each of the five threads that it passes through. Who may not change how its threads are
/// scheduled has ordinary ones.
///
/// ◆ `SCHED_IDLE` does it among the threads of one control group (or session, with autogroups) only. To whoever is outside, the
/// kernel's own threads above all, which end our writes to disk and take packets in, the group counts as a whole, and not as
/// idle. They too interrupt a group at once if it has the longer slice, and that is the shortest of its threads that want to
/// run: hence [`SLICE`] for ours (since Linux 6.12 and 6.13).
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
    /// When a thread that gives way last took one.
    taken: Option<Instant>,
    closed: bool,
}

impl BackgroundPool {
    /// Each thread rests `rests` times as long as its job took before it takes one that already waits: who sends a flood has a
    /// small part of a processor, even where nobody else wants it.
    ///
    /// ◆ `SCHED_IDLE` alone does not keep it from being noticed: a thread that is owed time by the scheduler, however little, is
    /// given it at one go, while others wait (up to 23 ms were seen with three such threads on two processors).
    ///
    /// With `patience`, one more thread, which gives way but gets on, does what has waited for so long, if the others took nothing
    /// in that time, or for [`LATE_AT_LAST`] times as long. A queue is no reason while they get on: whoever fills it with what is
    /// dear to do would have a thread that others must share with.
    pub(crate) fn new(name: &str, threads: usize, rests: u32, patience: Option<Duration>) -> Self {
        let queue = Arc::new(Queue::default());
        for _ in 0..threads.max(1) {
            start(name, &queue, Duration::ZERO, rests, || {
                // Before the policy, with which it is not taken.
                ask_for_long_slices();
                // SAFETY: the kernel reads the parameter, which lives across the call; 0 is the calling thread.
                unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
            });
        }
        if let Some(patience) = patience {
            start(name, &queue, patience, rests, || {
                // Without an id, Linux takes the calling thread.
                let _ = rustix::process::setpriority_process(None, LATE_NICENESS);
                ask_for_long_slices();
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

    fn has_waiting(&self) -> bool {
        let jobs = self.lock();
        !jobs.closed && !jobs.waiting.is_empty()
    }

    /// The first job, once it is late by `patience`; `None` when there will be no more.
    fn next(&self, patience: Duration) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            jobs = match jobs.left(patience) {
                Some(Duration::ZERO) => {
                    if patience.is_zero() {
                        jobs.taken = Some(Instant::now());
                    }
                    return jobs.waiting.pop_front().map(|(_, job)| job);
                }
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

impl Jobs {
    /// How long until the first is late; `None` if there is none.
    fn left(&self, patience: Duration) -> Option<Duration> {
        let (since, _) = self.waiting.front()?;
        let idle = self.taken.map_or(*since, |taken| taken.max(*since)).elapsed();
        let left = patience.saturating_sub(idle);
        Some(left.min((patience * LATE_AT_LAST).saturating_sub(since.elapsed())))
    }
}

/// Lets whoever has shorter slices interrupt the calling thread. Older kernels take no notice.
pub(crate) fn ask_for_long_slices() {
    if let Some(mut attributes) = scheduling() {
        attributes.sched_runtime = u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: the kernel reads the attributes, which live across the call; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// How the calling thread is scheduled.
fn scheduling() -> Option<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `size` bytes to the attributes, which are as long; 0 is the calling thread.
    let asked = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    (asked == 0).then_some(attributes)
}

/// A thread that calls `first`, then takes jobs.
fn start(name: &str, queue: &Arc<Queue>, patience: Duration, rests: u32, first: fn()) {
    let queue = queue.clone();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        first();
        while let Some(job) = queue.next(patience) {
            let began = Instant::now();
            job();
            if rests > 0 && queue.has_waiting() {
                std::thread::sleep((began.elapsed() * rests).min(REST_MAX));
            }
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

    /// (policy, niceness, slice) of the thread that asks.
    fn scheduled() -> (u32, i32, u64) {
        let all = scheduling().unwrap();
        (all.sched_policy, all.sched_nice, all.sched_runtime)
    }

    const IDLE: u32 = libc::SCHED_IDLE.cast_unsigned();

    /// What [`SLICE`] is to the kernel: nothing, where it does not know ordinary threads with slices of their own.
    fn long_slice() -> u64 {
        if scheduled().2 == 0 { 0 } else { 100_000_000 }
    }

    #[tokio::test]
    async fn threads_of_a_background_pool_give_way_and_no_others() {
        let host = RealHost::new();
        let own = scheduled();
        for pool in [host.background_pool("low", 1), host.idle_pool("idle", 1)] {
            let (policy, _, slice) = pool.run(scheduled).await.unwrap();
            assert_eq!((policy, slice), (IDLE, long_slice()));
        }
        let patient = host.patient_pool("patient", 1).run(scheduled).await.unwrap();
        assert_eq!(patient, (own.0, own.1, long_slice()));
        assert_eq!(host.pool("plain", 1).run(scheduled).await.unwrap(), own);
        assert_eq!(scheduled(), own);
    }

    /// ◆ Nothing waits for ever because others want all the time that there is.
    #[tokio::test]
    async fn what_has_waited_for_long_is_done_by_a_thread_that_gets_on() {
        let patience = Duration::from_millis(50);
        let pool = BackgroundPool::new("low", 1, 0, Some(patience));
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
        threads.sort_by_key(|(policy, ..)| *policy == IDLE);
        let own = scheduled();
        assert_eq!(threads[0], (own.0, own.1.max(LATE_NICENESS), long_slice()));
        assert_eq!(threads[1].0, IDLE);
    }

    /// Those who wait behind others are not late by it; they are at last.
    #[test]
    fn a_queue_is_late_when_nothing_was_taken_for_long() {
        let patience = Duration::from_secs(10);
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let left = |waits: u64, taken: Option<u64>| {
            let waiting = VecDeque::from([(ago(waits), Box::new(|| ()) as Job)]);
            let taken = taken.map(ago);
            // To the second above: time goes on.
            let jobs = Jobs {
                waiting,
                taken,
                closed: false,
            };
            jobs.left(patience).unwrap().as_millis().div_ceil(1000)
        };
        assert_eq!(Jobs::default().left(patience), None);
        assert_eq!(left(4, None), 6);
        assert_eq!(left(12, None), 0);
        assert_eq!(left(12, Some(3)), 7);
        assert_eq!(left(12, Some(11)), 0);
        assert_eq!(left(4, Some(30)), 6);
        assert_eq!(left(35, Some(1)), 5);
        assert_eq!(left(40, Some(1)), 0);
    }

    #[tokio::test]
    async fn a_flood_leaves_time_to_others() {
        let (pool, took) = (BackgroundPool::new("low", 1, 3, None), Duration::from_millis(10));
        let began = Instant::now();
        let jobs = (0..4).map(|_| pool.run(move || std::thread::sleep(took)));
        futures::future::try_join_all(jobs).await.unwrap();
        assert!(began.elapsed() >= took * (4 + 3 * 3), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_pool_that_is_gone_has_done_its_jobs() {
        let pool = BackgroundPool::new("low", 2, 0, Some(Duration::from_secs(60)));
        let jobs: Vec<_> = (0..100).map(|job| pool.run(move || job)).collect();
        drop(pool);
        assert_eq!(
            futures::future::try_join_all(jobs).await.unwrap(),
            (0..100).collect::<Vec<_>>()
        );
    }
}
