use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any may read. With a second writer at the same time some of what they count would
/// be lost, and nothing else.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        // Not fetch_add, which would lock the bus for a second writer that does not exist.
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(more), Ordering::Relaxed);
    }

    /// For a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
