//! CreateTopics (key 19).

use crate::config_resource::warn_without_effect;
use crate::control::{CreatedTopic, NewTopic};
use crate::{Services, control, topic_name};
use metadata::{Image, TopicImage, topic_config};
use std::collections::{BTreeMap, BTreeSet};
use types::{ErrorCode, NodeId, TopicId};
use wire::StrBytes;
use wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse};

pub(crate) async fn answer(services: &Services, request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let repeated = repeated(&request);
    let mut planned = Vec::new();
    for topic in &request.topics {
        if refusal(topic, version, &repeated).is_none() {
            planned.push(new_topic(topic));
        }
    }
    let created = if planned.is_empty() {
        Ok(Vec::new())
    } else {
        services
            .control
            .create_topics(
                planned.clone(),
                request.validate_only,
                control::timeout(request.timeout_ms),
            )
            .await
    };
    let image = services.image();
    let mut next = planned.into_iter().zip(match &created {
        Ok(topics) => topics.clone(),
        Err(_) => Vec::new(),
    });
    let results = request.topics.iter().map(|topic| {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        if let Some((code, message)) = refusal(topic, version, &repeated) {
            return failed(result, code, Some(message));
        }
        let outcome = next.next();
        if let Some((asked, created)) = &outcome
            && !request.validate_only
            && created.error.is_none()
        {
            warn_of_what_has_no_effect(asked);
        }
        match (&created, outcome) {
            (Err(code), _) => failed(result, *code, None),
            (Ok(_), Some((asked, created))) => succeeded(&image, services, result, asked, created),
            (Ok(_), None) => failed(result, ErrorCode::UnknownServerError, None),
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn repeated(request: &CreateTopicsRequest) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let names = request.topics.iter().map(|topic| topic.name.0.as_str());
    names.filter(|name| !seen.insert(*name)).map(str::to_owned).collect()
}

/// What needs no planner to refuse; names, counts and configs are the planner's to check.
fn refusal(topic: &CreatableTopic, version: i16, repeated: &BTreeSet<String>) -> Option<(ErrorCode, String)> {
    let name = topic.name.0.as_str();
    if repeated.contains(name) {
        return Some((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned()));
    }
    if name == topic_name::CLUSTER_METADATA {
        return Some((
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {name} is prohibited."),
        ));
    }
    let defaults = topic.num_partitions == -1 || topic.replication_factor == -1;
    if version < 4 && topic.assignments.is_empty() && defaults {
        let message = "Creating topics with default partitions/replication factor are only supported in \
                       CreateTopicRequest version 4+.";
        return Some((ErrorCode::UnsupportedVersion, message.to_owned()));
    }
    if !topic.assignments.is_empty() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let message =
            "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Some((ErrorCode::InvalidRequest, message.to_owned()));
    }
    None
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let assignment = |a: &wire::messages::create_topics_request::CreatableReplicaAssignment| {
        (a.partition_index, a.broker_ids.iter().map(|id| NodeId(id.0)).collect())
    };
    let config = |c: &wire::messages::create_topics_request::CreatableTopicConfig| {
        (c.name.to_string(), c.value.as_ref().map(ToString::to_string))
    };
    NewTopic {
        name: topic.name.0.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
    }
}

fn warn_of_what_has_no_effect(topic: &NewTopic) {
    for (name, value) in &topic.configs {
        if let Some(why) = topic_config::without_effect(name) {
            let value = value.as_deref().unwrap_or_default();
            warn_without_effect(&format!("topic {}", topic.name), name, value, why);
        }
    }
}

fn failed(result: CreatableTopicResult, code: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    result
        .with_error_code(code.code())
        .with_error_message(message.map(StrBytes::from))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}

/// The topic with the configs it has (KIP-525): its own, and the defaults of the image.
fn succeeded(
    image: &Image,
    services: &Services,
    result: CreatableTopicResult,
    asked: NewTopic,
    created: CreatedTopic,
) -> CreatableTopicResult {
    if !created.error.is_none() {
        return failed(result, created.error, created.message);
    }
    let own: BTreeMap<String, String> = asked.configs.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    let topic = TopicImage {
        id: created.id,
        name: asked.name,
        internal: false,
        configs: own,
        partitions: Vec::new(),
        created_short: false,
    };
    let configs = topic_config::describe(image, &topic, services.local())
        .into_iter()
        .map(|line| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(line.definition.name))
                .with_value(Some(line.value.into()))
                .with_config_source(line.source as i8)
        });
    let TopicId(id) = created.id;
    result
        .with_topic_id(id)
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};
    use crate::test_node::{TestNode, run};
    use wire::messages::create_topics_request::CreatableTopicConfig;

    #[test]
    fn refusals_without_the_planner() {
        let twice = repeated(&CreateTopicsRequest::default().with_topics(vec![topic("a", 1, 1), topic("a", 1, 1)]));
        let table = [
            (topic("a", 1, 1), 7, Some(ErrorCode::InvalidRequest)),
            (topic("b", -1, -1), 3, Some(ErrorCode::UnsupportedVersion)),
            (topic("b", -1, -1), 4, None),
            (topic("b", 1, 1), 0, None),
            (topic("__cluster_metadata", 1, 1), 7, Some(ErrorCode::InvalidRequest)),
        ];
        for (topic, version, expected) in table {
            assert_eq!(
                refusal(&topic, version, &twice).map(|(code, _)| code),
                expected,
                "{topic:?} v{version}"
            );
        }
    }

    fn topic(name: &'static str, partitions: i32, factor: i16) -> CreatableTopic {
        CreatableTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
    }

    /// Answers stand in the order of the request, whichever of them the planner saw.
    #[test]
    fn answers_keep_their_topics() {
        let node = TestNode::new(cluster());
        let created = |error, message: Option<&str>| CreatedTopic {
            id: topic_id(50),
            error,
            message: message.map(str::to_owned),
            partitions: 4,
            replication_factor: 2,
        };
        node.control.created.borrow_mut().extend([
            created(ErrorCode::TopicAlreadyExists, Some("Topic 'b' already exists.")),
            created(ErrorCode::None, None),
        ]);
        let config = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("retention.ms"))
            .with_value(Some(StrBytes::from_static_str("5")));
        let request = CreateTopicsRequest::default()
            .with_validate_only(true)
            .with_topics(vec![
                topic("a", 1, 1),
                topic("b", 1, 1),
                topic("__cluster_metadata", 1, 1),
                topic("c", 4, 2).with_configs(vec![config]),
                topic("a", 1, 1),
            ]);
        let response = run(answer(&node.services, request, 7));
        let told: Vec<_> = response
            .topics
            .iter()
            .map(|t| {
                (
                    t.name.0.to_string(),
                    t.error_code,
                    t.num_partitions,
                    t.replication_factor,
                )
            })
            .collect();
        let refused = ErrorCode::InvalidRequest.code();
        assert_eq!(
            told,
            [
                ("a".into(), refused, -1, -1),
                ("b".into(), ErrorCode::TopicAlreadyExists.code(), -1, -1),
                ("__cluster_metadata".into(), refused, -1, -1),
                ("c".into(), 0, 4, 2),
                ("a".into(), refused, -1, -1),
            ]
        );
        assert_eq!(
            response.topics[1].error_message.as_deref(),
            Some("Topic 'b' already exists.")
        );
        assert_eq!(response.topics[3].topic_id, topic_id(50).0);
        let configs = response.topics[3].configs.as_ref().unwrap();
        let own = configs.iter().find(|c| c.name.as_str() == "retention.ms").unwrap();
        assert_eq!((own.value.as_deref(), own.config_source), (Some("5"), 1));
        let asked = node.control.creations.borrow();
        let names: Vec<_> = asked[0].0.iter().map(|t| t.name.as_str()).collect();
        assert_eq!((names, asked[0].1), (vec!["b", "c"], true));
    }

    #[test]
    fn a_failure_of_the_call_is_each_topics() {
        let node = TestNode::new(cluster());
        node.control.error.set(Some(ErrorCode::RequestTimedOut));
        let request = CreateTopicsRequest::default().with_topics(vec![topic("a", 1, 1), topic("b", 1, 1)]);
        let response = run(answer(&node.services, request, 7));
        let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [ErrorCode::RequestTimedOut.code(); 2]);
    }
}
