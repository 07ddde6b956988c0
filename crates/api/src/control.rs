//! What the handlers ask of the control plane.

use controller::ClusterStatus;
use futures::future::LocalBoxFuture;
use metadata::Image;
use metadata::plan::{AlterConfigs, AlterReassignments, CreatePartitions, ElectLeaders, PartitionOutcomes, PlanError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use types::{ErrorCode, NodeId, TopicId, limits};

/// The control plane of the node. Changes are forwarded to whoever leads the metadata log, and given up after `timeout`.
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
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<CreatedTopic>, ErrorCode>>;

    /// One answer per topic, in order.
    fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<DeletedTopic>, ErrorCode>>;

    /// One answer per topic, in order.
    fn create_partitions(&self, command: CreatePartitions, timeout: Duration) -> LocalBoxFuture<'static, Outcomes>;

    /// Elects leaders.
    fn elect_leaders(
        &self,
        command: ElectLeaders,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>>;

    /// Starts, changes and cancels reassignments.
    fn alter_reassignments(
        &self,
        command: AlterReassignments,
        timeout: Duration,
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

/// How long a request that says `timeout_ms` waits for the controller.
pub(crate) fn timeout(timeout_ms: i32) -> Duration {
    let asked = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    asked.clamp(limits::ADMIN_TIMEOUT_MIN, limits::ADMIN_TIMEOUT_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use crate::{alter_partition_reassignments, create_partitions, create_topics, delete_topics, elect_leaders};
    use wire::StrBytes;
    use wire::messages::create_partitions_request::CreatePartitionsTopic;
    use wire::messages::create_topics_request::CreatableTopic;
    use wire::messages::{
        AlterPartitionReassignmentsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
        ElectLeadersRequest,
    };

    #[test]
    fn changes_wait_for_the_controller_as_long_as_their_client_says() {
        let name = StrBytes::from_static_str("orders");
        let most = i32::try_from(limits::ADMIN_TIMEOUT_MAX.as_millis()).unwrap();
        for (timeout_ms, expected) in [
            (25_000, Duration::from_secs(25)),
            (0, limits::ADMIN_TIMEOUT_MIN),
            (-1, limits::ADMIN_TIMEOUT_MIN),
            (most + 1, limits::ADMIN_TIMEOUT_MAX),
        ] {
            let node = TestNode::new(cluster());
            let services = &node.services;
            let create = CreateTopicsRequest::default()
                .with_topics(vec![CreatableTopic::default().with_name(name.clone().into())])
                .with_timeout_ms(timeout_ms);
            let grow = CreatePartitionsRequest::default()
                .with_topics(vec![CreatePartitionsTopic::default().with_name(name.clone().into())])
                .with_timeout_ms(timeout_ms);
            let delete = DeleteTopicsRequest::default()
                .with_topic_names(vec![name.clone().into()])
                .with_timeout_ms(timeout_ms);
            let elect = ElectLeadersRequest::default().with_timeout_ms(timeout_ms);
            let reassign = AlterPartitionReassignmentsRequest::default().with_timeout_ms(timeout_ms);
            run(async {
                create_topics::answer(services, create, 7).await;
                create_partitions::answer(services, grow).await;
                delete_topics::answer(services, delete, 5).await;
                elect_leaders::answer(services, elect).await;
                alter_partition_reassignments::answer(services, reassign).await;
            });
            assert_eq!(*node.control.timeouts.borrow(), [expected; 5], "{timeout_ms} ms");
        }
    }
}
