use std::collections::{BTreeMap, BTreeSet};
use types::Monotonic;

/// What a coordinator waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The end of a member's session, or, as it was known when this was set, some time before it.
    Session { group_id: String, member_id: String },
    /// A member that was given an id does not come back with it.
    PendingMember { group_id: String, member_id: String },
    /// The end of a rebalance's first half.
    Join { group_id: String },
    /// The end of its second half.
    Sync { group_id: String },
    /// Time to look for offsets that nobody needs.
    Expiry,
}

/// When each timer is due. One timer of a kind has one time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<Timer, Monotonic>,
    order: BTreeSet<(Monotonic, Timer)>,
}

impl Timers {
    /// Sets a timer, in place of what it was set to.
    pub(crate) fn set(&mut self, timer: Timer, at: Monotonic) {
        self.cancel(&timer);
        self.due.insert(timer.clone(), at);
        self.order.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.due.remove(timer) {
            self.order.remove(&(at, timer.clone()));
        }
    }

    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.due.contains_key(timer)
    }

    pub(crate) fn next(&self) -> Option<Monotonic> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The earliest timer that is due, which is then no longer set.
    pub(crate) fn pop(&mut self, now: Monotonic) -> Option<Timer> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }
}
