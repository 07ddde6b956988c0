use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError, brokers};
use crate::Image;
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, TopicPartition};

/// Replicas of a running broker whose logs turned out to be damaged below their durable marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpelDamaged {
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    /// With the leader epoch in which the broker found it out.
    pub partitions: Vec<(TopicPartition, LeaderEpoch)>,
}

/// Takes damaged replicas out of ISR and ELR, so that they can be copied again, and their leaderships to others.
///
/// ◆ The leader epoch rises even where the leader stays: it must forget what the replica acknowledged. Otherwise it could
/// take it back into the ISR for what it is about to throw away.
///
/// A replica without which nobody could lead stays as it is: it has what is left. The response is one answer per partition,
/// in order.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`. Per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `REPLICA_NOT_AVAILABLE`
/// (not a replica), `FENCED_LEADER_EPOCH`, `NOT_CONTROLLER` (epoch ahead of the image), `ELIGIBLE_LEADERS_NOT_AVAILABLE`.
pub fn expel_damaged(
    image: &Image,
    command: &ExpelDamaged,
) -> Result<Plan<Vec<(TopicPartition, ErrorCode)>>, PlanError> {
    let node = command.node_id;
    brokers::current(image, node, command.broker_epoch)?;
    let others = Candidates::without(image, node);
    let mut draft = Draft::new(image);
    let mut response = Vec::with_capacity(command.partitions.len());
    for (tp, leader_epoch) in &command.partitions {
        let (Some(topic), Some(partition)) = (image.topic_by_id(tp.topic), image.partition(*tp)) else {
            response.push((*tp, ErrorCode::UnknownTopicOrPartition));
            continue;
        };
        let mut eligible = partition.isr.iter().chain(&partition.elr);
        let error = if !partition.replicas.contains(&node) {
            ErrorCode::ReplicaNotAvailable
        } else if *leader_epoch < partition.leader_epoch {
            ErrorCode::FencedLeaderEpoch
        } else if *leader_epoch > partition.leader_epoch {
            ErrorCode::NotController
        } else if !eligible.any(|other| others.may_lead(partition, *other)) {
            ErrorCode::EligibleLeadersNotAvailable
        } else {
            ErrorCode::None
        };
        if error.is_none() {
            let rules = Rules::of(image, topic, partition);
            draft.change(*tp, |partition| {
                rules.expel(partition, node, true);
                rules.elect(partition, others);
                if partition.leader_epoch == *leader_epoch {
                    partition.leader_epoch = LeaderEpoch(leader_epoch.0.saturating_add(1));
                }
            });
        }
        response.push((*tp, error));
    }
    Ok(Plan {
        records: draft.into_records(),
        response,
    })
}
