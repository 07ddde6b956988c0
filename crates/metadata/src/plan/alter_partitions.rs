use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError, brokers};
use crate::{Image, PartitionImage};
use std::collections::BTreeSet;
use types::{Broken, BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, TopicPartition, broken};

/// ISRs that a leader proposes (KIP-497).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartitions {
    /// The leader, and its broker epoch.
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    pub partitions: Vec<AlterPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    pub tp: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Each with the broker epoch that the leader knows it by (KIP-903).
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

/// The partition's record after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    pub isr: Vec<NodeId>,
}

impl AlteredPartition {
    fn of(partition: &PartitionImage) -> Self {
        Self {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: partition.isr.clone(),
        }
    }
}

/// Answers, in the order of the request.
type Answers = Vec<(TopicPartition, Result<AlteredPartition, PlanError>)>;

/// Changes ISRs. A partition that is refused does not keep others from changing.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`. Per partition: `UNKNOWN_TOPIC_ID`,
/// `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_CONTROLLER` (an epoch ahead of the image), `FENCED_LEADER_EPOCH`,
/// `INVALID_REQUEST`, `INVALID_UPDATE_VERSION`, `INELIGIBLE_REPLICA`.
pub fn alter_partitions(image: &Image, command: &AlterPartitions) -> Result<Plan<Answers>, PlanError> {
    brokers::current(image, command.node_id, command.broker_epoch)?;
    let mut draft = Draft::new(image);
    let mut response = Vec::with_capacity(command.partitions.len());
    let mut seen = BTreeSet::new();
    for asked in &command.partitions {
        let answer = if seen.insert(asked.tp) {
            alter(image, command.node_id, asked, &mut draft)
        } else {
            Err(PlanError::new(
                ErrorCode::InvalidRequest,
                format!("{} is named twice", asked.tp),
            ))
        };
        response.push((asked.tp, answer));
    }
    Ok(Plan {
        records: draft.into_records(),
        response,
    })
}

fn alter(
    image: &Image,
    sender: NodeId,
    asked: &AlterPartition,
    draft: &mut Draft<'_>,
) -> Result<AlteredPartition, PlanError> {
    let refuse = |code, message: String| Err(PlanError::new(code, message));
    let Some(topic) = image.topic_by_id(asked.tp.topic) else {
        return refuse(ErrorCode::UnknownTopicId, format!("No topic has id {}", asked.tp.topic));
    };
    let Some(recorded) = image.partition(asked.tp) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("No partition {}", asked.tp));
    };
    if asked.leader_epoch > recorded.leader_epoch || asked.partition_epoch > recorded.partition_epoch {
        return refuse(ErrorCode::NotController, "The leader has seen newer metadata".into());
    }
    if asked.leader_epoch < recorded.leader_epoch {
        return refuse(
            ErrorCode::FencedLeaderEpoch,
            format!("The leader epoch is {}", recorded.leader_epoch),
        );
    }
    if recorded.leader != Some(sender) {
        return refuse(ErrorCode::InvalidRequest, format!("Broker {sender} does not lead"));
    }
    if asked.partition_epoch < recorded.partition_epoch {
        return refuse(
            ErrorCode::InvalidUpdateVersion,
            format!("The partition epoch is {}", recorded.partition_epoch),
        );
    }
    let members: BTreeSet<NodeId> = asked.isr.iter().map(|(node, _)| *node).collect();
    let replicas_only = members.iter().all(|node| recorded.replicas.contains(node));
    if members.len() != asked.isr.len() || !replicas_only || !members.contains(&sender) {
        return refuse(
            ErrorCode::InvalidRequest,
            "The ISR is not a set of replicas with the leader".into(),
        );
    }
    let checked = asked.isr.iter().filter(|_| !broken(Broken::JoinInAnEarlierLife));
    for (node, epoch) in checked {
        let Some(broker) = image.broker(*node).filter(|broker| broker.broker_epoch == *epoch) else {
            return refuse(
                ErrorCode::IneligibleReplica,
                format!("Broker {node} is not registered with epoch {epoch}"),
            );
        };
        // A member may be fenced for the moment, after a restart that it survived; none such may join (KIP-841).
        let able = broker.may_lead() && image.replica_is_online(recorded, *node);
        if !able && !recorded.isr.contains(node) {
            return refuse(
                ErrorCode::IneligibleReplica,
                format!("Broker {node} is fenced or shutting down, or the replica's log directory is offline"),
            );
        }
    }
    let isr: Vec<NodeId> = recorded
        .replicas
        .iter()
        .copied()
        .filter(|node| members.contains(node))
        .collect();
    let mut after = AlteredPartition::of(recorded);
    // ◆ Also where the ISR is already this: the leader asks so because it does not know what became of an earlier
    // proposal. The new partition epoch tells it, and refuses that proposal should it still arrive.
    draft.touch(asked.tp);
    let rules = Rules::of(image, topic, recorded);
    draft.change(asked.tp, |partition| {
        if isr.len() != recorded.isr.len() || !recorded.isr.iter().all(|node| members.contains(node)) {
            rules.set_isr(partition, isr);
        }
        rules.complete_reassignment(partition, Candidates::all(image));
        after = AlteredPartition::of(partition);
    });
    after.partition_epoch = PartitionEpoch(after.partition_epoch.0.saturating_add(1));
    Ok(after)
}
