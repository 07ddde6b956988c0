//! DescribeQuorum (key 55), KIP-595, KIP-836 and KIP-853: the Raft group that keeps the metadata, in the words of
//! Kafka's `__cluster_metadata`.

use crate::Services;
use controller::{ClusterStatus, NodeStatus, RaftRole};
use metadata::Image;
use types::{ErrorCode, NodeId, limits};
use wire::StrBytes;
use wire::messages::TopicName;
use wire::messages::describe_quorum_request::DescribeQuorumRequest;
use wire::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};

/// The one log with a quorum.
const METADATA: &str = "__cluster_metadata";
/// Name of the listener, as Kafka's tools show it.
const CONTROLLER: &str = "CONTROLLER";
/// Kafka's words.
const UNKNOWN_PARTITION: &str = "This server does not host this topic-partition.";
/// A time or an offset that is not known.
const UNKNOWN: i64 = -1;

pub(crate) async fn answer(services: &Services, request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let asked: usize = request.topics.iter().map(|topic| topic.partitions.len().max(1)).sum();
    if asked > limits::ADMIN_RESOURCES_MAX {
        return DescribeQuorumResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let known = |topic: &TopicName, partition: i32| topic.0.as_str() == METADATA && partition == 0;
    let wanted = request.topics.iter().any(|topic| {
        topic
            .partitions
            .iter()
            .any(|of| known(&topic.topic_name, of.partition_index))
    });
    let status = if wanted {
        services.control.cluster_status().await
    } else {
        ClusterStatus::default()
    };
    let image = services.image();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|of| {
            if known(&topic.topic_name, of.partition_index) {
                quorum(&status, &image, services.host.wall_ms())
            } else {
                refused(
                    of.partition_index,
                    ErrorCode::UnknownTopicOrPartition,
                    UNKNOWN_PARTITION,
                )
            }
        });
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default()
        .with_error_message(Some(StrBytes::default()))
        .with_topics(topics.collect())
        .with_nodes(status.nodes.iter().filter(|node| node.votes()).map(listener).collect())
}

fn refused(index: i32, error: ErrorCode, message: &'static str) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}

fn quorum(status: &ClusterStatus, image: &Image, now_ms: i64) -> PartitionData {
    let Some(leader) = status.leader else {
        return refused(0, ErrorCode::NotLeaderOrFollower, "The metadata has no leader now.");
    };
    let member = |node: &NodeStatus| replica(node, status, image, now_ms);
    let (voters, observers): (Vec<_>, Vec<_>) = status
        .nodes
        .iter()
        .filter(|node| node.raft_role != RaftRole::None)
        .partition(|node| node.votes());
    PartitionData::default()
        .with_error_message(Some(StrBytes::default()))
        .with_leader_id(leader.0.into())
        .with_leader_epoch(i32::try_from(status.term).unwrap_or(i32::MAX))
        .with_high_watermark(offset(status.committed.0))
        .with_current_voters(voters.into_iter().map(member).collect())
        .with_observers(observers.into_iter().map(member).collect())
}

/// Kafka counts the next offset, Raft the last index.
fn offset(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)
}

fn replica(node: &NodeStatus, status: &ClusterStatus, image: &Image, now_ms: i64) -> ReplicaState {
    let leads = status.leader == Some(node.node_id);
    let seen = match node.last_seen_ms {
        _ if leads => now_ms,
        Some(ago) => now_ms.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)),
        None => UNKNOWN,
    };
    // When a member that lags was level last is not kept.
    let level = leads || node.matched.is_some_and(|matched| matched >= status.committed);
    ReplicaState::default()
        .with_replica_id(node.node_id.0.into())
        .with_replica_directory_id(directory(image, node.node_id))
        .with_log_end_offset(node.matched.map_or(UNKNOWN, |matched| offset(matched.0)))
        .with_last_fetch_timestamp(seen)
        .with_last_caught_up_timestamp(if level { seen } else { UNKNOWN })
}

fn directory(image: &Image, node: NodeId) -> uuid::Uuid {
    image
        .member_of(node)
        .map(|member| member.directory.0)
        .unwrap_or_default()
}

fn listener(node: &NodeStatus) -> Node {
    let at = Listener::default()
        .with_name(StrBytes::from_static_str(CONTROLLER))
        .with_host(node.control.host.clone().into())
        .with_port(node.control.port);
    Node::default()
        .with_node_id(node.node_id.0.into())
        .with_listeners(vec![at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use types::LogIndex;
    use wire::messages::describe_quorum_request;

    fn node(id: i32, role: RaftRole, matched: u64) -> NodeStatus {
        NodeStatus {
            node_id: NodeId(id),
            raft_role: role,
            matched: Some(LogIndex(matched)),
            last_seen_ms: Some(100),
            ..NodeStatus::default()
        }
    }

    fn ask(status: ClusterStatus, topic: &'static str, partition: i32) -> DescribeQuorumResponse {
        let node = TestNode::new(cluster());
        node.control.status.replace(status);
        let partition = describe_quorum_request::PartitionData::default().with_partition_index(partition);
        let topic = describe_quorum_request::TopicData::default()
            .with_topic_name(TopicName(StrBytes::from_static_str(topic)))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        run(answer(&node.services, &request))
    }

    #[test]
    fn voters_and_observers_with_their_lag() {
        let status = ClusterStatus {
            leader: Some(NodeId(1)),
            term: 7,
            committed: LogIndex(41),
            nodes: vec![
                node(1, RaftRole::Leader, 41),
                node(2, RaftRole::Voter, 40),
                node(3, RaftRole::Learner, 41),
                node(4, RaftRole::None, 0),
            ],
            ..ClusterStatus::default()
        };
        let response = ask(status, METADATA, 0);
        let found = &response.topics[0].partitions[0];
        assert_eq!(
            (
                found.error_code,
                found.leader_id.0,
                found.leader_epoch,
                found.high_watermark
            ),
            (0, 1, 7, 42)
        );
        let shown = |replicas: &[ReplicaState]| -> Vec<(i32, i64, bool)> {
            replicas
                .iter()
                .map(|of| (of.replica_id.0, of.log_end_offset, of.last_caught_up_timestamp >= 0))
                .collect()
        };
        assert_eq!(shown(&found.current_voters), [(1, 42, true), (2, 41, false)]);
        assert_eq!(shown(&found.observers), [(3, 42, true)]);
        assert_eq!(response.nodes.len(), 2);
    }

    #[test]
    fn anything_else_has_no_quorum() {
        for (topic, partition, code) in [
            (METADATA, 0, ErrorCode::NotLeaderOrFollower),
            (METADATA, 1, ErrorCode::UnknownTopicOrPartition),
            ("t", 0, ErrorCode::UnknownTopicOrPartition),
        ] {
            let response = ask(ClusterStatus::default(), topic, partition);
            assert_eq!(
                response.topics[0].partitions[0].error_code,
                code.code(),
                "{topic}-{partition}"
            );
        }
    }
}
