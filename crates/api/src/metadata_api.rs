//! Metadata (key 3).

use crate::automatic_creation::create_in_background;
use crate::control::NewTopic;
use crate::listed_brokers::ListedBrokers;
use crate::partition_state::{any_live_broker, ids, offline, reachable_leader};
use crate::{Services, operations, topic_name};
use ::metadata::{Image, TopicImage, is_internal};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use types::{ErrorCode, Monotonic, NodeId, TopicId};
use wire::StrBytes;
use wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

/// The answer without its brokers, and the topics of it to be created.
struct Described {
    response: MetadataResponse,
    missing: Vec<String>,
}

pub(crate) fn answer(services: &Rc<Services>, request: &MetadataRequest, version: i16) -> MetadataResponse {
    let create = services.settings.auto_create_topics_enable && (version < 4 || request.allow_auto_topic_creation);
    let image = services.image();
    let mut described = describe(&image, request, version, create, services.host.random_u64());
    described.response.brokers = brokers(&image, &mut services.listed.borrow_mut(), services.host.now());
    for name in described.missing {
        create_in_background(services, automatic(name));
    }
    described.response
}

/// What a client named, with the cluster's defaults. Kafka answers UNKNOWN_TOPIC_OR_PARTITION while it creates, and so the
/// client asks again.
fn automatic(name: String) -> NewTopic {
    NewTopic {
        name,
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: BTreeMap::new(),
    }
}

fn describe(image: &Image, request: &MetadataRequest, version: i16, create: bool, random: u64) -> Described {
    let topic_operations = operations::of_topic(request.include_topic_authorized_operations);
    let mut missing = Vec::new();
    let mut topics = Vec::new();
    match &request.topics {
        Some(wanted) if version > 0 || !wanted.is_empty() => {
            // Each once, as in Kafka: a topic's name is short and its answer is not.
            let mut told = BTreeSet::new();
            for topic in wanted {
                if told.insert((topic.topic_id, topic.name.as_ref().map(|name| name.0.as_str()))) {
                    topics.push(one(image, topic, version, create, &mut missing));
                }
            }
        }
        // Version 0 says all with an empty list, later ones with null.
        _ => {
            topics.extend(
                image
                    .names
                    .values()
                    .filter_map(|id| image.topics.get(id))
                    .map(|t| found(image, t, version)),
            );
        }
    }
    for topic in &mut topics {
        topic.topic_authorized_operations = topic_operations;
    }
    let response = MetadataResponse::default()
        .with_cluster_id(image.cluster_id.clone().map(StrBytes::from))
        .with_controller_id(any_live_broker(image, random))
        .with_cluster_authorized_operations(operations::of_cluster(request.include_cluster_authorized_operations))
        .with_topics(topics);
    Described { response, missing }
}

fn brokers(image: &Image, listed: &mut ListedBrokers, now: Monotonic) -> Vec<MetadataResponseBroker> {
    listed.look(image, now);
    let shown = image.brokers.values().filter(|broker| listed.contains(broker.node_id));
    shown
        .map(|broker| {
            MetadataResponseBroker::default()
                .with_node_id(broker.node_id.0.into())
                .with_host(broker.kafka.host.clone().into())
                .with_port(i32::from(broker.kafka.port))
                .with_rack(broker.rack.clone().map(StrBytes::from))
        })
        .collect()
}

fn one(
    image: &Image,
    wanted: &MetadataRequestTopic,
    version: i16,
    create: bool,
    missing: &mut Vec<String>,
) -> MetadataResponseTopic {
    let by_id = !wanted.topic_id.is_nil();
    if by_id {
        return match image.topic_by_id(TopicId(wanted.topic_id)) {
            Some(topic) => found(image, topic, version),
            None => MetadataResponseTopic::default()
                .with_error_code(ErrorCode::UnknownTopicId.code())
                .with_name(None)
                .with_topic_id(wanted.topic_id),
        };
    }
    let failed = |code: ErrorCode| {
        MetadataResponseTopic::default()
            .with_error_code(code.code())
            .with_name(wanted.name.clone())
    };
    let Some(name) = &wanted.name else {
        return failed(ErrorCode::InvalidRequest);
    };
    if let Some(topic) = image.topic(&name.0) {
        return found(image, topic, version);
    }
    if topic_name::problem(&name.0).is_some() {
        return failed(ErrorCode::InvalidTopicException);
    }
    // The coordinators make their own topics, and the metadata log is none.
    if create && !is_internal(&name.0) && &*name.0 != topic_name::CLUSTER_METADATA {
        missing.push(name.0.to_string());
    }
    failed(ErrorCode::UnknownTopicOrPartition).with_is_internal(is_internal(&name.0))
}

fn found(image: &Image, topic: &TopicImage, version: i16) -> MetadataResponseTopic {
    let partitions = (0i32..).zip(&topic.partitions).map(|(index, partition)| {
        let (leader, mut error) = reachable_leader(image, partition);
        // Version 0 takes replicas for brokers that it can reach.
        let shown = |nodes: &[NodeId]| ids(nodes.iter().filter(|node| version > 0 || image.alive(**node)));
        let (replicas, isr) = (shown(&partition.replicas), shown(&partition.isr));
        let all = replicas.len() == partition.replicas.len() && isr.len() == partition.isr.len();
        if error.is_none() && !all {
            error = ErrorCode::ReplicaNotAvailable;
        }
        MetadataResponsePartition::default()
            .with_error_code(error.code())
            .with_partition_index(index)
            .with_leader_id(leader)
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(replicas)
            .with_isr_nodes(isr)
            .with_offline_replicas(offline(image, partition))
    });
    MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from(topic.name.clone()).into()))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};

    fn request(topics: Option<Vec<&str>>) -> MetadataRequest {
        let named =
            |name: &str| MetadataRequestTopic::default().with_name(Some(StrBytes::from(name.to_owned()).into()));
        MetadataRequest::default().with_topics(topics.map(|t| t.into_iter().map(named).collect()))
    }

    fn names(described: &Described) -> Vec<(String, i16)> {
        let name = |t: &MetadataResponseTopic| t.name.as_ref().map_or(String::new(), |n| n.0.to_string());
        described
            .response
            .topics
            .iter()
            .map(|t| (name(t), t.error_code))
            .collect()
    }

    #[test]
    fn null_and_empty_lists_by_version() {
        let image = cluster();
        let table = [
            (0, Some(vec![]), 2),
            (1, Some(vec![]), 0),
            (1, None, 2),
            (12, None, 2),
            (12, Some(vec![]), 0),
        ];
        for (version, topics, count) in table {
            let described = describe(&image, &request(topics.clone()), version, true, 0);
            assert_eq!(described.response.topics.len(), count, "v{version} {topics:?}");
            assert!(described.missing.is_empty());
        }
    }

    #[test]
    fn a_topic_is_told_once() {
        let image = cluster();
        let mut wanted = request(Some(vec!["orders", "new", "orders", "new", "payments", "orders"]));
        let by_id = || {
            MetadataRequestTopic::default()
                .with_topic_id(topic_id(1).0)
                .with_name(None)
        };
        wanted.topics.as_mut().unwrap().extend([by_id(), by_id()]);
        let described = describe(&image, &wanted, 12, true, 0);
        let told: Vec<String> = names(&described).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, ["orders", "new", "payments", "orders"], "by name, and by id");
        assert_eq!(described.missing, ["new"]);
    }

    #[test]
    fn missing_topics_are_created_only_where_allowed() {
        let image = cluster();
        let wanted = request(Some(vec![
            "orders",
            "new",
            "bad name",
            "__consumer_offsets",
            "__cluster_metadata",
        ]));
        let created = describe(&image, &wanted, 9, true, 0);
        assert_eq!(
            names(&created),
            [
                ("orders".into(), 0),
                ("new".into(), 3),
                ("bad name".into(), 17),
                ("__consumer_offsets".into(), 3),
                ("__cluster_metadata".into(), 3)
            ]
        );
        assert_eq!(created.missing, ["new"]);
        assert!(describe(&image, &wanted, 9, false, 0).missing.is_empty());
    }

    #[test]
    fn by_id_and_leaderless_partitions() {
        let image = cluster();
        let by_id = |id| {
            let topic = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
            describe(
                &image,
                &MetadataRequest::default().with_topics(Some(vec![topic])),
                12,
                true,
                0,
            )
            .response
        };
        let unknown = by_id(uuid::Uuid::from_u128(99));
        assert_eq!(unknown.topics[0].error_code, ErrorCode::UnknownTopicId.code());
        assert!(unknown.topics[0].name.is_none());
        let known = by_id(topic_id(1).0);
        let partitions = &known.topics[0].partitions;
        assert_eq!((partitions[0].error_code, partitions[0].leader_id.0), (0, 1));
        // Led by the fenced broker 3.
        assert_eq!((partitions[1].error_code, partitions[1].leader_id.0), (5, -1));
        assert_eq!(partitions[1].offline_replicas, vec![wire::messages::BrokerId(3)]);
        let shown = brokers(&image, &mut ListedBrokers::default(), Monotonic::default());
        assert_eq!(shown.len(), 2, "fenced brokers are not shown");
        assert!(matches!(known.controller_id.0, 1 | 2));
        assert_eq!(known.topics[0].topic_authorized_operations, i32::MIN);
    }
}
