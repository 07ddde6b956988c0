//! Topics, ISR proposals, configs, strict flags, ids: command to exact outcome.

mod fixture;

use fixture::{Cluster, TOPIC, TP, disk, nodes};
use metadata::plan::{
    self, AlterPartition, AlterPartitions, CreatePartitions, CreateTopics, JoinMember, MorePartitions, NewTopic,
    TopicRef,
};
use metadata::{Endpoint, PartitionImage, Record};
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

fn grow(cluster: &Cluster, count: i32, assignments: Option<&[&[i32]]>) -> plan::Plan<Vec<Result<(), plan::PlanError>>> {
    let more = MorePartitions {
        name: "t".into(),
        count,
        assignments: assignments.map(|all| all.iter().map(|replicas| nodes(replicas)).collect()),
    };
    let command = CreatePartitions {
        topics: vec![more],
        validate_only: false,
    };
    plan::create_partitions(&cluster.image, &command, 0)
}

#[test]
fn a_topic_grows_by_partitions_like_its_own() {
    let mut cluster = Cluster::with_topic(&[("flush.messages", "7")]);
    cluster.fence(2);
    let plan = grow(&cluster, 4, None);
    assert!(plan.response[0].is_ok() && plan.records.len() == 3);
    cluster.apply(&plan.records);
    let topic = cluster.image.topic("t").unwrap();
    assert_eq!(topic.partitions.len(), 4);
    let mut leaders = BTreeMap::new();
    for added in &topic.partitions[1..] {
        assert_eq!((added.replicas.len(), added.isr.len(), added.strict.len()), (3, 2, 0));
        assert_eq!(added.incarnation, ReplicaIncarnation(cluster.image.index.0));
        *leaders.entry(added.leader.unwrap()).or_insert(0) += 1;
    }
    assert!(leaders.len() == 2 && !leaders.contains_key(&NodeId(2)), "{leaders:?}");
    let chosen = grow(&cluster, 6, Some(&[&[3, 1, 2], &[2, 3, 1]]));
    cluster.apply(&chosen.records);
    let partitions = &cluster.image.topic("t").unwrap().partitions;
    assert_eq!(partitions[4].replicas, nodes(&[3, 1, 2]));
    // Broker 2 is fenced: the next of its replicas leads.
    assert_eq!(
        (partitions[5].leader, partitions[5].isr.clone()),
        (Some(NodeId(3)), nodes(&[3, 1]))
    );
    let strict = Cluster::with_topic(&[]);
    let plan = grow(&strict, 2, None);
    assert!(matches!(&plan.records[..], [Record::Partition { partition, .. }] if partition.strict.len() == 3));
}

#[test]
fn growth_is_refused_in_kafkas_words() {
    let mut cluster = Cluster::with_topic(&[]);
    let plan = grow(&cluster, 2, None);
    cluster.apply(&plan.records);
    cluster.fence(2);
    cluster.restart(4, |_| {});
    type Case<'a> = (i32, Option<&'a [&'a [i32]]>, ErrorCode, &'a str);
    let cases: [Case; 10] = [
        (
            2,
            None,
            ErrorCode::InvalidPartitions,
            "Topic already has 2 partition(s).",
        ),
        (
            1,
            None,
            ErrorCode::InvalidPartitions,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            -1,
            None,
            ErrorCode::InvalidPartitions,
            "The topic t currently has 2 partition(s); -1 would not be an increase.",
        ),
        (
            4,
            Some(&[&[1, 2, 3]]),
            ErrorCode::InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            3,
            Some(&[&[]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            3,
            Some(&[&[1, 2]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 3 replica(s).",
        ),
        (
            3,
            Some(&[&[1, 2, 1]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            3,
            Some(&[&[1, 2, 9]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            10_003,
            None,
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request: more than 10000",
        ),
        (
            i32::MAX,
            None,
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request: more than 10000",
        ),
    ];
    for (count, assignments, code, message) in cases {
        let plan = grow(&cluster, count, assignments);
        let error = plan.response[0].as_ref().unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (code, message),
            "{count} {assignments:?}"
        );
        assert!(plan.records.is_empty(), "{count} {assignments:?}");
    }
    cluster.fence(1);
    cluster.fence(3);
    assert_eq!(
        grow(&cluster, 3, Some(&[&[1, 2, 3]])).response[0]
            .as_ref()
            .unwrap_err()
            .message,
        "All brokers specified in the manual partition assignment for partition 2 are fenced or in controlled shutdown."
    );
    let error = grow(&cluster, 3, None).response[0].clone().unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidReplicationFactor);
}

#[test]
fn one_topic_that_cannot_grow_does_not_stop_another() {
    let cluster = Cluster::with_topic(&[]);
    let more = |name: &str, count| MorePartitions {
        name: name.into(),
        count,
        assignments: None,
    };
    let mut command = CreatePartitions {
        topics: vec![more("x", 3), more("t", 3), more("t", 5)],
        validate_only: false,
    };
    let plan = plan::create_partitions(&cluster.image, &command, 0);
    let codes: Vec<_> = plan.response.iter().map(|r| r.as_ref().err().map(|e| e.code)).collect();
    let expected = [
        Some(ErrorCode::UnknownTopicOrPartition),
        None,
        Some(ErrorCode::InvalidRequest),
    ];
    assert_eq!((codes, plan.records.len()), (expected.to_vec(), 2));
    command.validate_only = true;
    let dry = plan::create_partitions(&cluster.image, &command, 0);
    assert!(dry.records.is_empty() && dry.response[1].is_ok());
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
