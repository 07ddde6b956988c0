//! AlterPartitionReassignments (key 45, KIP-455).

use crate::{Services, control};
use metadata::plan::{AlterReassignments, PlanError, ReassignedPartition};
use types::{ErrorCode, NodeId, limits};
use wire::StrBytes;
use wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use wire::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};

pub(crate) async fn answer(
    services: &Services,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allowed = request.allow_replication_factor_change;
    let response = AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(allowed)
        .with_error_message(None);
    let named: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if named > limits::REQUEST_PARTITIONS_MAX {
        return response.with_error_code(ErrorCode::InvalidRequest.code());
    }
    let command = AlterReassignments {
        allow_factor_change: allowed,
        topics: request.topics.iter().map(reassigned).collect(),
    };
    let timeout = control::timeout(request.timeout_ms);
    let outcomes = match services.control.alter_reassignments(command, timeout).await {
        Ok(outcomes) => outcomes,
        Err(code) => return response.with_error_code(code.code()),
    };
    let partition = |(number, outcome): (i32, Result<(), PlanError>)| {
        let (code, message) = outcome
            .err()
            .map_or((ErrorCode::None, String::new()), |error| (error.code, error.message));
        ReassignablePartitionResponse::default()
            .with_partition_index(number)
            .with_error_code(code.code())
            .with_error_message((!message.is_empty()).then(|| StrBytes::from(message)))
    };
    let topic = |(name, partitions): (String, Vec<_>)| {
        ReassignableTopicResponse::default()
            .with_name(StrBytes::from(name).into())
            .with_partitions(partitions.into_iter().map(partition).collect())
    };
    response.with_responses(outcomes.into_iter().map(topic).collect())
}

fn reassigned(topic: &ReassignableTopic) -> (String, Vec<ReassignedPartition>) {
    let partition = |asked: &ReassignablePartition| ReassignedPartition {
        partition: asked.partition_index,
        replicas: asked
            .replicas
            .as_ref()
            .map(|replicas| replicas.iter().map(|id| NodeId(id.0)).collect()),
    };
    (
        topic.name.0.to_string(),
        topic.partitions.iter().map(partition).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};

    fn request() -> AlterPartitionReassignmentsRequest {
        let moved = ReassignablePartition::default()
            .with_partition_index(1)
            .with_replicas(Some(vec![3.into(), 1.into()]));
        let cancelled = ReassignablePartition::default().with_replicas(None);
        let topic = ReassignableTopic::default()
            .with_name(StrBytes::from_static_str("orders").into())
            .with_partitions(vec![moved, cancelled]);
        AlterPartitionReassignmentsRequest::default()
            .with_allow_replication_factor_change(false)
            .with_topics(vec![topic])
    }

    #[test]
    fn replicas_and_cancellations_are_forwarded_and_each_partition_is_answered() {
        let node = TestNode::new(cluster());
        let refused = PlanError {
            code: ErrorCode::NoReassignmentInProgress,
            message: String::new(),
        };
        node.control.outcomes.borrow_mut().extend([Ok(()), Err(refused)]);
        let response = run(answer(&node.services, request()));
        assert!(response.error_code == 0 && !response.allow_replication_factor_change);
        let told: Vec<_> = response.responses[0]
            .partitions
            .iter()
            .map(|p| (p.partition_index, p.error_code, p.error_message.as_deref()))
            .collect();
        assert_eq!(told, [(1, 0, None), (0, 85, None)]);
        let moved = ReassignedPartition {
            partition: 1,
            replicas: Some(vec![NodeId(3), NodeId(1)]),
        };
        let command = AlterReassignments {
            allow_factor_change: false,
            topics: vec![("orders".into(), vec![moved, ReassignedPartition::default()])],
        };
        assert_eq!(*node.control.reassignments.borrow(), [command]);
    }

    #[test]
    fn what_fails_as_a_whole_is_said_once() {
        let node = TestNode::new(cluster());
        node.control.error.set(Some(ErrorCode::RequestTimedOut));
        let response = run(answer(&node.services, request()));
        assert!(response.error_code == 7 && response.responses.is_empty() && response.error_message.is_none());
    }
}
