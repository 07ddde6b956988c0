//! Planners: pure functions from an image and a command to records and a response. What is random or takes
//! time comes in as an argument. All records of a plan go into one entry of the log, proposed on the index of
//! the image that they were planned on.

mod allocate_producer_ids;
mod alter_configs;
mod alter_partitions;
mod alter_reassignments;
mod balance_leaders;
mod brokers;
mod controlled_shutdown;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod draft;
mod drain;
mod elect_leaders;
mod expel_damaged;
mod fence;
mod heartbeat;
mod manual_assignment;
mod mark_strict;
mod members;
mod new_partition;
mod offline_directories;
mod placement;
mod reassignment;
mod register_broker;
mod resign_leaders;
mod rules;
mod set_cluster;
mod settle_replicas;
mod topic_name;
mod unregister;

use crate::Record;
pub use allocate_producer_ids::{PRODUCER_IDS_PER_BLOCK, ProducerIds, allocate_producer_ids};
pub use alter_configs::{
    AlterConfigs, AlterConfigsResource, AlteredConfigs, ConfigChange, ConfigResource, alter_configs,
};
pub use alter_partitions::{AlterPartition, AlterPartitions, AlteredPartition, alter_partitions};
pub use alter_reassignments::{AlterReassignments, ReassignedPartition, alter_reassignments};
pub use balance_leaders::balance_leaders;
pub use controlled_shutdown::controlled_shutdown;
pub use create_partitions::{CreatePartitions, MorePartitions, create_partitions};
pub use create_topics::{CreateTopics, CreatedTopic, NewTopic, create_topics};
pub use delete_topics::{DeletedTopic, TopicRef, delete_topics};
pub use drain::{Drained, drain};
pub use elect_leaders::{ElectLeaders, elect_leaders};
pub use expel_damaged::{ExpelDamaged, expel_damaged};
pub use fence::fence;
pub use heartbeat::{Heartbeat, HeartbeatAnswer, heartbeat};
pub use mark_strict::{MarkStrict, MarkStrictPartition, mark_strict};
pub use members::{JoinMember, join_member, remove_member, withhold_vote};
pub use offline_directories::{OfflineDirectories, offline_directories};
pub use register_broker::{RegisterBroker, register_broker};
pub use resign_leaders::{ResignLeaders, resign_leaders};
pub use set_cluster::{SetCluster, set_cluster};
pub use settle_replicas::settle_replicas;
use types::ErrorCode;
pub use unregister::unregister;

/// What a command does and what its sender is told once that is committed. Without records there is nothing
/// to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<T> {
    pub records: Vec<Record>,
    pub response: T,
}

/// Why a command was refused: Kafka's error and its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct PlanError {
    pub code: ErrorCode,
    pub message: String,
}

impl PlanError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What became of each partition that a command named: by topic, in the order of the command.
pub type PartitionOutcomes = Vec<(String, Vec<(i32, Result<(), PlanError>)>)>;
