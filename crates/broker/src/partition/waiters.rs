use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Which fetch waits: the shard that runs it, and its number there.
pub(crate) type PollId = (u16, u64);

/// Waiting fetches before those that have ended are looked for.
const SWEEP_MIN: usize = 32;

/// Long polls that wait for a partition. Each is in it once, however often it looks without being woken, and those
/// that have ended are thrown out each time the number has doubled: what is kept is bounded by the fetches that live.
#[derive(Default)]
pub(super) struct Waiters {
    polls: BTreeMap<PollId, Weak<Notify>>,
    sweep_at: usize,
}

impl Waiters {
    pub fn add(&mut self, poll: PollId, waiter: &Arc<Notify>) {
        if self.polls.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.polls.retain(|_, waiter| waiter.strong_count() > 0);
            self.sweep_at = self.polls.len() * 2;
        }
        self.polls.entry(poll).or_insert_with(|| Arc::downgrade(waiter));
    }

    pub fn wake(&mut self) {
        for waiter in std::mem::take(&mut self.polls).into_values() {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_looks_often_waits_once() {
        let (mut waiters, poll) = (Waiters::default(), Arc::new(Notify::new()));
        for _ in 0..1_000 {
            waiters.add((0, 1), &poll);
        }
        assert_eq!(waiters.polls.len(), 1);
    }

    #[test]
    fn polls_that_ended_do_not_pile_up() {
        let mut waiters = Waiters::default();
        let living: Vec<_> = (0..100).map(|_| Arc::new(Notify::new())).collect();
        for (number, poll) in (0..).zip(&living) {
            waiters.add((0, number), poll);
        }
        for number in 100..100_000 {
            waiters.add((1, number), &Arc::new(Notify::new()));
            assert!(waiters.polls.len() <= 2 * living.len() + SWEEP_MIN);
        }
        waiters.wake();
        assert!(waiters.polls.is_empty());
    }

    #[tokio::test]
    async fn each_is_woken() {
        let mut waiters = Waiters::default();
        let polls = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        waiters.add((0, 1), &polls[0]);
        waiters.add((1, 1), &polls[1]);
        waiters.wake();
        polls[0].notified().await;
        polls[1].notified().await;
    }
}
