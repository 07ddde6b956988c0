use super::manual_assignment;
use super::new_partition::new_partition;
use super::placement::{Directories, Placement};
use super::topic_name::{self, Collisions};
use super::{Plan, PlanError};
use crate::{Image, Record, TopicImage, is_internal, topic_config};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{ErrorCode, NodeId, TopicId, TopicPartition, limits};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateTopics {
    pub topics: Vec<NewTopic>,
    /// Answers as if, writes nothing.
    pub validate_only: bool,
    /// The controller's properties: `num.partitions` (1), `default.replication.factor` (3).
    pub defaults: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Chosen by the sender, at random: a repeated command finds what its first attempt created.
    pub id: TopicId,
    pub name: String,
    /// −1: `num.partitions`.
    pub partitions: i32,
    /// −1: the lesser of `default.replication.factor` and the number of registered brokers.
    pub replication_factor: i16,
    /// Replicas by partition, chosen by the client; then the two numbers are −1.
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    pub configs: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub name: String,
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Fewer replicas than `default.replication.factor`, for want of brokers.
    pub created_short: bool,
    pub configs: BTreeMap<String, String>,
}

/// Creates topics; the response has one answer per topic, in order, and one that is refused does not keep
/// others from being created. `random` spreads the leaders.
///
/// Errors per topic: `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
/// `INVALID_REPLICATION_FACTOR`, `INVALID_REPLICA_ASSIGNMENT`, `INVALID_CONFIG`, `INVALID_REQUEST`, and
/// `POLICY_VIOLATION` beyond [`limits::CREATE_PARTITIONS_MAX`] partitions in one command.
#[must_use]
pub fn create_topics(image: &Image, command: &CreateTopics, random: u64) -> Plan<Vec<Result<CreatedTopic, PlanError>>> {
    let mut creation = Creation {
        image,
        defaults: &command.defaults,
        placement: Placement::new(image, random),
        directories: Directories::new(image),
        collisions: Collisions::of(image),
        named: BTreeSet::new(),
        ids: BTreeSet::new(),
        partitions_left: limits::CREATE_PARTITIONS_MAX,
        records: Vec::new(),
    };
    let response = command.topics.iter().map(|topic| creation.create(topic)).collect();
    let records = if command.validate_only {
        Vec::new()
    } else {
        creation.records
    };
    Plan { records, response }
}

struct Creation<'a> {
    image: &'a Image,
    defaults: &'a BTreeMap<String, String>,
    placement: Placement,
    directories: Directories,
    collisions: Collisions,
    named: BTreeSet<&'a str>,
    ids: BTreeSet<TopicId>,
    partitions_left: usize,
    records: Vec<Record>,
}

impl<'a> Creation<'a> {
    fn create<'b: 'a>(&mut self, new: &'b NewTopic) -> Result<CreatedTopic, PlanError> {
        topic_name::check(&new.name)?;
        // The metadata log itself, which is no topic.
        if new.name == "__cluster_metadata" {
            let message = format!("Creation of internal topic {} is prohibited.", new.name);
            return refuse(ErrorCode::InvalidRequest, message);
        }
        if !self.named.insert(&new.name) {
            return refuse(
                ErrorCode::InvalidRequest,
                format!("Topic '{}' is named twice", new.name),
            );
        }
        if let Some(known) = self.image.topic(&new.name) {
            if known.id == new.id {
                return Ok(answer(known, known.partitions.len()));
            }
            return refuse(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{}' already exists.", new.name),
            );
        }
        if new.id.is_zero() || self.image.topics.contains_key(&new.id) || !self.ids.insert(new.id) {
            return refuse(ErrorCode::InvalidRequest, "The topic's id is none or taken");
        }
        let configs = checked_configs(self.image, &new.configs)?;
        let (assignments, created_short) = if new.assignments.is_empty() {
            self.place(new)?
        } else {
            (self.assigned(new)?, false)
        };
        self.collisions.add(&new.name)?;
        self.partitions_left -= assignments.len();

        let mut topic = TopicImage {
            id: new.id,
            name: new.name.clone(),
            internal: is_internal(&new.name),
            configs,
            partitions: Vec::new(),
            created_short,
        };
        let strict = self.image.is_strict(&topic);
        topic.partitions = assignments
            .into_iter()
            .map(|replicas| Arc::new(new_partition(self.image, &mut self.directories, replicas, strict)))
            .collect();
        self.records.push(Record::Topic {
            id: topic.id,
            name: topic.name.clone(),
            internal: topic.internal,
            configs: topic.configs.clone(),
            created_short,
        });
        self.records.extend(
            (0i32..)
                .zip(&topic.partitions)
                .map(|(number, partition)| Record::Partition {
                    tp: TopicPartition {
                        topic: topic.id,
                        partition: number,
                    },
                    partition: Box::new((**partition).clone()),
                }),
        );
        Ok(answer(&topic, topic.partitions.len()))
    }

    /// Replicas chosen here, and whether they are fewer than the default.
    fn place(&self, new: &NewTopic) -> Result<(Vec<Vec<NodeId>>, bool), PlanError> {
        let default = |name: &str, or: i64| {
            self.defaults
                .get(name)
                .and_then(|value| value.trim().parse::<i64>().ok())
                .filter(|n| *n > 0)
                .unwrap_or(or)
        };
        let partitions = match i64::from(new.partitions) {
            -1 => default("num.partitions", 1),
            partitions => partitions,
        };
        if partitions < 1 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return refuse(ErrorCode::InvalidPartitions, message);
        }
        let partitions = self.within_limit(usize::try_from(partitions).unwrap_or(usize::MAX))?;
        let wanted = usize::try_from(default("default.replication.factor", 3)).unwrap_or(usize::MAX);
        let (factor, short) = match new.replication_factor {
            -1 => (
                wanted.min(self.placement.brokers()).max(1),
                self.placement.brokers() < wanted,
            ),
            factor if factor > 0 => (usize::from(factor.unsigned_abs()), false),
            _ => {
                let message = "Replication factor must be larger than 0, or -1 to use the default value.";
                return refuse(ErrorCode::InvalidReplicationFactor, message);
            }
        };
        self.placement.check(factor)?;
        Ok((
            (0..partitions)
                .map(|number| self.placement.place(number, factor))
                .collect(),
            short,
        ))
    }

    /// Replicas chosen by the client.
    fn assigned(&self, new: &NewTopic) -> Result<Vec<Vec<NodeId>>, PlanError> {
        if new.partitions != -1 || new.replication_factor != -1 {
            let message = "A manual partition assignment was specified, but partition count or replication factor was not set to -1.";
            return refuse(ErrorCode::InvalidRequest, message);
        }
        let invalid = |message: String| refuse(ErrorCode::InvalidReplicaAssignment, message);
        self.within_limit(new.assignments.len())?;
        let by_number: BTreeMap<i32, &Vec<NodeId>> = new
            .assignments
            .iter()
            .map(|(number, replicas)| (*number, replicas))
            .collect();
        if by_number.len() != new.assignments.len() || !(0i32..).zip(by_number.keys()).all(|(at, number)| at == *number)
        {
            return invalid("partitions should be a consecutive 0-based integer sequence".into());
        }
        let factor = new.assignments.first().map_or(0, |(_, replicas)| replicas.len());
        for (number, replicas) in &by_number {
            manual_assignment::check(self.image, *number, replicas, factor)?;
        }
        Ok(by_number.into_values().cloned().collect())
    }

    fn within_limit(&self, partitions: usize) -> Result<usize, PlanError> {
        if partitions > self.partitions_left {
            let message = format!(
                "Excessively large number of partitions per request: more than {}",
                limits::CREATE_PARTITIONS_MAX
            );
            return refuse(ErrorCode::PolicyViolation, message);
        }
        Ok(partitions)
    }
}

fn checked_configs(
    image: &Image,
    configs: &BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, String>, PlanError> {
    let mut checked = BTreeMap::new();
    for (name, value) in configs.iter().filter(|(name, _)| !topic_config::is_tolerated(name)) {
        let Some(value) = value else {
            return refuse(
                ErrorCode::InvalidConfig,
                format!("Null value not supported for topic configs: {name}"),
            );
        };
        topic_config::validate(name, value).map_err(|why| PlanError::new(ErrorCode::InvalidConfig, why))?;
        let stored = topic_config::find(name).map(|definition| definition.kind.stored(value));
        checked.insert(name.clone(), stored.unwrap_or_default());
    }
    topic_config::validate_together(image, &checked).map_err(|why| PlanError::new(ErrorCode::InvalidConfig, why))?;
    Ok(checked)
}

fn answer(topic: &TopicImage, partitions: usize) -> CreatedTopic {
    CreatedTopic {
        name: topic.name.clone(),
        id: topic.id,
        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(topic.replication_factor()).unwrap_or(i16::MAX),
        created_short: topic.created_short,
        configs: topic.configs.clone(),
    }
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::new(code, message))
}
