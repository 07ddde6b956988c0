use crate::shard::ShardRef;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};

/// Something for another shard to do. Its answer goes to a slot that the caller made first.
pub(crate) type Call = Box<dyn FnOnce(&ShardRef) + Send>;

/// Calls from one shard to another, in order.
///
/// ◆ A shard never waits on a queue: calls that find it full wait here, each with the connection that made it,
/// which is not read meanwhile. So this list is bounded by the connections and their pipelines, and two shards
/// that flood each other both go on.
pub(crate) struct Outbox<C = Call> {
    waiting: RefCell<VecDeque<C>>,
    wake: Notify,
    queue: mpsc::Sender<C>,
}

impl<C: 'static> Outbox<C> {
    /// Must be called inside the shard's `LocalSet`.
    pub fn start(queue: mpsc::Sender<C>) -> Rc<Self> {
        let outbox = Rc::new(Self {
            waiting: RefCell::default(),
            wake: Notify::new(),
            queue,
        });
        let pump = Rc::downgrade(&outbox);
        tokio::task::spawn_local(async move {
            while let Some(outbox) = pump.upgrade() {
                if outbox.waiting.borrow().is_empty() {
                    outbox.wake.notified().await;
                    continue;
                }
                // The place first, then the call: one that left the list before it has a place would be overtaken by
                // what is pushed meanwhile.
                let Ok(place) = outbox.queue.reserve().await else {
                    // A shard that has ended drops the calls, and with them the slots for their answers.
                    drop(std::mem::take(&mut *outbox.waiting.borrow_mut()));
                    return;
                };
                let next = outbox.waiting.borrow_mut().pop_front();
                if let Some(call) = next {
                    place.send(call);
                }
            }
        });
        outbox
    }

    pub fn push(&self, call: C) {
        if self.waiting.borrow().is_empty() {
            match self.queue.try_send(call) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(call)) => self.waiting.borrow_mut().push_back(call),
            }
        } else {
            self.waiting.borrow_mut().push_back(call);
        }
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::{LocalSet, yield_now};

    #[tokio::test]
    async fn what_is_pushed_while_the_pump_waits_for_a_place_does_not_overtake() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let (queue, mut shard) = mpsc::channel(2);
                let outbox = Outbox::start(queue);
                for call in 1..=3 {
                    outbox.push(call);
                }
                // The pump has seen the third and waits for a place.
                yield_now().await;
                let mut seen = vec![shard.try_recv().unwrap(), shard.try_recv().unwrap()];
                outbox.push(4);
                while seen.len() < 4 {
                    seen.push(shard.recv().await.unwrap());
                }
                assert_eq!(seen, [1, 2, 3, 4]);
            })
            .await;
    }

    #[tokio::test]
    async fn a_shard_that_has_ended_drops_what_waits_for_it() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let (queue, shard) = mpsc::channel(1);
                let outbox = Outbox::start(queue);
                let slots: Vec<_> = (0..3)
                    .map(|_| {
                        let (slot, answer) = tokio::sync::oneshot::channel::<()>();
                        outbox.push(slot);
                        answer
                    })
                    .collect();
                yield_now().await;
                drop(shard);
                for answer in slots {
                    assert!(answer.await.is_err());
                }
                let (slot, late) = tokio::sync::oneshot::channel::<()>();
                outbox.push(slot);
                assert!(late.await.is_err());
            })
            .await;
    }
}
