use super::{Planned, code};
use crate::envelope::refusal;
use crate::messages::{bytes_of, topic_id};
use metadata::{Image, plan};
use raft::pb;
use raft::pb::controller_reply::Reply;
use types::ErrorCode;

pub(super) fn plan(image: &Image, delete: &pb::DeleteTopicsRequest) -> Planned {
    // ◆ Whoever asked cannot have meant a topic that is younger than what it knew: its own first attempt may have deleted
    // the one that it meant, or a late copy of a request arrives.
    let is_newer = |name: &String| {
        let first = image.topic(name).and_then(|topic| topic.partitions.first());
        delete.known_index != 0 && first.is_some_and(|first| first.incarnation.0 > delete.known_index)
    };
    if let Some(name) = delete.names.iter().find(|name| is_newer(name)) {
        let why = format!("whether topic '{name}' was deleted before the one that has its name now is not known");
        let again = pb::DeleteTopicsReply {
            topics: Vec::new(),
            again_after: image.index.0,
        };
        return Planned {
            records: Vec::new(),
            reply: if delete.repeated {
                refusal(ErrorCode::RequestTimedOut, why)
            } else {
                Reply::DeleteTopics(again)
            },
        };
    }
    // One of the two is empty for each; by position, names first where both are there.
    let names = delete
        .names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| plan::TopicRef::Name(name.clone()));
    let ids = delete
        .topic_ids
        .iter()
        .filter(|id| !id.is_empty())
        .map(|id| plan::TopicRef::Id(topic_id(id)));
    let topics: Vec<_> = names.chain(ids).collect();
    let plan = plan::delete_topics(image, &topics);
    let answers = plan.response.into_iter().map(|deleted| pb::DeletedTopicMessage {
        name: deleted.name.unwrap_or_default(),
        topic_id: bytes_of(deleted.id.0),
        error_code: code(deleted.error),
    });
    Planned {
        reply: Reply::DeleteTopics(pb::DeleteTopicsReply {
            topics: answers.collect(),
            again_after: 0,
        }),
        records: plan.records,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{PartitionImage, Record};
    use types::{LogIndex, NodeId, TopicPartition};

    const CREATED_AT: u64 = 5;

    fn image() -> Image {
        let mut image = Image::default();
        let id = topic_id(&[7; 16]);
        let topic = Record::Topic {
            id,
            name: "orders".to_owned(),
            internal: false,
            configs: std::collections::BTreeMap::new(),
            created_short: false,
        };
        let partition = Record::Partition {
            tp: TopicPartition {
                topic: id,
                partition: 0,
            },
            partition: Box::new(PartitionImage {
                replicas: vec![NodeId(1)],
                directories: vec![types::DirectoryId::default()],
                isr: vec![NodeId(1)],
                leader: Some(NodeId(1)),
                ..PartitionImage::default()
            }),
        };
        image.apply_all(LogIndex(CREATED_AT), &[topic, partition]).unwrap();
        image
    }

    fn ask(known_index: u64, repeated: bool) -> Planned {
        let delete = pb::DeleteTopicsRequest {
            names: vec!["orders".to_owned()],
            known_index,
            repeated,
            ..pb::DeleteTopicsRequest::default()
        };
        plan(&image(), &delete)
    }

    #[test]
    fn a_name_means_the_topic_that_had_it_when_it_was_asked_for() {
        for known in [0, CREATED_AT, CREATED_AT + 1] {
            for repeated in [false, true] {
                assert_eq!(ask(known, repeated).records.len(), 1, "{known}: deleted");
            }
        }
        let older = ask(CREATED_AT - 1, false);
        assert!(older.records.is_empty());
        let Reply::DeleteTopics(reply) = older.reply else {
            panic!("{:?}", older.reply);
        };
        assert_eq!(reply.again_after, CREATED_AT);
        let repeated = ask(CREATED_AT - 1, true);
        assert!(repeated.records.is_empty());
        let Reply::Refusal(refused) = repeated.reply else {
            panic!("{:?}", repeated.reply);
        };
        assert_eq!(refused.error_code, code(ErrorCode::RequestTimedOut));
    }
}
