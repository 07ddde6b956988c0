//! The shard's errands to the controller: ISR proposals (KIP-497), and which replicas are strict.

use crate::IsrProposal;
use crate::links::Proposal;
use crate::partition_cell::PartitionRef;
use crate::shard::ShardRef;
use replica::{Durability, IsrAnswer};
use std::collections::BTreeMap;
use types::{ErrorCode, TopicId, TopicPartition};

/// Takes proposals to the controller, all that are there in one call, one call at a time.
pub(crate) async fn run(shard: ShardRef) {
    loop {
        let proposals = shard.links().take_proposals();
        if proposals.is_empty() {
            shard.links().proposed.notified().await;
            continue;
        }
        propose(&shard, proposals).await;
    }
}

async fn propose(shard: &ShardRef, proposals: Vec<Proposal>) {
    let command = |proposal: &Proposal| IsrProposal {
        tp: proposal.tp,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: proposal.isr.clone(),
    };
    let control = shard.broker().control_plane();
    let answers = control.alter_partitions(proposals.iter().map(command).collect()).await;
    let answers: BTreeMap<TopicPartition, _> = match answers {
        Ok(answers) => answers.into_iter().collect(),
        Err(code) => {
            tracing::warn!(?code, "the controller did not answer ISR proposals");
            BTreeMap::new()
        }
    };
    for proposal in proposals {
        let answer = match answers.get(&proposal.tp) {
            Some(Ok(altered)) if altered.leader_epoch == proposal.leader_epoch && same(&altered.isr, &proposal) => {
                IsrAnswer::Committed {
                    partition_epoch: altered.partition_epoch,
                }
            }
            Some(Err(code)) => outcome(*code),
            _ => IsrAnswer::Unknown,
        };
        if let Some(partition) = shard.partition(proposal.tp) {
            let now = shard.links().host.now();
            partition
                .borrow_mut()
                .isr_answered(proposal.leader_epoch, proposal.id, answer, now);
        }
    }
}

fn same(isr: &[types::NodeId], proposal: &Proposal) -> bool {
    isr.len() == proposal.isr.len() && proposal.isr.iter().all(|(node, _)| isr.contains(node))
}

/// ◆ Only a refusal for what the proposal *says* proves that it was never committed. One for its age
/// (INVALID_UPDATE_VERSION, FENCED_LEADER_EPOCH …) is also what the second attempt gets after a first one whose answer
/// was lost: unknown, until a newer image tells.
fn outcome(code: ErrorCode) -> IsrAnswer {
    match code {
        ErrorCode::IneligibleReplica | ErrorCode::InvalidRequest | ErrorCode::UnknownTopicOrPartition => {
            IsrAnswer::Rejected
        }
        _ => IsrAnswer::Unknown,
    }
}

/// Reports replicas whose strictness in the image is not what it should be: strict once all of the log is durable;
/// ◆ not strict before a relaxed acknowledgement is given (see `topic_settings::view_of`).
pub(crate) fn mark_strict(shard: &ShardRef, partitions: &[(TopicPartition, PartitionRef)]) {
    if shard.broker_epoch().is_none() {
        return;
    }
    let (image, me) = (shard.image(), shard.links().node_id);
    let mut marks = Vec::new();
    // In the order of topics, where all are looked at.
    let mut last: Option<(TopicId, bool)> = None;
    for (tp, partition) in partitions {
        let (Some(topic), Some(record)) = (image.topic_by_id(tp.topic), image.partition(*tp)) else {
            continue;
        };
        let known = last.filter(|(id, _)| *id == tp.topic);
        let (_, wanted) = *last.insert(known.unwrap_or_else(|| (tp.topic, image.is_strict(topic))));
        let marked = record.strict.contains(&me);
        if wanted == marked || !record.isr.contains(&me) {
            continue;
        }
        shard.stir(partition);
        let partition = partition.borrow();
        if !wanted || (partition.rules.durability == Durability::Strict && partition.is_clean()) {
            marks.push((*tp, record.leader_epoch, wanted));
        }
    }
    if marks.is_empty() {
        return;
    }
    let marked = shard.broker().control_plane().mark_strict(marks);
    tokio::task::spawn_local(async move {
        if let Err(code) = marked.await {
            tracing::debug!(
                ?code,
                "the controller did not take the strictness of replicas: again at a later tick"
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_what_is_said_proves_that_it_was_not_committed() {
        for (code, expected) in [
            (ErrorCode::IneligibleReplica, IsrAnswer::Rejected),
            (ErrorCode::InvalidRequest, IsrAnswer::Rejected),
            (ErrorCode::UnknownTopicOrPartition, IsrAnswer::Rejected),
            (ErrorCode::InvalidUpdateVersion, IsrAnswer::Unknown),
            (ErrorCode::FencedLeaderEpoch, IsrAnswer::Unknown),
            (ErrorCode::RequestTimedOut, IsrAnswer::Unknown),
            (ErrorCode::NotController, IsrAnswer::Unknown),
        ] {
            assert_eq!(outcome(code), expected, "{code:?}");
        }
    }
}
