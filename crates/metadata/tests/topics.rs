//! Topics, ISR proposals, configs, strict flags, ids: command to exact outcome.

mod fixture;

use fixture::{Cluster, TOPIC, TP, disk, nodes};
use metadata::plan::{
    self, AlterConfigs, AlterConfigsResource, AlterPartition, AlterPartitions, ConfigChange, ConfigResource,
    CreateTopics, JoinMember, MarkStrict, MarkStrictPartition, NewTopic, TopicRef,
};
use metadata::{Endpoint, PartitionImage, Record, topic_config};
use std::collections::BTreeMap;
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, RaftId, ReplicaIncarnation, TopicId};
use uuid::Uuid;

fn new_topic(id: u128, name: &str, partitions: i32, factor: i16) -> NewTopic {
    let id = TopicId(Uuid::from_u128(id));
    NewTopic {
        id,
        name: name.into(),
        partitions,
        replication_factor: factor,
        ..NewTopic::default()
    }
}

fn create(cluster: &Cluster, topics: Vec<NewTopic>) -> plan::Plan<Vec<Result<plan::CreatedTopic, plan::PlanError>>> {
    plan::create_topics(
        &cluster.image,
        &CreateTopics {
            topics,
            ..CreateTopics::default()
        },
        0,
    )
}

#[test]
fn a_topic_is_its_record_and_its_partitions() {
    let mut cluster = Cluster::of(3);
    cluster.fence(2);
    let plan = create(&cluster, vec![new_topic(0x70, "t", 1, -1)]);
    let partition = PartitionImage {
        replicas: nodes(&[1, 3, 2]),
        directories: vec![disk(0xd1).id, disk(0xd3).id, disk(0xd2).id],
        incarnation: ReplicaIncarnation(0),
        isr: nodes(&[1, 3]),
        leader: Some(NodeId(1)),
        strict: nodes(&[1, 3, 2]),
        ..PartitionImage::default()
    };
    let topic = Record::Topic {
        id: TOPIC,
        name: "t".into(),
        internal: false,
        configs: BTreeMap::new(),
        created_short: false,
    };
    assert_eq!(
        plan.records,
        vec![
            topic,
            Record::Partition {
                tp: TP,
                partition: Box::new(partition)
            }
        ]
    );
    cluster.apply(&plan.records);
    assert_eq!(
        cluster.partition().incarnation,
        ReplicaIncarnation(cluster.image.index.0)
    );
    // The same command again finds its own topic; another one does not get the name.
    let again = create(&cluster, vec![new_topic(0x70, "t", 1, -1)]);
    assert!(again.records.is_empty() && again.response[0].is_ok());
    let other = create(&cluster, vec![new_topic(0x71, "t", 1, -1)]);
    assert_eq!(
        other.response[0].as_ref().unwrap_err().code,
        ErrorCode::TopicAlreadyExists
    );
}

#[test]
fn topics_that_are_refused() {
    let mut cluster = Cluster::of(2);
    let plan = create(&cluster, vec![new_topic(1, "a.b", 1, 1)]);
    cluster.apply(&plan.records);
    let with = |change: fn(&mut NewTopic)| {
        let mut topic = new_topic(2, "t", 1, 1);
        change(&mut topic);
        topic
    };
    let cases = [
        (with(|t| t.name = String::new()), ErrorCode::InvalidTopicException),
        (with(|t| t.name = "..".into()), ErrorCode::InvalidTopicException),
        (with(|t| t.name = "a b".into()), ErrorCode::InvalidTopicException),
        (
            with(|t| t.name = "__cluster_metadata".into()),
            ErrorCode::InvalidRequest,
        ),
        (with(|t| t.name = "x".repeat(250)), ErrorCode::InvalidTopicException),
        (with(|t| t.name = "a_b".into()), ErrorCode::InvalidTopicException),
        (with(|t| t.partitions = 0), ErrorCode::InvalidPartitions),
        (with(|t| t.partitions = 10_001), ErrorCode::PolicyViolation),
        (with(|t| t.replication_factor = 0), ErrorCode::InvalidReplicationFactor),
        (with(|t| t.replication_factor = 3), ErrorCode::InvalidReplicationFactor),
        (
            with(|t| t.assignments = vec![(0, nodes(&[1]))]),
            ErrorCode::InvalidRequest,
        ),
        (
            with(|t| t.configs = [("nope".into(), Some("1".into()))].into()),
            ErrorCode::InvalidConfig,
        ),
        (
            with(|t| t.configs = [("retention.ms".into(), None)].into()),
            ErrorCode::InvalidConfig,
        ),
        (with(|t| t.id = TopicId::ZERO), ErrorCode::InvalidRequest),
    ];
    for (topic, code) in cases {
        let plan = create(&cluster, vec![topic.clone()]);
        assert_eq!(plan.response[0].as_ref().unwrap_err().code, code, "{topic:?}");
        assert!(plan.records.is_empty());
    }
    for replicas in [vec![], vec![1, 1], vec![1, 9]] {
        let topic = NewTopic {
            assignments: vec![(0, nodes(&replicas))],
            ..new_topic(2, "t", -1, -1)
        };
        let plan = create(&cluster, vec![topic]);
        assert_eq!(
            plan.response[0].as_ref().unwrap_err().code,
            ErrorCode::InvalidReplicaAssignment,
            "{replicas:?}"
        );
    }
}

#[test]
fn a_default_factor_beyond_the_brokers_is_flagged() {
    let mut cluster = Cluster::of(2);
    cluster.fence(2);
    let plan = create(&cluster, vec![new_topic(2, "t", -1, -1)]);
    let created = plan.response[0].as_ref().unwrap();
    assert_eq!(
        (created.partitions, created.replication_factor, created.created_short),
        (1, 2, true)
    );
    let dry = CreateTopics {
        topics: vec![new_topic(2, "t", 1, 1)],
        validate_only: true,
        ..CreateTopics::default()
    };
    let dry = plan::create_topics(&cluster.image, &dry, 0);
    assert!(dry.records.is_empty() && dry.response[0].is_ok());
}

#[test]
fn replicas_are_spread_over_racks_and_leaders_over_brokers() {
    let mut cluster = Cluster::of(0);
    for node in 1..=6 {
        cluster.restart(node, |command| {
            command.registration.rack = Some(format!("r{}", node % 3))
        });
        cluster.unfence(node);
    }
    let plan = create(&cluster, vec![new_topic(0x70, "t", 12, 3)]);
    cluster.apply(&plan.records);
    let mut led: BTreeMap<NodeId, u32> = BTreeMap::new();
    for (_, _, partition) in cluster.image.partitions() {
        let mut racks: Vec<i32> = partition.replicas.iter().map(|node| node.0 % 3).collect();
        racks.sort_unstable();
        assert_eq!(racks, vec![0, 1, 2]);
        *led.entry(partition.leader.unwrap()).or_default() += 1;
    }
    assert!(led.len() == 6 && led.values().all(|count| *count == 2), "{led:?}");
}

#[test]
fn deleted_by_name_or_id() {
    let cluster = Cluster::with_topic(&[]);
    let topics = [
        TopicRef::Name("t".into()),
        TopicRef::Id(TOPIC),
        TopicRef::Name("x".into()),
        TopicRef::Id(TopicId::ZERO),
    ];
    let plan = plan::delete_topics(&cluster.image, &topics);
    let errors: Vec<ErrorCode> = plan.response.iter().map(|deleted| deleted.error).collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::InvalidRequest,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    ];
    assert_eq!(
        (plan.records, errors),
        (vec![Record::TopicRemoved { id: TOPIC }], expected.to_vec())
    );
}

/// A proposal of leader 1 against `1@0 isr 1,2,3`, broker 3 fenced or restarted as the case says.
#[test]
fn isr_proposals() {
    let propose = |cluster: &Cluster, change: fn(&mut AlterPartition)| {
        let isr = [1, 2, 3].map(|node| (NodeId(node), cluster.epoch(node))).to_vec();
        let recorded = cluster.partition();
        let (leader_epoch, partition_epoch) = (recorded.leader_epoch, recorded.partition_epoch);
        let mut asked = AlterPartition {
            tp: TP,
            leader_epoch,
            partition_epoch,
            isr,
        };
        change(&mut asked);
        let command = AlterPartitions {
            node_id: NodeId(1),
            broker_epoch: cluster.epoch(1),
            partitions: vec![asked],
        };
        let plan = plan::alter_partitions(&cluster.image, &command).unwrap();
        plan.response[0]
            .1
            .clone()
            .map_err(|error| error.code)
            .map(|after| (plan.records, after))
    };
    let mut cluster = Cluster::with_topic(&[]);
    type Case = (fn(&mut AlterPartition), ErrorCode);
    let cases: [Case; 8] = [
        (
            |asked| asked.leader_epoch = LeaderEpoch(-1),
            ErrorCode::FencedLeaderEpoch,
        ),
        (|asked| asked.leader_epoch = LeaderEpoch(1), ErrorCode::NotController),
        (
            |asked| asked.partition_epoch = PartitionEpoch(-1),
            ErrorCode::InvalidUpdateVersion,
        ),
        (|asked| asked.tp.partition = 9, ErrorCode::UnknownTopicOrPartition),
        (|asked| asked.tp.topic = TopicId::ZERO, ErrorCode::UnknownTopicId),
        (
            |asked| asked.isr.retain(|(node, _)| node.0 != 1),
            ErrorCode::InvalidRequest,
        ),
        (
            |asked| asked.isr.push((NodeId(9), BrokerEpoch(1))),
            ErrorCode::InvalidRequest,
        ),
        // KIP-903: known by the epoch of an earlier life.
        (|asked| asked.isr[2].1 = BrokerEpoch(1), ErrorCode::IneligibleReplica),
    ];
    for (at, (change, code)) in cases.into_iter().enumerate() {
        assert_eq!(propose(&cluster, change), Err(code), "case {at}");
    }
    // ◆ Unchanged: the partition epoch rises all the same, and kills an earlier proposal that is still under way
    // (the leader does not know its outcome).
    let (records, after) = propose(&cluster, |_| {}).unwrap();
    assert_eq!(records.len(), 1);
    cluster.apply(&records);
    assert_eq!(cluster.state(), "1@0 isr 1,2,3 elr ");
    assert_eq!(
        (after.partition_epoch, cluster.partition().partition_epoch),
        (PartitionEpoch(1), PartitionEpoch(1))
    );
    assert_eq!(
        propose(&cluster, |asked| asked.partition_epoch = PartitionEpoch(0)),
        Err(ErrorCode::InvalidUpdateVersion)
    );
    let (records, after) = propose(&cluster, |asked| asked.isr.truncate(1)).unwrap();
    cluster.apply(&records);
    assert_eq!(cluster.state(), "1@0 isr 1 elr 2,3");
    assert_eq!((after.partition_epoch, after.isr), (PartitionEpoch(2), nodes(&[1])));
    // KIP-841: a fenced broker may not join.
    cluster.fence(3);
    assert_eq!(propose(&cluster, |_| {}), Err(ErrorCode::IneligibleReplica));
    cluster.unfence(3);
    let (records, _) = propose(&cluster, |asked| asked.isr.truncate(2)).unwrap();
    cluster.apply(&records);
    assert_eq!(
        cluster.state(),
        "1@0 isr 1,2 elr ",
        "at the minimum nobody else is eligible"
    );
}

fn alter(cluster: &mut Cluster, resource: ConfigResource, name: &str, change: ConfigChange) -> Option<ErrorCode> {
    let changes = vec![(name.to_owned(), change)];
    let resources = vec![AlterConfigsResource {
        resource,
        changes,
        replace: false,
    }];
    let plan = plan::alter_configs(
        &cluster.image,
        &AlterConfigs {
            resources,
            validate_only: false,
        },
    );
    cluster.apply(&plan.records);
    plan.response[0].error.as_ref().map(|error| error.code)
}

#[test]
fn another_effective_minimum_clears_the_elr() {
    for resource in [ConfigResource::Topic("t".into()), ConfigResource::Broker(None)] {
        let mut cluster = Cluster::with_topic(&[]);
        cluster.fence(2);
        cluster.fence(3);
        assert_eq!(cluster.state(), "1@0 isr 1 elr 3");
        let set = |value: &str| ConfigChange::Set(value.into());
        assert_eq!(
            alter(&mut cluster, resource.clone(), "min.insync.replicas", set("2")),
            None
        );
        assert_eq!(cluster.state(), "1@0 isr 1 elr 3", "the same minimum");
        assert_eq!(alter(&mut cluster, resource, "min.insync.replicas", set("9")), None);
        assert_eq!(cluster.state(), "1@0 isr 1 elr ");
        assert_eq!(cluster.image.effective_min_isr(cluster.image.topic("t").unwrap()), 3);
    }
}

#[test]
fn strict_is_cleared_with_the_config_and_set_by_the_broker() {
    let mut cluster = Cluster::with_topic(&[]);
    assert_eq!(cluster.partition().strict, nodes(&[1, 2, 3]));
    let topic = || ConfigResource::Topic("t".into());
    let mark = |cluster: &mut Cluster, strict| {
        let asked = MarkStrictPartition {
            tp: TP,
            leader_epoch: LeaderEpoch(0),
            strict,
        };
        let command = MarkStrict {
            node_id: NodeId(2),
            broker_epoch: cluster.epoch(2),
            partitions: vec![asked],
        };
        let plan = plan::mark_strict(&cluster.image, &command).unwrap();
        cluster.apply(&plan.records);
        plan.response[0].1
    };
    alter(&mut cluster, topic(), "flush.messages", ConfigChange::Set("7".into()));
    assert_eq!(cluster.partition().strict, nodes(&[]));
    assert_eq!(mark(&mut cluster, true), ErrorCode::InvalidRequest);
    alter(&mut cluster, topic(), "flush.messages", ConfigChange::Delete);
    assert_eq!(
        cluster.partition().strict,
        nodes(&[]),
        "not before it is known to be durable"
    );
    assert_eq!(mark(&mut cluster, true), ErrorCode::None);
    assert_eq!(cluster.partition().strict, nodes(&[2]));
    assert_eq!(mark(&mut cluster, false), ErrorCode::None);
    assert_eq!(cluster.partition().strict, nodes(&[]));
}

#[test]
fn configs_change_in_kafkas_ways() {
    let mut cluster = Cluster::with_topic(&[]);
    let topic = || ConfigResource::Topic("t".into());
    let value = |cluster: &Cluster, name: &str| cluster.image.topic_config(cluster.image.topic("t").unwrap(), name);
    assert_eq!(
        alter(
            &mut cluster,
            topic(),
            "cleanup.policy",
            ConfigChange::Append("compact".into())
        ),
        None
    );
    assert_eq!(value(&cluster, "cleanup.policy"), "delete,compact");
    assert_eq!(
        alter(
            &mut cluster,
            topic(),
            "cleanup.policy",
            ConfigChange::Subtract("delete".into())
        ),
        None
    );
    assert_eq!(value(&cluster, "cleanup.policy"), "compact");
    let all = ConfigResource::Broker(None);
    assert_eq!(
        alter(&mut cluster, all, "log.retention.ms", ConfigChange::Set("5".into())),
        None
    );
    assert_eq!(value(&cluster, "retention.ms"), "5");
    assert_eq!(
        alter(&mut cluster, topic(), "retention.ms", ConfigChange::Set("6".into())),
        None
    );
    assert_eq!(value(&cluster, "retention.ms"), "6");
    let described = topic_config::describe(&cluster.image, cluster.image.topic("t").unwrap(), &BTreeMap::new());
    let line = described
        .iter()
        .find(|line| line.definition.name == "retention.ms")
        .unwrap();
    let sources: Vec<topic_config::Source> = line.synonyms.iter().map(|(_, _, source)| *source).collect();
    use topic_config::Source::{Default, DefaultBroker, Topic};
    assert_eq!(
        (line.value.as_str(), sources),
        ("6", vec![Topic, DefaultBroker, Default])
    );

    let one = ConfigResource::Broker(Some(NodeId(1)));
    let refused = [
        (
            topic(),
            "retention.ms",
            ConfigChange::Append("1".into()),
            ErrorCode::InvalidConfig,
        ),
        (topic(), "nope", ConfigChange::Delete, ErrorCode::InvalidConfig),
        (
            one,
            "min.insync.replicas",
            ConfigChange::Set("1".into()),
            ErrorCode::InvalidConfig,
        ),
        (
            ConfigResource::Topic("x".into()),
            "retention.ms",
            ConfigChange::Delete,
            ErrorCode::UnknownTopicOrPartition,
        ),
    ];
    for (resource, name, change, code) in refused {
        assert_eq!(alter(&mut cluster, resource, name, change), Some(code), "{name}");
    }
}

#[test]
fn config_values_are_checked_with_kafkas_messages() {
    let cases = [
        ("retention.ms", "abc", Some("Not a number of type LONG")),
        ("retention.ms", "-2", Some("Value must be at least -1")),
        ("segment.bytes", "5", Some("Value must be at least 1048576")),
        ("segment.bytes", "99999999999", Some("Not a number of type INT")),
        // A longer batch does not fit into a replica frame.
        ("max.message.bytes", "6291456", None),
        (
            "max.message.bytes",
            "6291457",
            Some("Value must be no more than 6291456"),
        ),
        ("compression.gzip.level", "10", Some("Value must be no more than 9")),
        ("preallocate", "yes", Some("Expected value to be either true or false")),
        (
            "message.timestamp.type",
            "Now",
            Some("String must be one of: CreateTime, LogAppendTime"),
        ),
        ("min.cleanable.dirty.ratio", "NaN", Some("Value must be at least 0")),
        ("cleanup.policy", "compact,delete", None),
        ("leader.replication.throttled.replicas", "0:1,1:2", None),
    ];
    for (name, value, expected) in cases {
        let expected = expected.map(|why| format!("Invalid value {value} for configuration {name}: {why}"));
        assert_eq!(topic_config::validate(name, value).err(), expected);
    }
    for definition in topic_config::TABLE {
        let checked = topic_config::validate(definition.name, definition.default);
        assert_eq!(checked, Ok(()), "the default of {}", definition.name);
    }
}

#[test]
fn ids_are_given_out_once() {
    let mut cluster = Cluster::of(1);
    for first in [0, 1000] {
        let plan = plan::allocate_producer_ids(&cluster.image, NodeId(1), cluster.epoch(1)).unwrap();
        assert_eq!((plan.response.first, plan.response.len), (first, 1000));
        cluster.apply(&plan.records);
    }
    let join = |directory| JoinMember {
        node_id: NodeId(1),
        directory: disk(directory).id,
        endpoint: Endpoint {
            host: "node-1".into(),
            port: 1,
        },
    };
    // A wiped directory is another member; the same one finds itself again.
    for (directory, expected, records) in [(1, 1, 1), (1, 1, 0), (2, 2, 1)] {
        let plan = plan::join_member(&cluster.image, &join(directory)).unwrap();
        assert_eq!((plan.response, plan.records.len()), (RaftId(expected), records));
        cluster.apply(&plan.records);
    }
    let removal = plan::remove_member(&cluster.image, RaftId(2)).unwrap();
    cluster.apply(&removal.records);
    assert_eq!(plan::join_member(&cluster.image, &join(3)).unwrap().response, RaftId(3));
}

#[test]
fn a_cluster_is_founded_once() {
    let mut cluster = Cluster::of(0);
    let mut command = plan::SetCluster {
        cluster_id: "c".into(),
        metadata_version: 1,
        broker_configs: [
            ("min.insync.replicas".into(), "1".into()),
            ("node.id".into(), "1".into()),
        ]
        .into(),
    };
    let plan = plan::set_cluster(&cluster.image, &command).unwrap();
    let min_isr = Record::BrokerConfig {
        node_id: None,
        name: "min.insync.replicas".into(),
        value: Some("1".into()),
    };
    let expected = vec![
        Record::Cluster { cluster_id: "c".into() },
        min_isr,
        Record::MetadataVersion { version: 1 },
    ];
    assert_eq!(plan.records, expected);
    cluster.apply(&plan.records);
    assert!(plan::set_cluster(&cluster.image, &command).unwrap().records.is_empty());
    command.metadata_version = 0;
    let refused = plan::set_cluster(&cluster.image, &command).unwrap_err();
    assert_eq!(refused.code, ErrorCode::FeatureUpdateFailed);
    command.cluster_id = "d".into();
    let refused = plan::set_cluster(&cluster.image, &command).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InconsistentClusterId);
}
