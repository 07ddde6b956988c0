//! OffsetFetch (key 9).

use crate::Services;
use futures::StreamExt;
use group::{FetchOffsets, FetchedOffset};
use metadata::Image;
use std::collections::BTreeSet;
use types::{ErrorCode, TopicId, limits};
use uuid::Uuid;
use wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};

/// First version with an error of the whole answer.
const GROUP_ERROR: i16 = 2;
/// First version with several groups (KIP-709).
const GROUPS: i16 = 8;
/// First version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;

/// One answer for each group, in order. A group that is named again is refused: a name is short, and its offsets are not.
pub(crate) async fn answer(services: &Services, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let stable = request.require_stable;
    let groups = if version < GROUPS {
        vec![only_group(request)]
    } else {
        request.groups
    };
    let partitions = |group: &OffsetFetchRequestGroup| {
        let topics = group.topics.iter().flatten();
        topics.map(|topic| topic.partition_indexes.len()).sum::<usize>()
    };
    let too_many = groups.iter().map(partitions).sum::<usize>() > limits::REQUEST_PARTITIONS_MAX;
    let mut named = BTreeSet::new();
    let again: Vec<bool> = groups
        .iter()
        .map(|group| !named.insert(group.group_id.as_str()))
        .collect();
    let calls = groups.iter().zip(again).map(|(group, again)| async move {
        if too_many || again {
            return failed(group, version, ErrorCode::InvalidRequest);
        }
        match one(services, group, version, stable).await {
            Ok(topics) => OffsetFetchResponseGroup::default()
                .with_group_id(group.group_id.clone())
                .with_topics(topics),
            Err(code) => failed(group, version, code),
        }
    });
    let answers = futures::stream::iter(calls).buffered(limits::GROUP_CALLS_MAX);
    OffsetFetchResponse::default().with_groups(answers.collect().await)
}

/// The group of a version that can name one only.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        named.collect()
    });
    OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_topics(topics)
}

async fn one(
    services: &Services,
    group: &OffsetFetchRequestGroup,
    version: i16,
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let by_id = version >= TOPIC_IDS;
    let mut unknown = Vec::new();
    let mut asked = |image: &Image, topic: &OffsetFetchRequestTopics| {
        let name = if by_id {
            image
                .topic_by_id(TopicId(topic.topic_id))
                .map(|found| found.name.clone())
        } else {
            Some(topic.name.to_string())
        };
        if name.is_none() {
            unknown.push(without_offsets(topic, ErrorCode::UnknownTopicId));
        }
        Some((name?, topic.partition_indexes.clone()))
    };
    let topics = {
        let image = services.image();
        let named = group.topics.as_ref();
        named.map(|topics| topics.iter().filter_map(|topic| asked(&image, topic)).collect())
    };
    let fetch = FetchOffsets {
        group_id: group.group_id.to_string(),
        member_id: group.member_id.as_ref().map(ToString::to_string),
        member_epoch: group.member_epoch,
        topics,
        require_stable,
    };
    let fetched = services.groups.fetch(fetch).await?;
    let image = services.image();
    let found = fetched.into_iter().filter_map(|(name, offsets)| {
        // A topic that has no id any more has no name in this version.
        let id = match image.topic(&name) {
            Some(topic) => topic.id.0,
            None if by_id => return None,
            None => Uuid::nil(),
        };
        let topic = OffsetFetchResponseTopics::default()
            .with_name(wire::StrBytes::from(name).into())
            .with_topic_id(id);
        Some(topic.with_partitions(offsets.into_iter().map(partition).collect()))
    });
    Ok(found.chain(unknown).collect())
}

fn partition(fetched: FetchedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(fetched.partition)
        .with_committed_offset(fetched.offset)
        .with_committed_leader_epoch(fetched.leader_epoch)
        .with_metadata(Some(fetched.metadata.into()))
        .with_error_code(fetched.error.code())
}

fn without_offsets(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let none = |number: &i32| FetchedOffset {
        partition: *number,
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
        error,
    };
    OffsetFetchResponseTopics::default()
        .with_name(topic.name.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(topic.partition_indexes.iter().map(none).map(partition).collect())
}

/// Before version 2 every partition has the error.
fn failed(group: &OffsetFetchRequestGroup, version: i16, code: ErrorCode) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
    if version >= GROUP_ERROR {
        return answer.with_error_code(code.code());
    }
    let topics = group.topics.iter().flatten();
    answer.with_topics(topics.map(|topic| without_offsets(topic, code)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;
    use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;

    fn topic(name: &'static str, id: u128, partitions: &[i32]) -> OffsetFetchRequestTopics {
        OffsetFetchRequestTopics::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_topic_id(topic_id(id).0)
            .with_partition_indexes(partitions.to_vec())
    }

    fn group(id: &'static str, topics: Option<Vec<OffsetFetchRequestTopics>>) -> OffsetFetchRequestGroup {
        OffsetFetchRequestGroup::default()
            .with_group_id(StrBytes::from_static_str(id).into())
            .with_topics(topics)
    }

    fn told(group: &OffsetFetchResponseGroup) -> Vec<(&str, i32, i64, i16)> {
        let topics = group.topics.iter();
        topics
            .flat_map(|t| {
                let line = |p: &OffsetFetchResponsePartitions| {
                    (t.name.as_str(), p.partition_index, p.committed_offset, p.error_code)
                };
                t.partitions.iter().map(line).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn an_old_version_names_its_only_group() {
        let node = TestNode::new(cluster());
        let topic = |name: &'static str| {
            OffsetFetchRequestTopic::default()
                .with_name(StrBytes::from_static_str(name).into())
                .with_partition_indexes(vec![3, 4])
        };
        let request = || {
            OffsetFetchRequest::default()
                .with_group_id(StrBytes::from_static_str("g").into())
                .with_topics(Some(vec![topic("orders"), topic("none")]))
        };
        let response = run(answer(&node.services, request(), 7));
        assert_eq!(
            told(&response.groups[0]),
            [
                ("orders", 3, 30, 0),
                ("orders", 4, 40, 0),
                ("none", 3, 30, 0),
                ("none", 4, 40, 0)
            ],
            "committed offsets of a topic that is gone are told"
        );
        node.groups.error.set(Some(ErrorCode::NotCoordinator));
        let failed = run(answer(&node.services, request(), 2)).groups.remove(0);
        assert_eq!((failed.error_code, failed.topics.len()), (16, 0));
        let oldest = run(answer(&node.services, request(), 1)).groups.remove(0);
        let expected = [
            ("orders", 3, -1, 16),
            ("orders", 4, -1, 16),
            ("none", 3, -1, 16),
            ("none", 4, -1, 16),
        ];
        assert_eq!((oldest.error_code, told(&oldest)), (0, expected.to_vec()));
    }

    #[test]
    fn several_groups_are_answered_in_order_and_each_once() {
        let node = TestNode::new(cluster());
        let request = OffsetFetchRequest::default()
            .with_require_stable(true)
            .with_groups(vec![
                group("a", None),
                group("", Some(vec![topic("orders", 0, &[1])])),
                group("a", None),
            ]);
        let response = run(answer(&node.services, request, 9));
        let outline: Vec<_> = response
            .groups
            .iter()
            .map(|g| (g.group_id.as_str(), g.error_code, g.topics.len()))
            .collect();
        assert_eq!(outline, [("a", 0, 2), ("", 0, 1), ("a", 42, 0)]);
        let fetches = node.groups.fetches.borrow();
        assert!(fetches.len() == 2 && fetches.iter().all(|fetch| fetch.require_stable));
    }

    #[test]
    fn version_10_goes_by_id() {
        let node = TestNode::new(cluster());
        let request = OffsetFetchRequest::default().with_groups(vec![
            group("a", Some(vec![topic("", 99, &[5]), topic("", 1, &[1])])),
            group("b", None),
        ]);
        let response = run(answer(&node.services, request, 10));
        let ids = |g: &OffsetFetchResponseGroup| g.topics.iter().map(|t| t.topic_id).collect::<Vec<_>>();
        assert_eq!(told(&response.groups[0]), [("orders", 1, 10, 0), ("", 5, -1, 100)]);
        assert_eq!(ids(&response.groups[0]), [topic_id(1).0, topic_id(99).0]);
        assert_eq!(
            ids(&response.groups[1]),
            [topic_id(1).0],
            "what has no id any more has no name here"
        );
    }

    #[test]
    fn too_many_partitions_are_refused_whole() {
        let node = TestNode::new(cluster());
        let many: Vec<i32> = (0..=i32::try_from(limits::REQUEST_PARTITIONS_MAX).unwrap()).collect();
        let request = OffsetFetchRequest::default().with_groups(vec![
            group("a", None),
            group("b", Some(vec![topic("orders", 0, &many)])),
        ]);
        let response = run(answer(&node.services, request, 9));
        assert!(response.groups.iter().all(|group| group.error_code == 42));
        assert!(node.groups.fetches.borrow().is_empty());
    }
}
