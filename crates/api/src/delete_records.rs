//! DeleteRecords (key 21).

use crate::Services;
use futures::future::join_all;
use metadata::is_internal;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{ErrorCode, Offset, TopicPartition, limits};
use wire::messages::TopicName;
use wire::messages::delete_records_request::DeleteRecordsRequest;
use wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

/// Where there is no low watermark to tell.
const NONE: Offset = Offset(-1);

/// Each partition once; of one that is named twice the last offset counts, as in Kafka.
pub(crate) async fn answer(services: &Services, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut asked: BTreeMap<TopicName, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in request.topics {
        let offsets = topic.partitions.iter().map(|p| (p.partition_index, Offset(p.offset)));
        asked.entry(topic.name).or_default().extend(offsets);
    }
    let named = asked.values().map(BTreeMap::len).sum();
    let outcomes = if named > limits::REQUEST_PARTITIONS_MAX {
        vec![Err(ErrorCode::InvalidRequest); named]
    } else {
        let calls = asked.iter().flat_map(|(name, partitions)| {
            let one = move |(index, offset): (&i32, &Offset)| delete(services, &name.0, *index, *offset, timeout);
            partitions.iter().map(one)
        });
        join_all(calls).await
    };
    let mut outcomes = outcomes.into_iter();
    let topics = asked.iter().map(|(name, partitions)| {
        let answers = partitions.keys().zip(outcomes.by_ref()).map(|(index, outcome)| {
            DeleteRecordsPartitionResult::default()
                .with_partition_index(*index)
                .with_low_watermark(outcome.unwrap_or(NONE).0)
                .with_error_code(outcome.err().unwrap_or(ErrorCode::None).code())
        });
        DeleteRecordsTopicResult::default()
            .with_name(name.clone())
            .with_partitions(answers.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

async fn delete(
    services: &Services,
    topic: &str,
    partition: i32,
    offset: Offset,
    timeout: Duration,
) -> Result<Offset, ErrorCode> {
    let tp = {
        let image = services.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let tp = TopicPartition {
            topic: topic.id,
            partition,
        };
        image.partition(tp).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if topic.internal || is_internal(&topic.name) {
            return Err(ErrorCode::InvalidTopicException);
        }
        tp
    };
    let deleted = services.data.delete_records(tp, offset, timeout).await;
    deleted.map_err(|error| error.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataError;
    use crate::test_image::{cluster, topic_id};
    use crate::test_node::{TestNode, run};
    use std::sync::Arc;
    use wire::StrBytes;
    use wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

    fn request(topics: &[(&'static str, &[(i32, i64)])]) -> DeleteRecordsRequest {
        let partition = |(index, offset): &(i32, i64)| {
            DeleteRecordsPartition::default()
                .with_partition_index(*index)
                .with_offset(*offset)
        };
        let topic = |(name, partitions): &(&'static str, &[(i32, i64)])| {
            DeleteRecordsTopic::default()
                .with_name(StrBytes::from_static_str(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        };
        DeleteRecordsRequest::default()
            .with_timeout_ms(9_000)
            .with_topics(topics.iter().map(topic).collect())
    }

    fn told(response: &DeleteRecordsResponse) -> Vec<(&str, i32, i64, i16)> {
        let of = |topic| {
            move |p: &'_ DeleteRecordsPartitionResult| (topic, p.partition_index, p.low_watermark, p.error_code)
        };
        let topics = response.topics.iter();
        topics
            .flat_map(|topic| topic.partitions.iter().map(of(topic.name.as_str())))
            .collect()
    }

    #[test]
    fn every_partition_is_answered_once() {
        let mut image = cluster();
        let internal = Arc::make_mut(image.topics.get_mut(&topic_id(2)).unwrap());
        internal.internal = true;
        let node = TestNode::new(image);
        let asked: [(&'static str, &[(i32, i64)]); 4] = [
            ("orders", &[(1, -1), (0, 3), (7, 3)]),
            ("payments", &[(0, 1)]),
            ("none", &[(0, 1)]),
            ("orders", &[(0, 9)]),
        ];
        let response = run(answer(&node.services, request(&asked)));
        assert_eq!(
            told(&response),
            [
                ("none", 0, -1, 3),
                ("orders", 0, 5, 0),
                ("orders", 1, 5, 0),
                ("orders", 7, -1, 3),
                ("payments", 0, -1, 17)
            ]
        );
        let tp = |partition| TopicPartition {
            topic: topic_id(1),
            partition,
        };
        let timeout = Duration::from_secs(9);
        let expected = [(tp(0), Offset(9), timeout), (tp(1), Offset(-1), timeout)];
        assert_eq!(*node.data.trims.borrow(), expected);
    }

    #[test]
    fn an_error_has_no_low_watermark() {
        let node = TestNode::new(cluster());
        node.data.low_watermark.set(Err(DataError {
            code: ErrorCode::PolicyViolation,
            leader: None,
        }));
        let response = run(answer(&node.services, request(&[("orders", &[(0, 3)])])));
        assert_eq!(told(&response), [("orders", 0, -1, 44)]);
    }

    #[test]
    fn more_partitions_than_the_limit_are_refused_whole() {
        let node = TestNode::new(cluster());
        let many: Vec<(i32, i64)> = (0..=i32::try_from(limits::REQUEST_PARTITIONS_MAX).unwrap())
            .map(|index| (index, 0))
            .collect();
        let response = run(answer(&node.services, request(&[("orders", &many)])));
        assert!(told(&response).iter().all(|(.., code)| *code == 42));
        assert!(node.data.trims.borrow().is_empty());
    }
}
