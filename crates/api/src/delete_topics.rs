//! DeleteTopics (key 20).

use crate::Services;
use crate::control::TopicRef;
use std::collections::BTreeMap;
use types::{ErrorCode, TopicId};
use wire::StrBytes;
use wire::messages::delete_topics_request::DeleteTopicsRequest;
use wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

pub(crate) async fn answer(services: &Services, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let asked = asked(&request, version);
    if !services.settings.delete_topic_enable {
        let code = if version < 3 {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        return response(asked.into_iter().map(|topic| (topic.ok(), code)));
    }
    let mut counts: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in asked.iter().flatten() {
        *counts.entry(topic).or_default() += 1;
    }
    let valid = |topic: &&TopicRef| counts.get(*topic) == Some(&1);
    let planned: Vec<TopicRef> = asked.iter().flatten().filter(valid).cloned().collect();
    let mut errors: BTreeMap<TopicRef, ErrorCode> = BTreeMap::new();
    if !planned.is_empty() {
        match services.control.delete_topics(planned.clone()).await {
            Ok(deleted) => errors.extend(planned.into_iter().zip(deleted.into_iter().map(|d| d.error))),
            Err(code) => errors.extend(planned.into_iter().map(|topic| (topic, code))),
        }
    }
    response(asked.into_iter().map(|topic| match topic {
        // Named twice, or both or neither of name and id.
        Ok(topic) => {
            let code = errors.get(&topic).copied().unwrap_or(ErrorCode::InvalidRequest);
            (Some(topic), code)
        }
        Err(code) => (None, code),
    }))
}

fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<Result<TopicRef, ErrorCode>> {
    if version < 6 {
        return request
            .topic_names
            .iter()
            .map(|name| Ok(TopicRef::Name(name.0.to_string())))
            .collect();
    }
    let one = |topic: &wire::messages::delete_topics_request::DeleteTopicState| match (&topic.name, topic.topic_id) {
        (Some(name), id) if id.is_nil() => Ok(TopicRef::Name(name.0.to_string())),
        (None, id) if !id.is_nil() => Ok(TopicRef::Id(TopicId(id))),
        _ => Err(ErrorCode::InvalidRequest),
    };
    request.topics.iter().map(one).collect()
}

fn response(topics: impl Iterator<Item = (Option<TopicRef>, ErrorCode)>) -> DeleteTopicsResponse {
    let result = |(topic, code): (Option<TopicRef>, ErrorCode)| {
        let result = DeletableTopicResult::default()
            .with_name(None)
            .with_error_code(code.code());
        match topic {
            Some(TopicRef::Name(name)) => result.with_name(Some(StrBytes::from(name).into())),
            Some(TopicRef::Id(id)) => result.with_topic_id(id.0),
            None => result,
        }
    };
    DeleteTopicsResponse::default().with_responses(topics.map(result).collect())
}
