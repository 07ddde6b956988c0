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
pub(crate) struct Outbox {
    waiting: RefCell<VecDeque<Call>>,
    wake: Notify,
    queue: mpsc::Sender<Call>,
}

impl Outbox {
    /// Must be called inside the shard's `LocalSet`.
    pub fn start(queue: mpsc::Sender<Call>) -> Rc<Self> {
        let outbox = Rc::new(Self {
            waiting: RefCell::default(),
            wake: Notify::new(),
            queue,
        });
        let pump = Rc::downgrade(&outbox);
        tokio::task::spawn_local(async move {
            while let Some(outbox) = pump.upgrade() {
                let next = outbox.waiting.borrow_mut().pop_front();
                match next {
                    // A shard that has ended drops the call, and with it the slot for its answer.
                    Some(call) => {
                        if outbox.queue.send(call).await.is_err() {
                            return;
                        }
                    }
                    None => outbox.wake.notified().await,
                }
            }
        });
        outbox
    }

    pub fn push(&self, call: Call) {
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
