use super::draft::Draft;
use super::{Plan, PlanError, brokers};
use crate::Image;
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, TopicPartition};

/// What a broker says of the durability of its own replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkStrict {
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    pub partitions: Vec<MarkStrictPartition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkStrictPartition {
    pub tp: TopicPartition,
    /// In which the broker saw its log durable up to the end.
    pub leader_epoch: LeaderEpoch,
    /// False: it is about to acknowledge what is in memory only.
    pub strict: bool,
}

/// Sets or clears the strict flag of replicas. The response is one answer per partition, in order.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`. Per partition: `UNKNOWN_TOPIC_OR_PARTITION`,
/// `FENCED_LEADER_EPOCH`, `NOT_CONTROLLER` (epoch ahead of the image), `REPLICA_NOT_AVAILABLE`, and
/// `INVALID_REQUEST` for a relaxed topic.
pub fn mark_strict(image: &Image, command: &MarkStrict) -> Result<Plan<Vec<(TopicPartition, ErrorCode)>>, PlanError> {
    let node = command.node_id;
    brokers::current(image, node, command.broker_epoch)?;
    let mut draft = Draft::new(image);
    let mut response = Vec::with_capacity(command.partitions.len());
    for asked in &command.partitions {
        let error = check(image, node, asked);
        if error.is_none() {
            draft.change(asked.tp, |partition| {
                let mut strict = partition.strict.clone();
                strict.retain(|replica| *replica != node);
                if asked.strict {
                    strict.push(node);
                }
                // In the order of the replicas, so that the same facts are the same record.
                let replicas = partition.replicas.iter().copied();
                partition.strict = replicas.filter(|replica| strict.contains(replica)).collect();
            });
        }
        response.push((asked.tp, error));
    }
    Ok(Plan {
        records: draft.into_records(),
        response,
    })
}

fn check(image: &Image, node: NodeId, asked: &MarkStrictPartition) -> ErrorCode {
    let (Some(topic), Some(partition)) = (image.topic_by_id(asked.tp.topic), image.partition(asked.tp)) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    if !partition.replicas.contains(&node) {
        return ErrorCode::ReplicaNotAvailable;
    }
    if asked.leader_epoch < partition.leader_epoch {
        return ErrorCode::FencedLeaderEpoch;
    }
    if asked.leader_epoch > partition.leader_epoch {
        return ErrorCode::NotController;
    }
    if asked.strict && !image.is_strict(topic) {
        return ErrorCode::InvalidRequest;
    }
    ErrorCode::None
}
