use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError};
use crate::{Image, Record, topic_config};
use std::collections::{BTreeMap, BTreeSet};
use topic_config::Definition;
use types::{ErrorCode, NodeId};

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
/// Errors per resource: `UNKNOWN_TOPIC_OR_PARTITION`, `BROKER_ID_NOT_REGISTERED`, `INVALID_CONFIG`,
/// `INVALID_REQUEST`.
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
            refuse(ErrorCode::InvalidRequest, "The resource is named twice".to_owned())
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
    for (tp, topic, _) in before.partitions() {
        let Some(topic_after) = after.topic_by_id(topic.id) else {
            continue;
        };
        let (old, new) = (Rules::of(before, topic), Rules::of(after, topic_after));
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
    let (current, topic) = match &asked.resource {
        ConfigResource::Topic(name) => {
            let Some(topic) = image.topic(name) else {
                return refuse(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("The topic '{name}' does not exist."),
                );
            };
            (&topic.configs, Some(topic))
        }
        ConfigResource::Broker(node) => {
            if let Some(node) = node
                && image.broker(*node).is_none()
            {
                return refuse(
                    ErrorCode::BrokerIdNotRegistered,
                    format!("Broker ID {node} is not registered"),
                );
            }
            (image.broker_configs.get(node).unwrap_or(&empty), None)
        }
    };
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
        let definition = find(&asked.resource, name)?;
        match changed_value(image, definition, name, change, current.get(name))? {
            Some(value) => next.insert(name.clone(), value),
            None => next.remove(name),
        };
    }
    let names: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
    let differing = names.into_iter().filter(|name| current.get(*name) != next.get(*name));
    let record = |name: &String| {
        let (name, value) = (name.clone(), next.get(name).cloned());
        match (topic, &asked.resource) {
            (Some(topic), _) => Record::TopicConfig {
                id: topic.id,
                name,
                value,
            },
            (None, ConfigResource::Broker(node)) => Record::BrokerConfig {
                node_id: *node,
                name,
                value,
            },
            (None, ConfigResource::Topic(_)) => Record::BrokerConfig {
                node_id: None,
                name,
                value,
            },
        }
    };
    Ok(differing.map(record).collect())
}

fn find(resource: &ConfigResource, name: &str) -> Result<&'static Definition, PlanError> {
    let invalid = |message| PlanError::new(ErrorCode::InvalidConfig, message);
    match resource {
        ConfigResource::Topic(_) => {
            topic_config::find(name).ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))
        }
        // Planners decide with these; brokers that differ would make what they decide wrong somewhere.
        ConfigResource::Broker(Some(_))
            if matches!(
                name,
                "min.insync.replicas" | "unclean.leader.election.enable" | "log.flush.interval.messages"
            ) =>
        {
            Err(invalid(format!("{name} cannot be altered for a single broker")))
        }
        ConfigResource::Broker(_) => topic_config::find_synonym(name)
            .ok_or_else(|| invalid(format!("Cannot update these configs dynamically: {name}"))),
    }
}

/// The value after the change; `None` removes it.
fn changed_value(
    image: &Image,
    definition: &'static Definition,
    name: &str,
    change: &ConfigChange,
    current: Option<&String>,
) -> Result<Option<String>, PlanError> {
    let value = match change {
        ConfigChange::Delete => return Ok(None),
        ConfigChange::Set(value) => value.trim().to_owned(),
        ConfigChange::Append(_) | ConfigChange::Subtract(_) if !definition.kind.is_list() => {
            return refuse(
                ErrorCode::InvalidConfig,
                format!("Config value append is not allowed for config key: {name}"),
            );
        }
        ConfigChange::Append(values) | ConfigChange::Subtract(values) => {
            let inherited = topic_config::effective(image, None, definition.name).unwrap_or_default();
            let mut list = entries(current.map_or(inherited, String::as_str));
            let operands = entries(values);
            let append = matches!(change, ConfigChange::Append(_));
            list.retain(|entry| append || !operands.contains(entry));
            if append {
                let added: Vec<&str> = operands.into_iter().filter(|entry| !list.contains(entry)).collect();
                list.extend(added);
            }
            list.join(",")
        }
    };
    definition
        .kind
        .check(name, &value)
        .map_err(|why| PlanError::new(ErrorCode::InvalidConfig, why))?;
    Ok(Some(value))
}

fn entries(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect()
}

fn refuse<T>(code: ErrorCode, message: String) -> Result<T, PlanError> {
    Err(PlanError::new(code, message))
}
