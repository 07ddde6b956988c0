//! What a simulator looks at between two of its steps. Nothing is called, sent or woken for it, so that the run stays as
//! it is. Only with the feature `inspect`, which no build of the server has.

use crate::partition::Role;
use crate::shard::{Shard, ShardRef};
use metadata::Image;
use replica::LogBounds;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use types::{BrokerEpoch, LeaderEpoch, NodeId, TopicPartition};

thread_local! {
    /// Shards of all simulated nodes of this thread.
    static SHARDS: RefCell<Vec<(NodeId, Weak<Shard>)>> = const { RefCell::new(Vec::new()) };
}

/// A replica as it stands.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaState {
    pub node_id: NodeId,
    /// The registration that it acts under.
    pub broker_epoch: Option<BrokerEpoch>,
    pub tp: TopicPartition,
    pub leads: bool,
    pub follows: bool,
    pub leader_epoch: LeaderEpoch,
    pub bounds: LogBounds,
    /// Its log is with a pool: files may be changing.
    pub away: bool,
}

pub(crate) fn register(node_id: NodeId, shard: &Rc<Shard>) {
    SHARDS.with_borrow_mut(|shards| {
        shards.retain(|(_, shard)| shard.strong_count() > 0);
        shards.push((node_id, Rc::downgrade(shard)));
    });
}

/// The node has crashed: what it leaves behind is nothing.
pub fn forget(node_id: NodeId) {
    SHARDS.with_borrow_mut(|shards| shards.retain(|(node, _)| *node != node_id));
}

/// All of this thread's nodes are gone.
pub fn forget_all() {
    SHARDS.with_borrow_mut(Vec::clear);
}

/// Nodes that vote on the metadata, as whoever leads it has it; `None` while nobody does, or voters change.
#[cfg(feature = "controller")]
#[must_use]
pub fn voters() -> Option<usize> {
    let shards = alive().into_iter();
    let groups = shards.filter_map(|(_, shard)| shard.broker().control().raft());
    let led = groups.filter(|group| group.leader == Some(group.id));
    let newest = led.max_by_key(|group| group.term)?;
    newest.settled.then_some(newest.voters.len())
}

fn alive() -> Vec<(NodeId, ShardRef)> {
    SHARDS.with_borrow(|shards| {
        let alive = |(node, shard): &(NodeId, Weak<Shard>)| Some((*node, ShardRef::of(shard.upgrade()?)));
        shards.iter().filter_map(alive).collect()
    })
}

/// Shows every shard's node with the newest image that it has, and each of its replicas that something was done with since the
/// last look, or that is wanted.
pub fn look(
    mut shard_seen: impl FnMut(NodeId, &Arc<Image>),
    wanted: impl Fn(TopicPartition) -> bool,
    mut replica_seen: impl FnMut(&ReplicaState, &Arc<Image>),
) {
    for (node_id, shard) in alive() {
        let image = shard.broker().image();
        shard_seen(node_id, &image);
        shard.show_each(|tp, partition| {
            if !partition.take_unseen() && !wanted(tp) {
                return;
            }
            let Ok(partition) = partition.try_borrow() else {
                return;
            };
            let state = ReplicaState {
                node_id,
                broker_epoch: shard.broker_epoch(),
                tp,
                leads: matches!(partition.role, Role::Leader(_)),
                follows: matches!(partition.role, Role::Follower { .. }),
                leader_epoch: partition.leader_epoch(),
                bounds: partition.bounds(),
                away: partition.is_away(),
            };
            replica_seen(&state, &image);
        });
    }
}
