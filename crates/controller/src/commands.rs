pub use metadata::plan::{
    AlterConfigs, AlterConfigsResource, AlterReassignments, ConfigChange, ConfigResource, CreatePartitions,
    ElectLeaders, MorePartitions, PartitionOutcomes, PlanError,
};
use std::collections::BTreeMap;
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, TopicId, TopicPartition};

/// Kafka's CreateTopics, for the broker's side of it: names are checked by the planner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    /// Plan and answer, write nothing.
    pub validate_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// −1: `num.partitions`.
    pub partitions: i32,
    /// −1: `default.replication.factor`, at most the number of registered brokers (KIP-464).
    pub replication_factor: i16,
    /// Replicas by partition, chosen by the client; then `partitions` and `replication_factor` are −1.
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    pub configs: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub name: String,
    pub id: TopicId,
    /// [`ErrorCode::None`] where the topic was created.
    pub error: ErrorCode,
    pub message: Option<String>,
    pub partitions: i32,
    pub replication_factor: i16,
}

/// A topic to delete, by name or by id (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    Name(String),
    Id(TopicId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<String>,
    pub id: TopicId,
    pub error: ErrorCode,
}

/// A leader's proposal for the ISR (KIP-497), each member with the epoch of its broker (KIP-903).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    pub tp: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

/// What the partition's record says after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<NodeId>,
}

/// A replica of this broker whose log is durable up to its end, or (with `strict` false) is about to
/// acknowledge before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkStrict {
    pub tp: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub strict: bool,
}
