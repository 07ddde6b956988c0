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
