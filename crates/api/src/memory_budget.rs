use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits;
use wire::ApiKey;

/// Memory of the node for what clients send and are sent, by class, so that none starves another.
///
/// A request draws for each part of its body before that is read, never for what was only announced, and gives all back
/// when its answer is written, a Fetch when it is decoded, since it may wait for long. A full budget keeps that connection
/// from being read and nothing else.
#[derive(Debug)]
pub struct MemoryBudget {
    produce: Class,
    control: Class,
    fetch_max: usize,
    fetched: AtomicUsize,
    unsent: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Class {
    max: usize,
    free: Arc<Semaphore>,
    /// One place: see [`Drawn::grow`].
    overdraft: Arc<Semaphore>,
}

/// Memory of one request; given back when this is dropped.
#[derive(Debug)]
pub struct Drawn {
    class: Class,
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Drawn {
    /// Draws until this holds `bytes`, or the whole class if that has less. Waits its turn.
    ///
    /// ◆ Bodies that are half here and wait for memory, each for what another holds, would wait for ever: one of them at
    /// a time goes on without. So a class takes at most one frame more than its limit.
    pub async fn grow(mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.class.max);
        let lacking = u32::try_from(bytes.saturating_sub(self.bytes)).unwrap_or(u32::MAX);
        if lacking == 0 || self.overdraft.is_some() {
            return self;
        }
        let holds = self.permit.is_some();
        let (free, overdraft) = (Arc::clone(&self.class.free), Arc::clone(&self.class.overdraft));
        // The semaphores are never closed.
        tokio::select! {
            biased;
            Ok(more) = free.acquire_many_owned(lacking) => match &mut self.permit {
                Some(permit) => permit.merge(more),
                None => self.permit = Some(more),
            },
            Ok(turn) = overdraft.acquire_owned(), if holds => self.overdraft = Some(turn),
            else => {}
        }
        self.bytes = bytes;
        self
    }
}

/// Memory of an answer that its client does not take; given back when this is dropped.
#[derive(Debug)]
pub struct Unsent(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Memory of one fetch's records: taken before each round of reading, cut to what the round read, and given back
/// when this is dropped, once the answer is written.
#[derive(Debug)]
pub struct Fetched {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Fetched {
    /// Takes memory for a round that would read `wanted` bytes, in place of what the last round holds, and answers
    /// how many it may read. Never 0: the first batch is returned in any case (KIP-74), so a full budget slows
    /// consumers and stops none.
    pub fn reserve(&mut self, wanted: usize) -> usize {
        let (own, max) = (self.bytes, self.budget.fetch_max);
        let granted = |total: usize| wanted.min(max.saturating_sub(total - own)).max(1);
        let before = self
            .budget
            .fetched
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
                Some(total - own + granted(total))
            });
        self.bytes = granted(before.unwrap_or(own));
        self.bytes
    }

    /// Holds what was read, in place of what was reserved.
    pub fn keep(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.fetched.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.fetched.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Class {
    fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize);
        Self {
            max,
            free: Arc::new(Semaphore::new(max)),
            overdraft: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(
            limits::PRODUCE_MEMORY_BYTES,
            limits::CONTROL_MEMORY_BYTES,
            limits::FETCH_MEMORY_BYTES,
        )
    }
}

impl MemoryBudget {
    #[must_use]
    pub fn new(produce: usize, control: usize, fetch: usize) -> Self {
        Self {
            produce: Class::new(produce),
            control: Class::new(control),
            fetch_max: fetch,
            fetched: AtomicUsize::new(0),
            unsent: Arc::new(Semaphore::new(limits::UNSENT_MEMORY_BYTES)),
        }
    }

    /// Class, bytes in use and limit of each class.
    #[must_use]
    pub fn used(&self) -> [(&'static str, usize, usize); 4] {
        let of = |free: &Semaphore, max: usize| max.saturating_sub(free.available_permits());
        let (produce, control) = (&self.produce, &self.control);
        [
            ("produce", of(&produce.free, produce.max), produce.max),
            ("control", of(&control.free, control.max), control.max),
            ("fetch", self.fetched.load(Ordering::Relaxed), self.fetch_max),
            (
                "unsent",
                of(&self.unsent, limits::UNSENT_MEMORY_BYTES),
                limits::UNSENT_MEMORY_BYTES,
            ),
        ]
    }

    /// Memory for an answer that its client does not take at once; `None` if there is no more.
    #[must_use]
    pub fn unsent(&self, bytes: usize) -> Option<Unsent> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.unsent).try_acquire_many_owned(bytes).ok().map(Unsent)
    }

    /// Memory for a request, of which nothing is drawn yet.
    #[must_use]
    pub fn request(&self, api_key: i16) -> Drawn {
        let class = if api_key == ApiKey::Produce as i16 {
            &self.produce
        } else {
            &self.control
        };
        Drawn {
            class: class.clone(),
            bytes: 0,
            permit: None,
            overdraft: None,
        }
    }

    /// Draws `size` bytes for a request, or the whole class if it has less than that. Waits its turn.
    pub fn draw(&self, api_key: i16, size: usize) -> impl Future<Output = Drawn> + 'static {
        self.request(api_key).grow(size)
    }

    /// Memory for one fetch, of which nothing is taken yet.
    #[must_use]
    pub fn fetch(self: &Arc<Self>) -> Fetched {
        Fetched {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.budget.fetched.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_full_class_makes_only_its_own_wait() {
        let budget = MemoryBudget::new(100, 50, 100);
        let first = budget.draw(ApiKey::Produce as i16, 60).now_or_never().unwrap();
        assert!(budget.draw(ApiKey::Produce as i16, 60).now_or_never().is_none());
        assert_eq!(budget.used()[0], ("produce", 60, 100));
        assert!(
            budget.draw(ApiKey::Metadata as i16, 5_000).now_or_never().is_some(),
            "cut to the class"
        );
        drop(first);
        assert!(budget.draw(ApiKey::Produce as i16, 60).now_or_never().is_some());
    }

    /// Two that hold half each and want the rest: one goes on, and the other when that is done.
    #[test]
    fn bodies_that_are_half_here_do_not_wait_for_each_other() {
        let budget = MemoryBudget::new(100, 1, 1);
        let produce = ApiKey::Produce as i16;
        let half = |budget: &MemoryBudget| budget.draw(produce, 50).now_or_never().unwrap();
        let (first, second) = (half(&budget), half(&budget));
        let first = first.grow(80).now_or_never().expect("it goes on");
        let first = first.grow(100).now_or_never().expect("to its end");
        let mut second = std::pin::pin!(second.grow(80));
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        assert!(budget.draw(produce, 1).now_or_never().is_none(), "and nobody new");
        drop(first);
        let second = second.now_or_never().expect("its turn");
        drop(second);
        assert!(budget.draw(produce, 100).now_or_never().is_some(), "all came back");
    }

    #[test]
    fn answers_that_nobody_reads_have_a_limit() {
        let budget = MemoryBudget::new(1, 1, 1);
        let most = budget.unsent(limits::UNSENT_MEMORY_BYTES).unwrap();
        assert!(budget.unsent(1).is_none());
        drop(most);
        assert!(budget.unsent(1).is_some());
    }

    #[test]
    fn fetches_get_less_as_memory_runs_out_but_never_nothing() {
        let budget = Arc::new(MemoryBudget::new(1, 1, 100));
        let (mut first, mut second) = (budget.fetch(), budget.fetch());
        assert_eq!(first.reserve(70), 70);
        assert_eq!(second.reserve(500), 30, "what is being read counts");
        first.keep(10);
        assert_eq!(second.reserve(500), 90, "what was not read does not");
        assert_eq!(first.reserve(500), 10);
        first.keep(150);
        assert_eq!(second.reserve(500), 1);
        second.keep(0);
        drop(first);
        assert_eq!(second.reserve(500), 100);
        drop(second);
        assert_eq!(budget.fetched.load(Ordering::Relaxed), 0);
    }
}
