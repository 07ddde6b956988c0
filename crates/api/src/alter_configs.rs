//! AlterConfigs (key 33) and IncrementalAlterConfigs (key 44): topics and brokers.

use crate::Services;
use crate::config_resource::{BROKER, TOPIC, broker_id, warn_without_effect};
use metadata::plan::{AlterConfigs, AlterConfigsResource, ConfigChange, ConfigResource, PlanError};
use metadata::{broker_config, topic_config};
use std::collections::{BTreeMap, BTreeSet};
use types::{ErrorCode, NodeId, limits};
use wire::StrBytes;
use wire::messages::alter_configs_response::{self, AlterConfigsResponse};
use wire::messages::incremental_alter_configs_response::{self, IncrementalAlterConfigsResponse};
use wire::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};

/// One resource of either request. The operation's number is KIP-339's.
struct Asked {
    resource_type: i8,
    name: StrBytes,
    changes: Vec<(StrBytes, i8, Option<StrBytes>)>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn answer(services: &Services, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(|of| Asked {
        resource_type: of.resource_type,
        name: of.resource_name,
        changes: of.configs.into_iter().map(|c| (c.name, SET, c.value)).collect(),
    });
    let answers = alter(services, asked.collect(), true, request.validate_only).await;
    let responses = answers.into_iter().map(|(of, error)| {
        let (code, message) = told(error);
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(of.resource_type)
            .with_resource_name(of.name)
            .with_error_code(code)
            .with_error_message(message)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

pub(crate) async fn answer_incremental(
    services: &Services,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.into_iter().map(|of| Asked {
        resource_type: of.resource_type,
        name: of.resource_name,
        changes: of
            .configs
            .into_iter()
            .map(|c| (c.name, c.config_operation, c.value))
            .collect(),
    });
    let answers = alter(services, asked.collect(), false, request.validate_only).await;
    let responses = answers.into_iter().map(|(of, error)| {
        let (code, message) = told(error);
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(of.resource_type)
            .with_resource_name(of.name)
            .with_error_code(code)
            .with_error_message(message)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn told(error: Option<PlanError>) -> (i16, Option<StrBytes>) {
    let Some(error) = error else { return (0, None) };
    let message = (!error.message.is_empty()).then(|| error.message.into());
    (error.code.code(), message)
}

/// An answer for every resource, in order. What needs no planner to refuse does not reach the controller.
async fn alter(
    services: &Services,
    asked: Vec<Asked>,
    replace: bool,
    validate_only: bool,
) -> Vec<(Asked, Option<PlanError>)> {
    let failed = |code| PlanError {
        code,
        message: String::new(),
    };
    if asked.len() > limits::ADMIN_RESOURCES_MAX {
        let refused = |of| (of, Some(failed(ErrorCode::InvalidRequest)));
        return asked.into_iter().map(refused).collect();
    }
    let mut named: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for of in &asked {
        *named.entry((of.resource_type, of.name.as_str())).or_default() += 1;
    }
    let checked: Vec<Result<AlterConfigsResource, PlanError>> = asked
        .iter()
        .map(|of| match named.get(&(of.resource_type, of.name.as_str())) {
            Some(1) => checked(of, services.node_id, replace),
            _ => invalid("Each resource must appear at most once."),
        })
        .collect();
    let resources: Vec<AlterConfigsResource> = checked.iter().flatten().cloned().collect();
    let count = resources.len();
    let outcomes = if resources.is_empty() {
        Ok(Vec::new())
    } else {
        let command = AlterConfigs {
            resources,
            validate_only,
        };
        services.control.alter_configs(command).await
    };
    let outcomes = outcomes.unwrap_or_else(|code| vec![Err(failed(code)); count]);
    let mut outcomes = outcomes.into_iter();
    let mut next = |resource: AlterConfigsResource| {
        outcomes
            .next()
            .unwrap_or_else(|| Err(failed(ErrorCode::UnknownServerError)))?;
        if !validate_only {
            warn_of_what_has_no_effect(&resource);
        }
        Ok(())
    };
    let answers = checked.into_iter().map(|checked| checked.and_then(&mut next).err());
    let answers: Vec<_> = answers.collect();
    asked.into_iter().zip(answers).collect()
}

fn checked(of: &Asked, me: NodeId, replace: bool) -> Result<AlterConfigsResource, PlanError> {
    let mut names = BTreeSet::new();
    if !of.changes.iter().all(|(name, ..)| names.insert(name.as_str())) {
        return invalid("Error due to duplicate config keys");
    }
    let without_value = of
        .changes
        .iter()
        .filter(|(_, operation, value)| *operation != DELETE && value.is_none());
    let without_value: Vec<&str> = without_value.map(|(name, ..)| name.as_str()).collect();
    if !without_value.is_empty() {
        return invalid(format!("Null value not supported for : {}", without_value.join(", ")));
    }
    let resource = match of.resource_type {
        TOPIC => ConfigResource::Topic(of.name.to_string()),
        BROKER if of.name.is_empty() => ConfigResource::Broker(None),
        BROKER => ConfigResource::Broker(Some(broker_id(&of.name, me, "").or_else(invalid)?)),
        other => return invalid(format!("Unknown resource type {other}")),
    };
    let change = |(name, operation, value): &(StrBytes, i8, Option<StrBytes>)| {
        let value = value.as_ref().map(ToString::to_string).unwrap_or_default();
        let change = match *operation {
            SET => ConfigChange::Set(value),
            DELETE => ConfigChange::Delete,
            APPEND => ConfigChange::Append(value),
            SUBTRACT => ConfigChange::Subtract(value),
            other => return invalid(format!("Unknown operations type {other}")),
        };
        Ok((name.to_string(), change))
    };
    Ok(AlterConfigsResource {
        resource,
        changes: of.changes.iter().map(change).collect::<Result<_, _>>()?,
        replace,
    })
}

fn invalid<T>(message: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError {
        code: ErrorCode::InvalidRequest,
        message: message.into(),
    })
}

fn warn_of_what_has_no_effect(altered: &AlterConfigsResource) {
    let (resource, why): (String, fn(&str) -> Option<&'static str>) = match &altered.resource {
        ConfigResource::Topic(name) => (format!("topic {name}"), topic_config::without_effect),
        ConfigResource::Broker(None) => ("all brokers".to_owned(), broker_config::without_effect),
        ConfigResource::Broker(Some(node)) => (format!("broker {node}"), broker_config::without_effect),
    };
    for (name, change) in &altered.changes {
        if let (ConfigChange::Set(value) | ConfigChange::Append(value), Some(why)) = (change, why(name)) {
            warn_without_effect(&resource, name, value, why);
        }
    }
}

#[cfg(test)]
mod tests;
