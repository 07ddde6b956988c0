use crate::shard::ShardRef;
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::watch;
use types::{LeaderEpoch, Offset, TopicPartition};

/// What other floors keep on a shard beside its partitions: the surface its fetch sessions, coordinators their groups. They
/// live as long as the shard.
pub(crate) struct Tenants {
    kept: RefCell<Vec<Rc<dyn Any>>>,
    /// Counts the times that roles may have changed.
    roles: watch::Sender<u64>,
}

impl Default for Tenants {
    fn default() -> Self {
        Self {
            kept: RefCell::default(),
            roles: watch::Sender::new(0),
        }
    }
}

impl Tenants {
    pub(crate) fn roles_changed(&self) {
        self.roles.send_modify(|times| *times += 1);
    }

    fn leave(&self) {
        let kept = std::mem::take(&mut *self.kept.borrow_mut());
        drop(kept);
    }
}

/// Ends what is kept on a shard with the shard, whether that has stopped or its thread is gone in the middle of something (a
/// simulated crash): tenants hold their shard, and both would stay for ever.
pub(crate) struct Tenancy(ShardRef);

impl Tenancy {
    pub(crate) fn of(shard: &ShardRef) -> Self {
        Self(shard.clone())
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.0.tenants().leave();
    }
}

/// A replica on this shard that leads its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    pub epoch: LeaderEpoch,
    /// End of the log. What is below it now may not be committed yet.
    pub log_end: Offset,
}

impl ShardRef {
    /// What of this type is kept on the shard, made at first use.
    pub fn keep<T: 'static>(&self, make: impl FnOnce() -> Rc<T>) -> Rc<T> {
        if let Some(kept) = self.kept() {
            return kept;
        }
        let made = make();
        self.tenants().kept.borrow_mut().push(made.clone());
        made
    }

    /// What of this type is kept on the shard.
    #[must_use]
    pub fn kept<T: 'static>(&self) -> Option<Rc<T>> {
        let kept = self.tenants().kept.borrow();
        kept.iter().find_map(|one| one.clone().downcast().ok())
    }

    /// Changes whenever the shard has looked at a newer image: its replicas may have other roles, topics may be gone.
    #[must_use]
    pub fn roles(&self) -> watch::Receiver<u64> {
        self.tenants().roles.subscribe()
    }

    /// Has whoever watches [`ShardRef::roles`] look again.
    pub fn look_at_roles(&self) {
        self.tenants().roles_changed();
    }

    /// How many shards the node has; a partition belongs to the shard that [`TopicPartition::shard`] says.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.shards()
    }

    /// Whether the replica on this shard leads, and by what its followers said of late no other node can have acknowledged a
    /// write in a later leader epoch: what it answers from memory is the newest, but for an election that does not wait for a
    /// session to end (ADR 10). One that leads since a moment ago is not sure before a follower has said so.
    #[must_use]
    pub fn leads_surely(&self, tp: TopicPartition) -> bool {
        let (now, timings) = (self.links().host.now(), self.timings());
        // Whoever takes it for dead waits for the end of its session.
        let session = timings.broker_session.saturating_sub(timings.broker_heartbeat);
        let silence = timings.stream_silence.min(session);
        self.partition(tp)
            .is_some_and(|partition| partition.borrow().leads_surely(now, silence))
    }

    /// Of the replica on this shard, if it leads.
    #[must_use]
    pub fn leadership(&self, tp: TopicPartition) -> Option<Leadership> {
        self.partition(tp)?.borrow().leadership()
    }
}
