use super::Plan;
use crate::{Image, Record};
use std::collections::BTreeSet;
use types::{ErrorCode, TopicId};

/// A topic by name or by id (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRef {
    Name(String),
    Id(TopicId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<String>,
    pub id: TopicId,
    /// `NONE`, `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, or `INVALID_REQUEST` for a topic named twice.
    pub error: ErrorCode,
}

/// Deletes topics; one answer each, in order.
#[must_use]
pub fn delete_topics(image: &Image, topics: &[TopicRef]) -> Plan<Vec<DeletedTopic>> {
    let mut deleted = BTreeSet::new();
    let mut records = Vec::new();
    let mut answer = |topic: &TopicRef| {
        let found = match topic {
            TopicRef::Name(name) => image.topic(name),
            TopicRef::Id(id) => image.topic_by_id(*id),
        };
        match (found, topic) {
            (Some(found), _) if deleted.insert(found.id) => {
                records.push(Record::TopicRemoved { id: found.id });
                DeletedTopic {
                    name: Some(found.name.clone()),
                    id: found.id,
                    error: ErrorCode::None,
                }
            }
            (Some(found), _) => DeletedTopic {
                name: Some(found.name.clone()),
                id: found.id,
                error: ErrorCode::InvalidRequest,
            },
            (None, TopicRef::Name(name)) => DeletedTopic {
                name: Some(name.clone()),
                id: TopicId::ZERO,
                error: ErrorCode::UnknownTopicOrPartition,
            },
            (None, TopicRef::Id(id)) => DeletedTopic {
                name: None,
                id: *id,
                error: ErrorCode::UnknownTopicId,
            },
        }
    };
    let response = topics.iter().map(&mut answer).collect();
    Plan { records, response }
}
