use crate::{BrokerRegistration, Member, PartitionImage};
use std::collections::BTreeMap;
use types::{BrokerEpoch, NodeId, RaftId, TopicId, TopicPartition};

/// One change of the metadata. A command's records are one entry of the log and take effect together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Cluster {
        cluster_id: String,
    },
    MetadataVersion {
        version: u16,
    },
    /// A new member, or a member's new endpoint. Raises the next Raft id above it.
    Member(Box<Member>),
    MemberRemoved {
        raft_id: RaftId,
    },
    /// Only raises; ids are never reused.
    NextRaftId {
        next: u64,
    },
    /// A registration, replacing an earlier one of the same node id.
    Broker(Box<BrokerRegistration>),
    /// The flags of the registration with exactly this epoch.
    BrokerChange {
        node_id: NodeId,
        broker_epoch: BrokerEpoch,
        fenced: bool,
        shutting_down: bool,
        silent: bool,
    },
    BrokerRemoved {
        node_id: NodeId,
    },
    /// A new topic, its partitions follow.
    Topic {
        id: TopicId,
        name: String,
        internal: bool,
        configs: BTreeMap<String, String>,
        created_short: bool,
    },
    /// A new partition, or the whole state of one after a change.
    Partition {
        tp: TopicPartition,
        partition: Box<PartitionImage>,
    },
    TopicRemoved {
        id: TopicId,
    },
    /// `None` removes the setting.
    TopicConfig {
        id: TopicId,
        name: String,
        value: Option<String>,
    },
    /// Without a node id: the default of all brokers.
    BrokerConfig {
        node_id: Option<NodeId>,
        name: String,
        value: Option<String>,
    },
    /// An operator empties the node, or does not want that any more.
    NodeDrained {
        node_id: NodeId,
        drained: bool,
    },
    /// A topic that was created short is no longer.
    TopicRaised {
        id: TopicId,
    },
    /// Only raises.
    NextProducerId {
        next: i64,
    },
}
