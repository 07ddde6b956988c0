use super::draft::Draft;
use super::placement::Directories;
use super::rules::{Candidates, Rules};
use super::{PartitionOutcomes, Plan, PlanError, manual_assignment};
use crate::{Image, TopicImage};
use types::{ErrorCode, NodeId, TopicPartition};

/// Kafka's AlterPartitionReassignments (KIP-455).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlterReassignments {
    /// Whether a partition may get more or fewer replicas than it has (KIP-860).
    pub allow_factor_change: bool,
    pub topics: Vec<(String, Vec<ReassignedPartition>)>,
}

/// The replicas that a partition is to have, in order of preference. `None`: those from before its reassignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReassignedPartition {
    pub partition: i32,
    pub replicas: Option<Vec<NodeId>>,
}

/// Starts, changes and cancels reassignments. The response has an answer for each partition, in order, and one that is
/// refused does not keep others from moving.
///
/// Errors per partition: `UNKNOWN_TOPIC_OR_PARTITION`, `NO_REASSIGNMENT_IN_PROGRESS`, `INVALID_REPLICA_ASSIGNMENT` (a broker
/// that is not registered or named twice, none at all; or only replicas that would go are in sync),
/// `INVALID_REPLICATION_FACTOR`.
#[must_use]
pub fn alter_reassignments(image: &Image, command: &AlterReassignments) -> Plan<PartitionOutcomes> {
    let mut changes = Changes {
        image,
        draft: Draft::new(image),
        directories: Directories::new(image),
        allow_factor_change: command.allow_factor_change,
    };
    let mut response = Vec::with_capacity(command.topics.len());
    for (name, partitions) in &command.topics {
        let topic = image.topic(name).map(|topic| &**topic);
        let outcomes = partitions
            .iter()
            .map(|asked| (asked.partition, changes.change(name, topic, asked)));
        response.push((name.clone(), outcomes.collect()));
    }
    Plan {
        records: changes.draft.into_records(),
        response,
    }
}

struct Changes<'a> {
    image: &'a Image,
    draft: Draft<'a>,
    directories: Directories,
    allow_factor_change: bool,
}

impl Changes<'_> {
    fn change(&mut self, name: &str, topic: Option<&TopicImage>, asked: &ReassignedPartition) -> Result<(), PlanError> {
        let (image, number) = (self.image, asked.partition);
        let unknown = |message| PlanError::new(ErrorCode::UnknownTopicOrPartition, message);
        let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let tp = TopicPartition {
            topic: topic.id,
            partition: number,
        };
        let recorded = image
            .partition(tp)
            .ok_or_else(|| unknown(format!("Unable to find partition {name}:{number}.")))?;
        let target = match &asked.replicas {
            Some(target) => {
                manual_assignment::check_brokers(image, target)?;
                let factor = recorded.target_replicas().count();
                if !self.allow_factor_change && target.len() != factor {
                    let message = format!("The replication factor is changed from {factor} to {}", target.len());
                    return Err(PlanError::new(ErrorCode::InvalidReplicationFactor, message));
                }
                target.clone()
            }
            None if recorded.is_reassigned() => recorded.original_replicas().collect(),
            None => return Err(PlanError::new(ErrorCode::NoReassignmentInProgress, "")),
        };
        let rules = Rules::of(image, topic, recorded);
        let directories = &mut self.directories;
        let place = |node| {
            image
                .broker(node)
                .map(|broker| directories.place(broker))
                .unwrap_or_default()
        };
        let mut changed = true;
        self.draft.change(tp, |partition| {
            changed = rules.reassign(partition, &target, place, Candidates::all(image));
        });
        if changed {
            return Ok(());
        }
        let message = format!(
            "Unable to revert partition assignment for {name}:{number} because it would require an unclean leader election."
        );
        Err(PlanError::new(ErrorCode::InvalidReplicaAssignment, message))
    }
}
