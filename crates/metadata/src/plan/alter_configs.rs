use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError, topic_name};
use crate::{Image, Record, broker_config, topic_config};
use std::collections::{BTreeMap, BTreeSet};
use topic_config::{Effect, Kind, entries};
use types::{ErrorCode, NodeId};

const MIN_ISR: &str = "min.insync.replicas";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    Topic(String),
    /// `None`: the default of all brokers.
    Broker(Option<NodeId>),
}

/// KIP-339.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    pub resources: Vec<AlterConfigsResource>,
    /// Answers as if, writes nothing.
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsResource {
    pub resource: ConfigResource,
    pub changes: Vec<(String, ConfigChange)>,
    /// The changes are the whole configuration (AlterConfigs), not changes to it (IncrementalAlterConfigs).
    pub replace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredConfigs {
    pub resource: ConfigResource,
    pub error: Option<PlanError>,
}

/// Changes configs of topics and brokers; one answer per resource, in order, and one that is refused does not
/// keep others from changing. In the same entry, for every topic that it touches:
///
/// * another effective minimum of in-sync replicas clears the ELR (KIP-966: it was right for the old one);
/// * a topic that becomes relaxed loses its strict flags, before any broker acknowledges from memory;
/// * a partition without leader gets one, if the topic now allows an unclean election.
///
/// Errors per resource: `UNKNOWN_TOPIC_OR_PARTITION`, `BROKER_ID_NOT_REGISTERED`, `INVALID_CONFIG` (a broker's values:
/// `INVALID_REQUEST`), `INVALID_REQUEST`, `INVALID_TOPIC_EXCEPTION`.
#[must_use]
pub fn alter_configs(image: &Image, command: &AlterConfigs) -> Plan<Vec<AlteredConfigs>> {
    let mut after = image.clone();
    let mut records = Vec::new();
    let mut seen = BTreeSet::new();
    let mut response = Vec::with_capacity(command.resources.len());
    for asked in &command.resources {
        let changed = if seen.insert(&asked.resource) {
            change_resource(image, asked)
        } else {
            refuse(
                ErrorCode::InvalidRequest,
                "Each resource must appear at most once.".to_owned(),
            )
        };
        let error = match changed {
            Ok(changed) => {
                // They fit: made from this very image. One that did not would not be proposed.
                records.extend(
                    changed
                        .into_iter()
                        .filter(|record| after.apply(image.index, record).is_ok()),
                );
                None
            }
            Err(error) => Some(error),
        };
        response.push(AlteredConfigs {
            resource: asked.resource.clone(),
            error,
        });
    }
    if command.validate_only {
        return Plan {
            records: Vec::new(),
            response,
        };
    }
    records.extend(consequences(image, &after));
    Plan { records, response }
}

fn consequences(before: &Image, after: &Image) -> Vec<Record> {
    let mut draft = Draft::new(before);
    for (tp, topic, partition) in before.partitions() {
        let Some(topic_after) = after.topic_by_id(topic.id) else {
            continue;
        };
        let (old, new) = (
            Rules::of(before, topic, partition),
            Rules::of(after, topic_after, partition),
        );
        if old == new {
            continue;
        }
        draft.change(tp, |partition| {
            if old.min_isr != new.min_isr {
                partition.elr.clear();
            }
            if !new.strict {
                partition.strict.clear();
            }
            if new.unclean && !old.unclean && partition.leader.is_none() {
                new.elect(partition, Candidates::all(after));
            }
        });
    }
    draft.into_records()
}

fn change_resource(image: &Image, asked: &AlterConfigsResource) -> Result<Vec<Record>, PlanError> {
    let empty = BTreeMap::new();
    let topic = match &asked.resource {
        ConfigResource::Topic(name) => {
            checked_name(name)?;
            image.topic(name)
        }
        ConfigResource::Broker(_) => None,
    };
    let current = match &asked.resource {
        ConfigResource::Topic(_) => topic.map(|topic| &topic.configs),
        ConfigResource::Broker(node) => image.broker_configs.get(node),
    };
    let current = current.unwrap_or(&empty);
    let next = changed(image, asked, current)?;
    check(image, &asked.resource, current, &next)?;
    // As in Kafka: what is wrong with the configs comes before what is wrong with the resource.
    let record: &dyn Fn(String, Option<String>) -> Record = match (&asked.resource, topic) {
        (ConfigResource::Topic(name), None) => {
            return refuse(
                ErrorCode::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            );
        }
        (ConfigResource::Topic(_), Some(topic)) => &|name, value| Record::TopicConfig {
            id: topic.id,
            name,
            value,
        },
        (ConfigResource::Broker(Some(node)), _) if image.broker(*node).is_none() => {
            return refuse(
                ErrorCode::BrokerIdNotRegistered,
                format!("No broker with id {node} found."),
            );
        }
        (ConfigResource::Broker(node), _) => &|name, value| Record::BrokerConfig {
            node_id: *node,
            name,
            value,
        },
    };
    let names: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
    let differing = names.into_iter().filter(|name| current.get(*name) != next.get(*name));
    Ok(differing
        .map(|name| record(name.clone(), next.get(name).cloned()))
        .collect())
}

fn checked_name(topic: &str) -> Result<(), PlanError> {
    if topic.is_empty() {
        return refuse(
            ErrorCode::InvalidRequest,
            "Default topic resources are not allowed.".to_owned(),
        );
    }
    topic_name::check(topic)
}

/// The configs of the resource after the changes.
fn changed(
    image: &Image,
    asked: &AlterConfigsResource,
    current: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, PlanError> {
    let mut next = if asked.replace {
        BTreeMap::new()
    } else {
        current.clone()
    };
    let mut named = BTreeSet::new();
    for (name, change) in &asked.changes {
        if !named.insert(name) {
            return refuse(
                ErrorCode::InvalidRequest,
                format!("Error due to duplicate config keys: {name}"),
            );
        }
        if let ConfigChange::Set(operand) | ConfigChange::Append(operand) | ConfigChange::Subtract(operand) = change {
            topic_config::check_length(operand).map_err(|why| PlanError::new(ErrorCode::InvalidConfig, why))?;
        }
        let value = match change {
            ConfigChange::Delete => None,
            ConfigChange::Set(value) => {
                let kind = kind_of(&asked.resource, name);
                Some(kind.map_or_else(|| value.clone(), |kind| kind.stored(value)))
            }
            ConfigChange::Append(values) => {
                Some(listed(image, &asked.resource, name, values, current.get(name), true)?)
            }
            ConfigChange::Subtract(values) => {
                Some(listed(image, &asked.resource, name, values, current.get(name), false)?)
            }
        };
        match value {
            // Stored, it would only be shown.
            Some(_) if topic_config::is_tolerated(name) => None,
            Some(value) => next.insert(name.clone(), value),
            None => next.remove(name),
        };
    }
    Ok(next)
}

fn kind_of(resource: &ConfigResource, name: &str) -> Option<Kind> {
    match resource {
        ConfigResource::Topic(_) => topic_config::find(name).map(|known| known.kind),
        ConfigResource::Broker(_) => broker_config::kind(name),
    }
}

/// What planners decide with, by the name that brokers have for it.
fn is_planned_with(name: &str) -> bool {
    topic_config::find_synonym(name).is_some_and(|definition| definition.effect == Effect::Cluster)
}

/// Checks all configs that the resource would have.
fn check(
    image: &Image,
    resource: &ConfigResource,
    current: &BTreeMap<String, String>,
    next: &BTreeMap<String, String>,
) -> Result<(), PlanError> {
    let invalid = |why| PlanError::new(ErrorCode::InvalidConfig, why);
    match resource {
        ConfigResource::Topic(_) => {
            for (name, value) in next {
                topic_config::validate(name, value).map_err(invalid)?;
            }
            return topic_config::validate_together(image, next).map_err(invalid);
        }
        ConfigResource::Broker(node) => {
            for (name, value) in next {
                let kind = broker_config::kind(name).ok_or_else(|| {
                    let message = format!("Cannot update these configs dynamically: [{name}]");
                    PlanError::new(ErrorCode::InvalidRequest, message)
                })?;
                kind.check(name, value)
                    .map_err(|why| PlanError::new(ErrorCode::InvalidRequest, why))?;
                // Brokers that differ in it would make what planners decide wrong somewhere.
                if node.is_some() && is_planned_with(name) {
                    return Err(invalid(match name.as_str() {
                        MIN_ISR => format!("Broker-level {name} cannot be altered while ELR is enabled."),
                        _ => format!("{name} cannot be altered for a single broker"),
                    }));
                }
            }
        }
    }
    if *resource == ConfigResource::Broker(None) && current.contains_key(MIN_ISR) && !next.contains_key(MIN_ISR) {
        let message = format!("Cluster-level {MIN_ISR} cannot be removed while ELR is enabled.");
        return Err(invalid(message));
    }
    Ok(())
}

/// A list with values added or taken away (KIP-339).
fn listed(
    image: &Image,
    resource: &ConfigResource,
    name: &str,
    values: &str,
    current: Option<&String>,
    append: bool,
) -> Result<String, PlanError> {
    if !kind_of(resource, name).is_some_and(Kind::is_list) {
        let (operation, word) = if append {
            ("APPEND", "append")
        } else {
            ("SUBTRACT", "subtract")
        };
        let message = match resource {
            ConfigResource::Topic(_) => {
                format!("Can't {operation} to key {name} because its type is not LIST.")
            }
            ConfigResource::Broker(_) => format!("Config value {word} is not allowed for config key: {name}"),
        };
        return refuse(ErrorCode::InvalidConfig, message);
    }
    let of_topic = match resource {
        ConfigResource::Topic(_) => name,
        ConfigResource::Broker(_) => topic_config::find_synonym(name).map_or("", |known| known.name),
    };
    let inherited = topic_config::effective(image, None, of_topic).unwrap_or_default();
    let current = current.map_or(inherited, String::as_str);
    if append {
        return Ok(entries(&format!("{current},{values}")).join(","));
    }
    let operands: BTreeSet<&str> = entries(values).into_iter().collect();
    let mut list = entries(current);
    list.retain(|entry| !operands.contains(entry));
    Ok(list.join(","))
}

fn refuse<T>(code: ErrorCode, message: String) -> Result<T, PlanError> {
    Err(PlanError::new(code, message))
}
