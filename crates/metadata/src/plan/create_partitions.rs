use super::new_partition::new_partition;
use super::placement::Placement;
use super::{Plan, PlanError, manual_assignment};
use crate::{Image, Record, TopicImage};
use std::collections::BTreeSet;
use types::{ErrorCode, NodeId, TopicPartition, limits};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreatePartitions {
    pub topics: Vec<MorePartitions>,
    /// Answers as if, writes nothing.
    pub validate_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MorePartitions {
    pub name: String,
    /// Partitions that the topic is to have.
    pub count: i32,
    /// The replicas of each new partition, chosen by the client.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Adds partitions to topics (KIP-195), with as many replicas as the topic's others; one answer per topic, in order,
/// and one that is refused does not keep others from growing. `random` spreads the leaders.
///
/// Errors per topic: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_PARTITIONS` where that would be no increase,
/// `INVALID_REPLICA_ASSIGNMENT`, `INVALID_REPLICATION_FACTOR` without a broker that may lead, `INVALID_REQUEST` for a
/// topic named twice, `POLICY_VIOLATION` beyond [`limits::CREATE_PARTITIONS_MAX`] partitions in one command.
#[must_use]
pub fn create_partitions(image: &Image, command: &CreatePartitions, random: u64) -> Plan<Vec<Result<(), PlanError>>> {
    let placement = Placement::new(image, random);
    let (mut named, mut left) = (BTreeSet::new(), limits::CREATE_PARTITIONS_MAX);
    let mut records = Vec::new();
    let mut grow = |more: &'_ MorePartitions| {
        let added = add(image, &placement, more, left)?;
        left -= added.len();
        records.extend(added);
        Ok(())
    };
    let mut response = Vec::with_capacity(command.topics.len());
    for more in &command.topics {
        response.push(if named.insert(&more.name) {
            grow(more)
        } else {
            refuse(ErrorCode::InvalidRequest, "Duplicate topic name.")
        });
    }
    if command.validate_only {
        records.clear();
    }
    Plan { records, response }
}

fn add(image: &Image, placement: &Placement, more: &MorePartitions, left: usize) -> Result<Vec<Record>, PlanError> {
    let Some(topic) = image.topic(&more.name) else {
        return refuse(ErrorCode::UnknownTopicOrPartition, "");
    };
    let present = topic.partitions.len();
    let wanted = usize::try_from(more.count).unwrap_or(0);
    if wanted == present {
        return refuse(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {present} partition(s)."),
        );
    }
    let Some(additional) = wanted.checked_sub(present) else {
        let message = format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            more.name, more.count
        );
        return refuse(ErrorCode::InvalidPartitions, message);
    };
    if let Some(given) = more
        .assignments
        .as_ref()
        .map(Vec::len)
        .filter(|given| *given != additional)
    {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {given} assignment(s) were specified."
        );
        return refuse(ErrorCode::InvalidReplicaAssignment, message);
    }
    if additional > left {
        let message = format!(
            "Excessively large number of partitions per request: more than {}",
            limits::CREATE_PARTITIONS_MAX
        );
        return refuse(ErrorCode::PolicyViolation, message);
    }
    let factor = topic.replication_factor();
    if more.assignments.is_none() {
        placement.check(factor)?;
    }
    let strict = image.is_strict(topic);
    let numbers = (present..wanted).enumerate();
    numbers
        .map(|(at, number)| {
            let replicas = match &more.assignments {
                Some(chosen) => {
                    manual_assignment::check(image, index(number), &chosen[at], factor)?;
                    chosen[at].clone()
                }
                None => placement.place(number, factor),
            };
            Ok(record(image, topic, number, replicas, strict))
        })
        .collect()
}

fn record(image: &Image, topic: &TopicImage, number: usize, replicas: Vec<NodeId>, strict: bool) -> Record {
    Record::Partition {
        tp: TopicPartition {
            topic: topic.id,
            partition: index(number),
        },
        partition: Box::new(new_partition(image, number, replicas, strict)),
    }
}

/// Below a count that came as an `i32`.
fn index(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::new(code, message))
}
