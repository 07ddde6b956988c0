use std::collections::BTreeMap;
use types::{Broken, BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, broken};

/// What an acknowledgement stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// On disk (`flush.messages=1`): the durable position counts.
    Strict,
    /// In memory: the log end counts.
    Relaxed,
}

impl Durability {
    /// Which of a replica's positions counts as acknowledged.
    pub(crate) fn acked(self, durable: Offset, log_end: Offset) -> Offset {
        match self {
            Self::Strict if !broken(Broken::AckBeforeFlush) => durable,
            _ => log_end,
        }
    }
}

/// What the newest metadata image says of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub replicas: Vec<NodeId>,
    /// The committed ISR.
    pub isr: Vec<NodeId>,
    pub elr: Vec<NodeId>,
    /// Effective: the lesser of `min.insync.replicas` and the replication factor.
    pub min_isr: usize,
    pub durability: Durability,
    /// Of the replicas that are registered: broker epoch, and whether it is fenced.
    pub brokers: BTreeMap<NodeId, (BrokerEpoch, bool)>,
}

impl PartitionView {
    /// The broker epoch of `node` if it is registered and not fenced.
    #[must_use]
    pub fn unfenced(&self, node: NodeId) -> Option<BrokerEpoch> {
        self.brokers
            .get(&node)
            .filter(|(_, fenced)| !fenced)
            .map(|(epoch, _)| *epoch)
    }
}
