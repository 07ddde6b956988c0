use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::limits;
use wire::ApiKey;

/// Memory of the node for what clients send and are sent, by class, so that none starves another.
///
/// A request draws its size before its body is read and gives it back when its answer is written. A full
/// budget keeps that connection from being read and nothing else.
#[derive(Debug)]
pub struct MemoryBudget {
    produce: Class,
    control: Class,
    fetch_max: usize,
    fetched: AtomicUsize,
}

#[derive(Debug)]
struct Class {
    max: usize,
    free: Arc<Semaphore>,
}

/// Memory that is drawn until this is dropped.
#[derive(Debug)]
pub struct Drawn(#[allow(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

/// Bytes of fetched records that are held until this is dropped.
#[derive(Debug)]
pub struct Fetched {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Class {
    fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize);
        Self {
            max,
            free: Arc::new(Semaphore::new(max)),
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
        }
    }

    /// Draws `size` bytes for a request, or the whole class if it has less than that. Waits its turn.
    pub fn draw(&self, api_key: i16, size: usize) -> impl Future<Output = Drawn> + 'static {
        let class = if api_key == ApiKey::Produce as i16 {
            &self.produce
        } else {
            &self.control
        };
        let bytes = u32::try_from(size.min(class.max)).unwrap_or(u32::MAX);
        let free = Arc::clone(&class.free);
        // The semaphore is never closed.
        async move { Drawn(free.acquire_many_owned(bytes).await.ok()) }
    }

    /// How much of `wanted` bytes one fetch may read now. Never 0: the first batch is returned in any case
    /// (KIP-74), so a full budget slows consumers and stops none.
    #[must_use]
    pub fn fetch_allowance(&self, wanted: usize) -> usize {
        let left = self.fetch_max.saturating_sub(self.fetched.load(Ordering::Relaxed));
        wanted.min(left).max(1)
    }

    /// Accounts for records that were read, until they are written to their client.
    #[must_use]
    pub fn hold_fetched(self: &Arc<Self>, bytes: usize) -> Fetched {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
        Fetched {
            budget: Arc::clone(self),
            bytes,
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
        assert!(
            budget.draw(ApiKey::Metadata as i16, 5_000).now_or_never().is_some(),
            "cut to the class"
        );
        drop(first);
        assert!(budget.draw(ApiKey::Produce as i16, 60).now_or_never().is_some());
    }

    #[test]
    fn fetches_get_less_as_memory_runs_out_but_never_nothing() {
        let budget = Arc::new(MemoryBudget::new(1, 1, 100));
        assert_eq!(budget.fetch_allowance(500), 100);
        let held = budget.hold_fetched(70);
        assert_eq!(budget.fetch_allowance(500), 30);
        let more = budget.hold_fetched(70);
        assert_eq!(budget.fetch_allowance(500), 1);
        drop((held, more));
        assert_eq!(budget.fetch_allowance(500), 100);
    }
}
