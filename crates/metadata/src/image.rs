mod apply;
mod snapshot;

use crate::topic_config;
use crate::{BrokerRegistration, Member, PartitionImage, TopicImage};
pub use apply::ApplyError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{BrokerEpoch, LogIndex, NodeId, RaftId, TopicId, TopicPartition};

/// The metadata after the entry at [`Image::index`]. A clone shares everything that did not change:
/// whoever wants the difference between two images compares `Arc`s by pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Index of the last entry that held records.
    pub index: LogIndex,
    pub cluster_id: Option<String>,
    /// Finalized `metadata.version`; 0 before the cluster is founded.
    pub metadata_version: u16,
    pub brokers: BTreeMap<NodeId, Arc<BrokerRegistration>>,
    /// Nodes that an operator empties: they get no new replica and lead what others cannot.
    pub drained: BTreeSet<NodeId>,
    pub topics: BTreeMap<TopicId, Arc<TopicImage>>,
    pub names: BTreeMap<String, TopicId>,
    /// Dynamic broker configs; `None` is the default of all brokers.
    pub broker_configs: BTreeMap<Option<NodeId>, BTreeMap<String, String>>,
    pub next_producer_id: i64,
    pub next_raft_id: u64,
    pub members: BTreeMap<RaftId, Arc<Member>>,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            index: LogIndex(0),
            cluster_id: None,
            metadata_version: 0,
            brokers: BTreeMap::new(),
            drained: BTreeSet::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            broker_configs: BTreeMap::new(),
            next_producer_id: 0,
            next_raft_id: 1,
            members: BTreeMap::new(),
        }
    }
}

impl Image {
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(name)?)
    }

    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    #[must_use]
    pub fn partition(&self, tp: TopicPartition) -> Option<&Arc<PartitionImage>> {
        self.topics
            .get(&tp.topic)?
            .partitions
            .get(usize::try_from(tp.partition).ok()?)
    }

    /// Every partition, in the order of topic id and number.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Arc<TopicImage>, &Arc<PartitionImage>)> {
        self.topics.values().flat_map(|topic| {
            (0i32..).zip(&topic.partitions).map(move |(number, partition)| {
                (
                    TopicPartition {
                        topic: topic.id,
                        partition: number,
                    },
                    topic,
                    partition,
                )
            })
        })
    }

    #[must_use]
    pub fn broker(&self, node: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&node)
    }

    /// Whether the broker is registered and not fenced.
    #[must_use]
    pub fn alive(&self, node: NodeId) -> bool {
        self.brokers.get(&node).is_some_and(|broker| !broker.fenced)
    }

    /// Whether the broker may lead and join an ISR: alive, and not in controlled shutdown (KIP-841).
    #[must_use]
    pub fn may_lead(&self, node: NodeId) -> bool {
        self.brokers.get(&node).is_some_and(|broker| broker.may_lead())
    }

    /// Whether the log directory of this replica is one that its broker serves, as far as is known. A replica without a
    /// directory of record is wherever the broker put it.
    #[must_use]
    pub fn replica_is_online(&self, partition: &PartitionImage, node: NodeId) -> bool {
        let directory = partition.directory(node).unwrap_or_default();
        let serves = |broker: &Arc<BrokerRegistration>| {
            let mut usable = broker.directories.iter().filter(|report| report.is_usable());
            directory.is_zero() || usable.any(|report| report.id == directory)
        };
        self.brokers.get(&node).is_some_and(serves)
    }

    /// The member that is `node` now: the newest, should an older one of the same node not be removed yet.
    #[must_use]
    pub fn member_of(&self, node: NodeId) -> Option<&Arc<Member>> {
        self.members.values().rev().find(|member| member.node_id == node)
    }

    /// The registered ones among the partition's replicas: broker epoch, and whether it is fenced.
    #[must_use]
    pub fn replica_brokers(&self, partition: &PartitionImage) -> BTreeMap<NodeId, (BrokerEpoch, bool)> {
        let registered = |node: &NodeId| {
            self.brokers
                .get(node)
                .map(|broker| (*node, (broker.broker_epoch, broker.fenced)))
        };
        partition.replicas.iter().filter_map(registered).collect()
    }

    /// The lesser of `min.insync.replicas` and the partition's replication factor, at least 1. A reassignment changes the
    /// factor when it is complete: what it adds asks for nothing before.
    #[must_use]
    pub fn effective_min_isr(&self, topic: &TopicImage, partition: &PartitionImage) -> usize {
        let wanted = self
            .topic_config(topic, "min.insync.replicas")
            .parse()
            .unwrap_or(1usize);
        wanted.min(partition.original_replicas().count()).max(1)
    }

    /// Whether an acks=all acknowledgement of this topic waits for the disk: `flush.messages=1`.
    #[must_use]
    pub fn is_strict(&self, topic: &TopicImage) -> bool {
        self.topic_config(topic, "flush.messages") == "1"
    }

    /// The effective value: the topic's own, the brokers' default under the synonym, or the default. Empty
    /// for a name that is no topic config.
    #[must_use]
    pub fn topic_config(&self, topic: &TopicImage, name: &str) -> String {
        topic_config::effective(self, Some(topic), name)
            .unwrap_or_default()
            .to_owned()
    }
}
