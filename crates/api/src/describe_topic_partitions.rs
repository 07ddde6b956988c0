//! DescribeTopicPartitions (key 75), KIP-966: Metadata by pages.

use crate::partition_state::{ids, offline, reachable_leader};
use crate::{operations, topic_name};
use metadata::{Image, PartitionImage, TopicImage, is_internal};
use std::collections::BTreeSet;
use types::ErrorCode;
use wire::StrBytes;
use wire::messages::describe_topic_partitions_request::{self, DescribeTopicPartitionsRequest};
use wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

/// Topics by name from the cursor on, up to the lesser of both limits in partitions. A cursor at a negative
/// partition is refused, each topic that was named with INVALID_REQUEST.
pub(crate) fn answer(
    image: &Image,
    request: &DescribeTopicPartitionsRequest,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let from = match &request.cursor {
        None => None,
        Some(cursor) => match usize::try_from(cursor.partition_index) {
            Ok(partition) => Some((cursor.topic_name.0.as_str(), partition)),
            Err(_) => return refused(request),
        },
    };
    let mut names: BTreeSet<&str> = if request.topics.is_empty() {
        image.names.keys().map(String::as_str).collect()
    } else {
        request.topics.iter().map(|t| t.name.0.as_str()).collect()
    };
    if let Some((first, _)) = from {
        names = names.split_off(first);
    }
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, limit.max(1));
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(cursor(name, 0));
            break;
        }
        let Some(topic) = image.topic(name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let start = from.filter(|(first, _)| *first == name).map_or(0, |(_, index)| index);
        let mut answered = described(topic);
        let page = (0i32..).zip(&topic.partitions).skip(start).take(left);
        answered.partitions = page.map(|(index, p)| partition_answer(image, index, p)).collect();
        left -= answered.partitions.len();
        let end = start + answered.partitions.len();
        response.topics.push(answered);
        if end < topic.partitions.len() {
            response.next_cursor = Some(cursor(name, i32::try_from(end).unwrap_or(i32::MAX)));
            break;
        }
    }
    response
}

fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topic = |topic: &describe_topic_partitions_request::TopicRequest| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(Some(topic.name.clone()))
    };
    DescribeTopicPartitionsResponse::default().with_topics(request.topics.iter().map(topic).collect())
}

fn cursor(name: &str, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(StrBytes::from(name.to_owned()).into())
        .with_partition_index(partition)
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match topic_name::problem(name) {
        Some(_) => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(StrBytes::from(name.to_owned()).into()))
        .with_is_internal(is_internal(name))
}

fn described(topic: &TopicImage) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(StrBytes::from(topic.name.clone()).into()))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        // This API has no flag for it: always told (KIP-966).
        .with_topic_authorized_operations(operations::of_topic(true))
}

fn partition_answer(image: &Image, index: i32, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
    let (leader, error) = reachable_leader(image, partition);
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(error.code())
        .with_partition_index(index)
        .with_leader_id(leader)
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_eligible_leader_replicas(Some(ids(&partition.elr)))
        .with_last_known_elr(Some(ids(&partition.last_known_elr)))
        .with_offline_replicas(offline(image, partition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use wire::messages::describe_topic_partitions_request::TopicRequest;

    #[test]
    fn pages_cover_every_partition_once() {
        let image = cluster();
        for limit in 1..=6 {
            let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(limit);
            let mut seen = Vec::new();
            loop {
                let page = answer(&image, &request, 2_000);
                let count: usize = page.topics.iter().map(|t| t.partitions.len()).sum();
                assert!(count <= limit as usize, "page of {count}, limit {limit}");
                for topic in &page.topics {
                    let name = topic.name.as_ref().unwrap().0.to_string();
                    seen.extend(topic.partitions.iter().map(|p| (name.clone(), p.partition_index)));
                }
                let Some(next) = page.next_cursor else { break };
                request.cursor = Some(
                    describe_topic_partitions_request::Cursor::default()
                        .with_topic_name(next.topic_name)
                        .with_partition_index(next.partition_index),
                );
            }
            let expected: Vec<_> = [
                ("orders", 0),
                ("orders", 1),
                ("payments", 0),
                ("payments", 1),
                ("payments", 2),
            ]
            .map(|(n, p)| (n.to_owned(), p))
            .into();
            assert_eq!(seen, expected, "limit {limit}");
        }
    }

    #[test]
    fn a_negative_cursor_is_refused() {
        let cursor = describe_topic_partitions_request::Cursor::default()
            .with_topic_name(StrBytes::from_static_str("orders").into())
            .with_partition_index(-1);
        let topic = TopicRequest::default().with_name(StrBytes::from_static_str("orders").into());
        let request = DescribeTopicPartitionsRequest::default()
            .with_response_partition_limit(10)
            .with_topics(vec![topic])
            .with_cursor(Some(cursor));
        let response = answer(&cluster(), &request, 2_000);
        assert_eq!(response.topics.len(), 1);
        assert_eq!(response.topics[0].error_code, ErrorCode::InvalidRequest.code());
        assert!(response.topics[0].partitions.is_empty() && response.next_cursor.is_none());
    }

    #[test]
    fn unknown_topics_are_told() {
        let named = |n: &'static str| TopicRequest::default().with_name(StrBytes::from_static_str(n).into());
        let request = DescribeTopicPartitionsRequest::default()
            .with_response_partition_limit(10)
            .with_topics(vec![named("zzz"), named("a b"), named("orders")]);
        let codes: Vec<i16> = answer(&cluster(), &request, 2_000)
            .topics
            .iter()
            .map(|t| t.error_code)
            .collect();
        assert_eq!(codes, [17, 0, 3]);
    }
}
