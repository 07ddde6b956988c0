use crate::directory::{Directory, lock};
use crate::flush::{FlushJob, FlushStrategy, Flushed};
use host::Pool;
use std::io;
use std::sync::{Arc, Mutex};

/// A flush did not happen: the log directory is offline for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the flush failed; the log directory is offline")]
pub struct FlushFailed;

/// Called on the flusher's thread with a job's result.
pub type FlushDone = Box<dyn FnOnce(Result<Flushed, FlushFailed>) + Send>;

/// Group commit for one log directory: one round is in flight; whatever arrives meanwhile rides on the next.
#[derive(Clone)]
pub struct Flusher {
    inner: Arc<Inner>,
}

struct Inner {
    dir: Arc<Directory>,
    pool: Arc<dyn Pool>,
    strategy: Mutex<Box<dyn FlushStrategy>>,
    queue: Mutex<Queue>,
}

/// At most one job per log, since a log has no second one out: bounded by the number of logs.
#[derive(Default)]
struct Queue {
    waiting: Vec<(FlushJob, FlushDone)>,
    round_in_flight: bool,
}

impl Flusher {
    pub(crate) fn new(dir: Arc<Directory>, pool: Arc<dyn Pool>, strategy: Box<dyn FlushStrategy>) -> Self {
        Self {
            inner: Arc::new(Inner {
                dir,
                pool,
                strategy: Mutex::new(strategy),
                queue: Mutex::default(),
            }),
        }
    }

    /// Hands in a job; `done` is called once, on the flusher's thread, after the round that covers it.
    pub fn submit(&self, job: FlushJob, done: FlushDone) {
        let mut queue = lock(&self.inner.queue);
        queue.waiting.push((job, done));
        if !queue.round_in_flight {
            queue.round_in_flight = true;
            drop(queue);
            Inner::start_round(&self.inner);
        }
    }
}

impl Inner {
    fn start_round(inner: &Arc<Self>) {
        let this = inner.clone();
        inner.pool.submit(Box::new(move || {
            let (jobs, done): (Vec<_>, Vec<_>) = std::mem::take(&mut lock(&this.queue).waiting).into_iter().unzip();
            let results = this.flush(jobs, done.len());
            for (index, done) in done.into_iter().enumerate() {
                done(results.as_ref().map_or(Err(FlushFailed), |results| Ok(results[index])));
            }
            let mut queue = lock(&this.queue);
            queue.round_in_flight = !queue.waiting.is_empty();
            let again = queue.round_in_flight;
            drop(queue);
            if again {
                Self::start_round(&this);
            }
        }));
    }

    fn flush(&self, jobs: Vec<FlushJob>, count: usize) -> Option<Vec<Flushed>> {
        if self.dir.is_offline() {
            return None;
        }
        let started = self.dir.host.now();
        let flushed = lock(&self.strategy).flush(jobs);
        self.dir.flush_time.observe(self.dir.host.now().since(started));
        let flushed = flushed.and_then(|flushed| {
            if flushed.len() == count {
                Ok(flushed)
            } else {
                Err(io::Error::other("a flush lost jobs"))
            }
        });
        match flushed {
            // Somebody else may have failed to write meanwhile.
            Ok(flushed) => (!self.dir.is_offline()).then_some(flushed),
            Err(error) => {
                self.dir.fail("flush", &error);
                None
            }
        }
    }
}
