//! OffsetCommit (key 8).

use crate::Services;
use group::{CommitOffsets, CommitPartition, PartitionErrors};
use metadata::TopicImage;
use std::sync::Arc;
use types::{ErrorCode, limits};
use wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// First version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;

/// The coordinator is asked about the partitions that there are, and not at all if there are none.
pub(crate) async fn answer(services: &Services, request: OffsetCommitRequest, version: i16) -> OffsetCommitResponse {
    let Checked { asked, refusals } = check(services, &request, version);
    let codes = if asked.is_empty() {
        Vec::new()
    } else {
        let commit = CommitOffsets {
            group_id: request.group_id.to_string(),
            generation_id: request.generation_id_or_member_epoch,
            member_id: request.member_id.to_string(),
            group_instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
            retention_time_ms: request.retention_time_ms,
            topics: asked,
        };
        let committing = commit.topics.iter().map(|(_, partitions)| partitions.len()).sum();
        codes(services.groups.commit(commit).await, committing)
    };
    let mut codes = codes.into_iter();
    let mut refusals = refusals.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .zip(refusals.by_ref())
            .map(|(partition, refusal)| {
                let error = refusal.unwrap_or_else(|| codes.next().unwrap_or(ErrorCode::UnknownServerError));
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error.code())
            });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// A request's partitions, looked at.
pub(crate) struct Checked<P> {
    /// What the coordinator is asked about.
    pub(crate) asked: Vec<(String, Vec<P>)>,
    /// For each partition of the request, in order, why it is not.
    pub(crate) refusals: Vec<Option<ErrorCode>>,
}

fn check(services: &Services, request: &OffsetCommitRequest, version: i16) -> Checked<CommitPartition> {
    let named = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if named > limits::REQUEST_PARTITIONS_MAX {
        return Checked {
            asked: Vec::new(),
            refusals: vec![Some(ErrorCode::InvalidRequest); named],
        };
    }
    let image = services.image();
    let find = |topic: &OffsetCommitRequestTopic| {
        if version >= TOPIC_IDS {
            image
                .topic_by_id(types::TopicId(topic.topic_id))
                .ok_or(ErrorCode::UnknownTopicId)
        } else {
            image.topic(&topic.name.0).ok_or(ErrorCode::UnknownTopicOrPartition)
        }
    };
    let mut asked = Vec::new();
    let mut refusals = Vec::with_capacity(named);
    for topic in &request.topics {
        let found = find(topic);
        let refusal = |partition: &OffsetCommitRequestPartition| refusal(found, partition.partition_index);
        let before = refusals.len();
        refusals.extend(topic.partitions.iter().map(refusal));
        let there = topic
            .partitions
            .iter()
            .zip(&refusals[before..])
            .filter(|(_, refusal)| refusal.is_none());
        let partitions: Vec<CommitPartition> = there.map(|(partition, _)| commit_partition(partition)).collect();
        if let Ok(found) = found
            && !partitions.is_empty()
        {
            asked.push((found.name.clone(), partitions));
        }
    }
    Checked { asked, refusals }
}

/// Why a coordinator is not asked about this partition.
pub(crate) fn refusal(topic: Result<&Arc<TopicImage>, ErrorCode>, partition: i32) -> Option<ErrorCode> {
    let there =
        |topic: &Arc<TopicImage>| usize::try_from(partition).is_ok_and(|number| number < topic.partitions.len());
    match topic {
        Ok(topic) if there(topic) => None,
        Ok(_) => Some(ErrorCode::UnknownTopicOrPartition),
        Err(code) => Some(code),
    }
}

/// What a coordinator said of each of the `asked` partitions, in order.
fn codes(answer: Result<PartitionErrors, ErrorCode>, asked: usize) -> Vec<ErrorCode> {
    match answer {
        Ok(topics) => topics
            .into_iter()
            .flat_map(|(_, partitions)| partitions)
            .map(|(_, code)| code)
            .collect(),
        Err(code) => vec![code; asked],
    }
}

fn commit_partition(partition: &OffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition
            .committed_metadata
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;

    fn topic(name: &'static str, id: u128, partitions: &[i32]) -> OffsetCommitRequestTopic {
        let partition = |number: &i32| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*number)
                .with_committed_offset(i64::from(*number) + 100)
        };
        OffsetCommitRequestTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_topic_id(topic_id(id).0)
            .with_partitions(partitions.iter().map(partition).collect())
    }

    fn told(response: &OffsetCommitResponse) -> Vec<(&str, i32, i16)> {
        let topics = response.topics.iter();
        topics
            .flat_map(|t| {
                t.partitions
                    .iter()
                    .map(|p| (t.name.as_str(), p.partition_index, p.error_code))
            })
            .collect()
    }

    #[test]
    fn what_is_not_there_is_answered_without_the_coordinator_and_in_order() {
        let node = TestNode::new(cluster());
        node.groups.third.set(Some(ErrorCode::OffsetMetadataTooLarge));
        let request = OffsetCommitRequest::default().with_topics(vec![
            topic("none", 0, &[0]),
            topic("orders", 0, &[1, 7, 0, -1]),
            topic("payments", 0, &[2]),
        ]);
        let response = run(answer(&node.services, request, 8));
        assert_eq!(
            told(&response),
            [
                ("none", 0, 3),
                ("orders", 1, 0),
                ("orders", 7, 3),
                ("orders", 0, 0),
                ("orders", -1, 3),
                ("payments", 2, 12)
            ]
        );
        let commits = node.groups.commits.borrow();
        let asked: Vec<_> = commits[0]
            .topics
            .iter()
            .map(|(name, of)| (name.as_str(), of.len(), of[0].offset))
            .collect();
        assert_eq!(asked, [("orders", 2, 101), ("payments", 1, 102)]);
        assert_eq!(commits[0].group_id, "", "the empty group may commit");
    }

    #[test]
    fn an_error_of_the_group_is_that_of_each_partition_asked_about() {
        let node = TestNode::new(cluster());
        node.groups.error.set(Some(ErrorCode::IllegalGeneration));
        let request = OffsetCommitRequest::default().with_topics(vec![topic("orders", 0, &[0, 9, 1])]);
        let response = run(answer(&node.services, request, 8));
        assert_eq!(
            told(&response),
            [("orders", 0, 22), ("orders", 9, 3), ("orders", 1, 22)]
        );
    }

    #[test]
    fn nothing_to_commit_is_nothing_to_ask() {
        let node = TestNode::new(cluster());
        let request = OffsetCommitRequest::default().with_topics(vec![topic("none", 0, &[0])]);
        assert_eq!(told(&run(answer(&node.services, request, 8))), [("none", 0, 3)]);
        let numbers: Vec<i32> = (0..=i32::try_from(limits::REQUEST_PARTITIONS_MAX).unwrap()).collect();
        let request = OffsetCommitRequest::default().with_topics(vec![topic("orders", 0, &numbers)]);
        let response = run(answer(&node.services, request, 8));
        assert!(told(&response).iter().all(|(.., code)| *code == 42));
        assert!(node.groups.commits.borrow().is_empty());
    }

    #[test]
    fn version_10_goes_by_id() {
        let node = TestNode::new(cluster());
        let request = OffsetCommitRequest::default().with_topics(vec![topic("", 1, &[0]), topic("orders", 99, &[0])]);
        let response = run(answer(&node.services, request, 10));
        assert_eq!(response.topics[0].topic_id, topic_id(1).0);
        assert_eq!(told(&response), [("", 0, 0), ("orders", 0, 100)]);
        assert_eq!(node.groups.commits.borrow()[0].topics[0].0, "orders");
    }
}
