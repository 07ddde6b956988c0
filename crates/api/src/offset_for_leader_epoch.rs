//! OffsetForLeaderEpoch (key 23), KIP-101 and KIP-320.

use crate::Services;
use types::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderEpochRequest, OffsetForLeaderPartition};
use wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

pub(crate) async fn answer(services: &Services, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in &request.topics {
        let mut answered = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        for partition in &topic.partitions {
            let answer = EpochEndOffset::default().with_partition(partition.partition);
            answered
                .partitions
                .push(match look_up(services, &topic.topic.0, partition).await {
                    Ok((epoch, end)) => answer.with_leader_epoch(epoch.0).with_end_offset(end.0),
                    Err(code) => answer
                        .with_error_code(code.code())
                        .with_leader_epoch(-1)
                        .with_end_offset(-1),
                });
        }
        response.topics.push(answered);
    }
    response
}

async fn look_up(
    services: &Services,
    topic: &str,
    partition: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let tp = {
        let image = services.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let tp = TopicPartition {
            topic: topic.id,
            partition: partition.partition,
        };
        image.partition(tp).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        tp
    };
    let (current, wanted) = (
        LeaderEpoch(partition.current_leader_epoch),
        LeaderEpoch(partition.leader_epoch),
    );
    services
        .data
        .epoch_end_offset(tp, current, wanted)
        .await
        .map_err(|e| e.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataError;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;
    use wire::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;

    #[test]
    fn ends_and_errors() {
        let fenced = DataError {
            code: ErrorCode::FencedLeaderEpoch,
            leader: None,
        };
        let found = Ok((LeaderEpoch(3), Offset(30)));
        // Topic, partition, what the data plane says; code, epoch, end.
        let table = [
            ("orders", 1, found, (0, 3, 30)),
            ("orders", 2, found, (3, -1, -1)),
            ("none", 0, found, (3, -1, -1)),
            ("orders", 0, Err(fenced), (74, -1, -1)),
        ];
        for (name, index, outcome, expected) in table {
            let node = TestNode::new(cluster());
            node.data.epoch_end.set(outcome);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(StrBytes::from_static_str(name).into())
                .with_partitions(vec![OffsetForLeaderPartition::default().with_partition(index)]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            let response = run(answer(&node.services, request));
            let partition = &response.topics[0].partitions[0];
            assert_eq!(partition.partition, index);
            let told = (partition.error_code, partition.leader_epoch, partition.end_offset);
            assert_eq!(told, expected, "{name}-{index}");
        }
    }
}
