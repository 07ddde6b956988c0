//! What the handlers ask of the control plane.

use controller::ClusterStatus;
use futures::future::LocalBoxFuture;
use metadata::Image;
use metadata::plan::{AlterConfigs, AlterReassignments, CreatePartitions, ElectLeaders, PartitionOutcomes, PlanError};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{ErrorCode, NodeId, TopicId};

/// The control plane of the node. Changes are forwarded to whoever leads the metadata log.
pub trait Control {
    /// The newest image.
    fn image(&self) -> Arc<Image>;

    /// Resolves once there is a newer image than at the time of this call.
    fn image_changed(&self) -> LocalBoxFuture<'static, ()>;

    /// One answer per topic, in order.
    fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> LocalBoxFuture<'static, Result<Vec<CreatedTopic>, ErrorCode>>;

    /// One answer per topic, in order.
    fn delete_topics(&self, topics: Vec<TopicRef>) -> LocalBoxFuture<'static, Result<Vec<DeletedTopic>, ErrorCode>>;

    /// One answer per topic, in order.
    fn create_partitions(&self, command: CreatePartitions) -> LocalBoxFuture<'static, Outcomes>;

    /// Elects leaders.
    fn elect_leaders(&self, command: ElectLeaders) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>>;

    /// Starts, changes and cancels reassignments.
    fn alter_reassignments(
        &self,
        command: AlterReassignments,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>>;

    /// One answer per resource, in order.
    fn alter_configs(&self, command: AlterConfigs) -> LocalBoxFuture<'static, Outcomes>;

    /// The cluster as its controller sees it, or as this node does where there is none.
    fn cluster_status(&self) -> LocalBoxFuture<'static, ClusterStatus>;

    /// Removes a broker's registration.
    fn unregister_broker(&self, node: NodeId) -> LocalBoxFuture<'static, Result<(), ErrorCode>>;

    /// A block of producer ids: the first, and how many.
    fn allocate_producer_ids(&self) -> LocalBoxFuture<'static, Result<(i64, i32), ErrorCode>>;
}

/// What became of each part of a command, or why there is no answer at all.
pub type Outcomes = Result<Vec<Result<(), PlanError>>, ErrorCode>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// −1: the broker's default.
    pub partitions: i32,
    /// −1: the broker's default.
    pub replication_factor: i16,
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    pub configs: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub error: ErrorCode,
    pub message: Option<String>,
    pub partitions: i32,
    pub replication_factor: i16,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
