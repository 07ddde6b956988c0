use std::cell::Cell;
use std::rc::Rc;

/// Memory that the coordinators of one shard share. What is drawn is never refused, since a log must be read in any case;
/// whoever would take more on asks first.
#[derive(Debug, Clone)]
pub struct Memory {
    used: Rc<Cell<usize>>,
    limit: usize,
}

impl Memory {
    /// `limit` in bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            used: Rc::default(),
            limit,
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.get()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used.get() >= self.limit
    }

    /// What is drawn goes from `before` to `after`.
    pub(crate) fn move_to(&self, before: usize, after: usize) {
        self.used.set((self.used.get() + after).saturating_sub(before));
    }
}
