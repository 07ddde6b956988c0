//! ListOffsets (key 2).

use crate::Services;
use std::collections::BTreeSet;
use types::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

const EARLIEST: i64 = -2;

/// What a timestamp of a request stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A timestamp, or −1 latest, −2 earliest, −3 of the largest timestamp.
    Of(i64),
    /// An offset of remote storage, of which there is none: −1 if the partition can be asked at all.
    Nothing,
    Unsupported,
}

fn wanted(timestamp: i64, version: i16) -> Wanted {
    match timestamp {
        -3 if version < 7 => Wanted::Unsupported,
        -4 if version < 8 => Wanted::Unsupported,
        -5 if version < 9 => Wanted::Unsupported,
        -6 if version < 11 => Wanted::Unsupported,
        // Earliest local: all is local.
        -4 => Wanted::Of(EARLIEST),
        -5 | -6 => Wanted::Nothing,
        timestamp if timestamp < -6 => Wanted::Unsupported,
        timestamp => Wanted::Of(timestamp),
    }
}

pub(crate) async fn answer(services: &Services, request: ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for (topic, partition) in request
        .topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(move |p| (t, p)))
    {
        if !seen.insert((topic.name.0.as_str(), partition.partition_index)) {
            twice.insert((topic.name.0.as_str(), partition.partition_index));
        }
    }
    let mut response = ListOffsetsResponse::default();
    for topic in &request.topics {
        let mut answered = ListOffsetsTopicResponse::default().with_name(topic.name.clone());
        for partition in &topic.partitions {
            let repeated = twice.contains(&(topic.name.0.as_str(), partition.partition_index));
            let outcome = if repeated {
                Err(ErrorCode::InvalidRequest)
            } else {
                look_up(services, &topic.name.0, partition, version, read_committed).await
            };
            answered
                .partitions
                .push(partition_answer(partition.partition_index, outcome));
        }
        response.topics.push(answered);
    }
    response
}

async fn look_up(
    services: &Services,
    topic: &str,
    partition: &ListOffsetsPartition,
    version: i16,
    read_committed: bool,
) -> Result<(Offset, i64, LeaderEpoch), ErrorCode> {
    let wanted = wanted(partition.timestamp, version);
    let tp = {
        let image = services.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let tp = TopicPartition {
            topic: topic.id,
            partition: partition.partition_index,
        };
        image.partition(tp).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        tp
    };
    let timestamp = match wanted {
        Wanted::Unsupported => return Err(ErrorCode::UnsupportedVersion),
        Wanted::Nothing => EARLIEST,
        Wanted::Of(timestamp) => timestamp,
    };
    let epoch = LeaderEpoch(partition.current_leader_epoch);
    let found = services
        .data
        .list_offset(tp, timestamp, epoch, read_committed)
        .await
        .map_err(|e| e.code)?;
    Ok(if wanted == Wanted::Nothing {
        (Offset(-1), -1, LeaderEpoch::NONE)
    } else {
        found
    })
}

fn partition_answer(
    index: i32,
    outcome: Result<(Offset, i64, LeaderEpoch), ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match outcome {
        Ok((offset, timestamp, epoch)) => answer
            .with_offset(offset.0)
            .with_timestamp(timestamp)
            .with_leader_epoch(epoch.0),
        Err(code) => answer
            .with_error_code(code.code())
            .with_offset(-1)
            .with_timestamp(-1)
            .with_leader_epoch(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;
    use wire::messages::list_offsets_request::ListOffsetsTopic;

    #[test]
    fn special_timestamps_by_version() {
        let table = [
            (-1, 1, Wanted::Of(-1)),
            (-2, 1, Wanted::Of(-2)),
            (-3, 6, Wanted::Unsupported),
            (-3, 7, Wanted::Of(-3)),
            (-4, 7, Wanted::Unsupported),
            (-4, 8, Wanted::Of(-2)),
            (-5, 8, Wanted::Unsupported),
            (-5, 9, Wanted::Nothing),
            (-6, 10, Wanted::Unsupported),
            (-6, 11, Wanted::Nothing),
            (-7, 11, Wanted::Unsupported),
            (1_700_000_000_000, 1, Wanted::Of(1_700_000_000_000)),
        ];
        for (timestamp, version, expected) in table {
            assert_eq!(wanted(timestamp, version), expected, "{timestamp} v{version}");
        }
    }

    #[test]
    fn what_is_asked_twice_is_refused_and_the_rest_answered() {
        let node = TestNode::new(cluster());
        let topic = |name: &'static str, partitions: &[(i32, i64)]| {
            let partition = |(index, timestamp): &(i32, i64)| {
                ListOffsetsPartition::default()
                    .with_partition_index(*index)
                    .with_timestamp(*timestamp)
            };
            ListOffsetsTopic::default()
                .with_name(StrBytes::from_static_str(name).into())
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let request = ListOffsetsRequest::default().with_topics(vec![
            topic("orders", &[(0, -1), (1, -1)]),
            topic("payments", &[(0, -9), (1, -6), (3, -1)]),
            topic("orders", &[(0, -2)]),
            topic("none", &[(0, -1)]),
        ]);
        let response = run(answer(&node.services, request, 11));
        let told: Vec<_> = response
            .topics
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| (p.error_code, p.offset, p.timestamp, p.leader_epoch))
            .collect();
        let failed = |code| (code, -1, -1, -1);
        assert_eq!(
            told,
            [
                failed(42),
                (0, 7, 1_000, 4),
                failed(35),
                failed(0),
                failed(3),
                failed(42),
                failed(3)
            ]
        );
    }
}
