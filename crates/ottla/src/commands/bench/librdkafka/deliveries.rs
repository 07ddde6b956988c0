use crate::commands::bench::load::Tally;
use crate::commands::bench::progress::Progress;
use rdkafka::ClientContext;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// For a wake-up that was missed: none is known to be.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a producer handed over and what it was told of that.
///
/// A record's opaque is when it was due, in nanoseconds since `began`: nothing is kept for a record in flight.
pub(super) struct Deliveries {
    began: Instant,
    value_bytes: u64,
    tally: Mutex<Tally>,
    progress: Progress,
    /// Records without a report yet.
    held: AtomicU64,
    held_max: u64,
    /// Whether the sender waits for room.
    waiting: AtomicBool,
    sender: OnceLock<Thread>,
    after_each: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Deliveries {
    /// `held_max`: records that [`Self::wait_for_room`] lets a sender have in flight and in the producer's queue.
    pub fn new(began: Instant, value_bytes: u64, held_max: u64, tally: Tally, progress: Progress) -> Self {
        Self {
            began,
            value_bytes,
            tally: Mutex::new(tally),
            progress,
            held: AtomicU64::new(0),
            held_max,
            waiting: AtomicBool::new(false),
            sender: OnceLock::new(),
            after_each: OnceLock::new(),
        }
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn held(&self) -> u64 {
        self.held.load(SeqCst)
    }

    /// The opaque of a record that is handed over now; it counts as held.
    pub fn hold(&self, due: Instant) -> usize {
        self.held.fetch_add(1, SeqCst);
        usize::try_from((due - self.began).as_nanos()).unwrap_or(usize::MAX)
    }

    pub fn release(&self) {
        let held = self.held.fetch_sub(1, SeqCst) - 1;
        // A quarter at once: to wake a thread for each record would be dearer than the record.
        let room = (self.held_max / 4).max(1);
        if held <= self.held_max - room
            && self.waiting.load(SeqCst)
            && self.waiting.swap(false, SeqCst)
            && let Some(sender) = self.sender.get()
        {
            sender.unpark();
        }
    }

    /// Parks the one thread that sends while `held_max` are held, at most `until`.
    pub fn wait_for_room(&self, until: Instant) {
        if self.held() < self.held_max {
            return;
        }
        self.sender.get_or_init(std::thread::current);
        while Instant::now() < until {
            self.waiting.store(true, SeqCst);
            if self.held() < self.held_max {
                return;
            }
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Runs `next` after each report, on the thread that polls.
    pub fn after_each(&self, next: Box<dyn Fn() + Send + Sync>) {
        let _ = self.after_each.set(next);
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, due: usize) {
        let now = Instant::now();
        match report {
            Ok(_) => {
                let due = self.began + Duration::from_nanos(due as u64);
                self.tally().acknowledge(due, now, 1, self.value_bytes);
                self.progress.add(1, self.value_bytes);
            }
            Err((error, _)) => self.tally().fail(error.to_string()),
        }
        self.release();
        if let Some(next) = self.after_each.get() {
            next();
        }
    }
}
