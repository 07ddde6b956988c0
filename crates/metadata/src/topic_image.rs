use std::collections::{BTreeMap, BTreeSet};
use types::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, ReplicaIncarnation, TopicId};

/// A topic and its partitions, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    pub id: TopicId,
    pub name: String,
    /// One of the coordinators' topics.
    pub internal: bool,
    /// Only what was set for this topic; see [`crate::topic_config`] for the rest.
    pub configs: BTreeMap<String, String>,
    pub partitions: Vec<std::sync::Arc<PartitionImage>>,
    /// Created with fewer replicas than `default.replication.factor`, because fewer brokers were registered.
    pub created_short: bool,
}

impl TopicImage {
    /// Replicas per partition, of one that is being reassigned those that it will have; 0 without partitions.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions
            .first()
            .map_or(0, |partition| partition.target_replicas().count())
    }
}

/// The state of a partition.
///
/// Invariants, checked when a record is applied: every list names replicas only and none twice, `isr` and
/// `elr` are disjoint, the leader is in the ISR.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionImage {
    /// In order of preference for leadership.
    pub replicas: Vec<NodeId>,
    /// The log directory of each replica, in the order of `replicas` (KIP-858).
    pub directories: Vec<DirectoryId>,
    /// Log index of the partition's creation. 0 in a record: filled in when that is applied.
    pub incarnation: ReplicaIncarnation,
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas: outside the ISR, but hold everything committed (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader, once ISR and ELR are empty (KIP-966).
    pub last_known_elr: Vec<NodeId>,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Replicas whose acknowledged data is known to be durable.
    pub strict: Vec<NodeId>,
    /// Replicas that a reassignment adds (KIP-455). None without one.
    pub adding_replicas: Vec<NodeId>,
    /// Replicas that it removes, once all others are in sync.
    pub removing_replicas: Vec<NodeId>,
}

impl PartitionImage {
    /// The directory of the replica on `node`.
    #[must_use]
    pub fn directory(&self, node: NodeId) -> Option<DirectoryId> {
        let at = self.replicas.iter().position(|replica| *replica == node)?;
        self.directories.get(at).copied()
    }

    /// Whether a reassignment is under way (KIP-455).
    #[must_use]
    pub fn is_reassigned(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// The replicas once the reassignment is complete.
    pub fn target_replicas(&self) -> impl Iterator<Item = NodeId> {
        let stays = |node: &NodeId| !self.removing_replicas.contains(node);
        self.replicas.iter().copied().filter(stays)
    }

    /// The replicas from before the reassignment.
    pub fn original_replicas(&self) -> impl Iterator<Item = NodeId> {
        let was_there = |node: &NodeId| !self.adding_replicas.contains(node);
        self.replicas.iter().copied().filter(was_there)
    }

    /// # Errors
    /// What is wrong, in a few words.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let replicas: BTreeSet<NodeId> = self.replicas.iter().copied().collect();
        let subset = |list: &[NodeId]| {
            let members: BTreeSet<NodeId> = list.iter().copied().collect();
            members.len() == list.len() && members.is_subset(&replicas)
        };
        let checks = [
            (
                replicas.is_empty() || replicas.len() != self.replicas.len(),
                "replicas are empty or repeated",
            ),
            (
                replicas.first().is_some_and(|node| node.0 < 0),
                "a replica's node id is negative",
            ),
            (
                self.directories.len() != self.replicas.len(),
                "not one directory per replica",
            ),
            (!subset(&self.isr), "the ISR is not a set of replicas"),
            (!subset(&self.elr), "the ELR is not a set of replicas"),
            (
                !subset(&self.last_known_elr),
                "the last known ELR is not a set of replicas",
            ),
            (!subset(&self.strict), "the strict replicas are not a set of replicas"),
            (
                !subset(&self.adding_replicas) || !subset(&self.removing_replicas),
                "adding or removing replicas are not a set of replicas",
            ),
            (
                self.adding_replicas
                    .iter()
                    .any(|node| self.removing_replicas.contains(node)),
                "a replica is both added and removed",
            ),
            (
                self.elr.iter().any(|node| self.isr.contains(node)),
                "ISR and ELR overlap",
            ),
            (
                self.leader.is_some_and(|leader| !self.isr.contains(&leader)),
                "the leader is not in the ISR",
            ),
            (
                self.leader_epoch.0 < 0 || self.partition_epoch.0 < 0,
                "an epoch is negative",
            ),
        ];
        checks
            .into_iter()
            .find(|(wrong, _)| *wrong)
            .map_or(Ok(()), |(_, why)| Err(why))
    }
}

/// Whether coordinators keep their state in the topic of this name (Kafka's `Topic.isInternal`).
#[must_use]
pub fn is_internal(topic_name: &str) -> bool {
    matches!(
        topic_name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}
