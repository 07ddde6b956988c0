//! DeleteTopics (key 20).

use crate::control::{DeletedTopic, TopicRef};
use crate::{Services, control};
use metadata::Image;
use std::collections::BTreeMap;
use types::{ErrorCode, TopicId};
use wire::StrBytes;
use wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

pub(crate) async fn answer(services: &Services, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let asked = asked(&request, version);
    if !services.settings.delete_topic_enable {
        let code = if version < 3 {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        return response(asked.into_iter().map(|topic| match topic {
            Ok(topic) => refused(topic, code, "Topic deletion is disabled."),
            Err(refused) => refused,
        }));
    }
    let mut counts: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in asked.iter().flatten() {
        *counts.entry(topic).or_default() += 1;
    }
    let valid = |topic: &&TopicRef| counts.get(*topic) == Some(&1);
    let planned: Vec<TopicRef> = asked.iter().flatten().filter(valid).cloned().collect();
    let mut outcomes: BTreeMap<TopicRef, DeletedTopic> = BTreeMap::new();
    if !planned.is_empty() {
        let image = services.image();
        let timeout = control::timeout(request.timeout_ms);
        let deleted = match services.control.delete_topics(planned.clone(), timeout).await {
            Ok(deleted) => deleted,
            Err(error) => planned.iter().map(|topic| named(topic, error)).collect(),
        };
        let told = planned
            .iter()
            .zip(deleted)
            .map(|(topic, deleted)| (topic.clone(), completed(&image, topic, deleted)));
        outcomes.extend(told);
    }
    response(asked.into_iter().map(|topic| match topic {
        Ok(topic) => match (outcomes.get(&topic), &topic) {
            (Some(deleted), _) => result(deleted),
            (None, TopicRef::Name(_)) => refused(topic, ErrorCode::InvalidRequest, "Duplicate topic name."),
            (None, TopicRef::Id(_)) => refused(topic, ErrorCode::InvalidRequest, "Duplicate topic id."),
        },
        Err(refused) => refused,
    }))
}

/// The topics in order; what names none, or one in two ways, is refused already.
fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<Result<TopicRef, DeletableTopicResult>> {
    if version < 6 {
        let names = request.topic_names.iter();
        return names.map(|name| Ok(TopicRef::Name(name.0.to_string()))).collect();
    }
    let one = |topic: &DeleteTopicState| match (&topic.name, topic.topic_id) {
        (Some(name), id) if id.is_nil() => Ok(TopicRef::Name(name.0.to_string())),
        (None, id) if !id.is_nil() => Ok(TopicRef::Id(TopicId(id))),
        (name, id) => {
            let message = if name.is_some() {
                "You may not specify both topic name and topic id."
            } else {
                "Neither topic name nor id were specified."
            };
            Err(DeletableTopicResult::default()
                .with_name(name.clone())
                .with_topic_id(id)
                .with_error_code(ErrorCode::InvalidRequest.code())
                .with_error_message(Some(StrBytes::from_static_str(message))))
        }
    };
    request.topics.iter().map(one).collect()
}

fn named(topic: &TopicRef, error: ErrorCode) -> DeletedTopic {
    let (name, id) = match topic {
        TopicRef::Name(name) => (Some(name.clone()), TopicId::ZERO),
        TopicRef::Id(id) => (None, *id),
    };
    DeletedTopic { name, id, error }
}

/// With the name and the id that the topic had, where one of them was asked for; one that is not known is answered
/// as it was asked for.
fn completed(image: &Image, asked: &TopicRef, deleted: DeletedTopic) -> DeletedTopic {
    let asked = named(asked, deleted.error);
    let known = match &asked.name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(asked.id),
    };
    let known = known.filter(|_| deleted.error.is_none());
    let id = [deleted.id, asked.id, known.map_or(TopicId::ZERO, |topic| topic.id)];
    DeletedTopic {
        name: asked.name.or(deleted.name).or(known.map(|topic| topic.name.clone())),
        id: id.into_iter().find(|id| !id.is_zero()).unwrap_or(TopicId::ZERO),
        error: deleted.error,
    }
}

fn result(deleted: &DeletedTopic) -> DeletableTopicResult {
    let message = match deleted.error {
        ErrorCode::None => None,
        ErrorCode::UnknownTopicOrPartition => Some("This server does not host this topic-partition.".to_owned()),
        ErrorCode::UnknownTopicId => Some("This server does not host this topic ID.".to_owned()),
        other => Some(other.to_string()),
    };
    DeletableTopicResult::default()
        .with_name(deleted.name.clone().map(|name| StrBytes::from(name).into()))
        .with_topic_id(deleted.id.0)
        .with_error_code(deleted.error.code())
        .with_error_message(message.map(StrBytes::from))
}

fn refused(topic: TopicRef, code: ErrorCode, message: &'static str) -> DeletableTopicResult {
    result(&named(&topic, code)).with_error_message(Some(StrBytes::from_static_str(message)))
}

fn response(topics: impl Iterator<Item = DeletableTopicResult>) -> DeleteTopicsResponse {
    DeleteTopicsResponse::default().with_responses(topics.collect())
}

#[cfg(test)]
mod tests;
