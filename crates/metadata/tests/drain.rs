//! Nodes that are emptied, and topics that are raised when brokers join.

mod fixture;

use fixture::{Cluster, TOPIC, TP, nodes};
use metadata::plan::{self, CreateTopics, NewTopic, PlanError};
use metadata::{PartitionImage, Record};
use std::collections::BTreeMap;
use types::{ErrorCode, NodeId, TopicPartition};

const FACTOR: usize = 3;

fn drain(cluster: &mut Cluster, node: i32, drained: bool) -> plan::Drained {
    let plan = plan::drain(&cluster.image, NodeId(node), drained).unwrap();
    cluster.apply(&plan.records);
    plan.response
}

/// The controller settles, and every replica catches up, until nothing is left to do.
fn settle(cluster: &mut Cluster) {
    loop {
        let plan = plan::settle_replicas(&cluster.image, FACTOR);
        if plan.records.is_empty() {
            return;
        }
        cluster.apply(&plan.records);
        cluster.whole_isr();
    }
}

fn with_partitions(brokers: i32, partitions: i32, factor: i16) -> Cluster {
    let mut cluster = Cluster::of(brokers);
    let topic = NewTopic {
        id: TOPIC,
        name: "t".into(),
        partitions,
        replication_factor: factor,
        ..NewTopic::default()
    };
    let create = CreateTopics {
        topics: vec![topic],
        ..CreateTopics::default()
    };
    let plan = plan::create_topics(&cluster.image, &create, 0);
    plan.response[0].as_ref().unwrap();
    cluster.apply(&plan.records);
    cluster
}

/// Replicas of each node.
fn loads(cluster: &Cluster) -> BTreeMap<i32, usize> {
    let mut loads = BTreeMap::new();
    for (_, _, partition) in cluster.image.partitions() {
        for node in &partition.replicas {
            *loads.entry(node.0).or_default() += 1;
        }
    }
    loads
}

fn led_by(cluster: &Cluster, node: i32) -> usize {
    let led = |partition: &&PartitionImage| partition.leader == Some(NodeId(node));
    cluster
        .image
        .partitions()
        .map(|(_, _, partition)| &**partition)
        .filter(led)
        .count()
}

#[test]
fn a_drained_node_leads_nothing_and_then_has_nothing() {
    let mut cluster = with_partitions(4, 12, 3);
    assert_eq!(loads(&cluster), BTreeMap::from([(1, 9), (2, 9), (3, 9), (4, 9)]));
    let led = led_by(&cluster, 2);
    let drained = drain(&mut cluster, 2, true);
    assert_eq!(drained.leaders, led);
    assert_eq!(
        drained.targets,
        BTreeMap::from([(NodeId(1), 3), (NodeId(3), 3), (NodeId(4), 3)])
    );
    assert_eq!(led_by(&cluster, 2), 0);
    assert_eq!(
        plan::balance_leaders(&cluster.image, 0).response,
        0,
        "it gets none back"
    );
    settle(&mut cluster);
    assert_eq!(loads(&cluster), BTreeMap::from([(1, 12), (3, 12), (4, 12)]));
    assert!(
        cluster
            .image
            .partitions()
            .all(|(_, _, p)| !p.is_reassigned() && p.isr.len() == 3)
    );
}

#[test]
fn a_drained_node_gets_nothing_new_until_it_is_wanted_again() {
    let mut cluster = Cluster::of(4);
    drain(&mut cluster, 4, true);
    // The fact outlives a restart.
    cluster.restart(4, |_| {});
    cluster.unfence(4);
    let create = |cluster: &Cluster, factor| {
        let topic = NewTopic {
            id: TOPIC,
            name: "t".into(),
            partitions: 8,
            replication_factor: factor,
            ..NewTopic::default()
        };
        let command = CreateTopics {
            topics: vec![topic],
            ..CreateTopics::default()
        };
        plan::create_topics(&cluster.image, &command, 0)
    };
    let refused = create(&cluster, 4).response.remove(0).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidReplicationFactor);
    let records = create(&cluster, 3).records;
    cluster.apply(&records);
    assert_eq!(loads(&cluster).get(&4), None);
    drain(&mut cluster, 4, false);
    assert!(cluster.image.drained.is_empty());
    assert!(create(&Cluster::of(4), 4).response[0].is_ok());
}

#[test]
fn what_cannot_be_emptied_is_refused_with_what_is_missing() {
    type Case<'a> = (i32, &'a [i32], &'a [i32], &'a [i32], Option<usize>);
    // (brokers, replicas, drained before, down, replicas that wait or refused)
    let cases: [Case<'_>; 5] = [
        (4, &[1, 2, 3], &[], &[], Some(0)),
        (3, &[1, 2, 3], &[], &[], None),
        (4, &[1, 2, 3], &[4], &[], None),
        (4, &[1, 2, 3], &[], &[4], Some(1)),
        (3, &[1, 2], &[], &[], Some(0)),
    ];
    for case in cases {
        let (brokers, replicas, drained, down, expected) = case;
        let mut cluster = Cluster::of(brokers);
        cluster.create(&[], replicas);
        for node in drained {
            drain(&mut cluster, *node, true);
        }
        for node in down {
            cluster.fence(*node);
        }
        let plan = plan::drain(&cluster.image, NodeId(1), true);
        assert_eq!(
            plan.as_ref().ok().map(|plan| plan.response.waiting),
            expected,
            "{case:?}"
        );
        let Err(error) = plan else { continue };
        assert_eq!(error.code, ErrorCode::InvalidReplicaAssignment);
        assert_eq!(
            error.message,
            "node 1 cannot be emptied: every other broker that takes replicas has one of t/0 already. Start another node \
             first, or give these partitions fewer replicas"
        );
    }
}

#[test]
fn a_replica_that_nobody_else_can_take_any_more_stays() {
    let mut cluster = with_partitions(3, 3, 3);
    cluster.restart(4, |_| {});
    assert_eq!(drain(&mut cluster, 3, true).waiting, 3);
    // The one that was to take them is gone for good.
    let gone = plan::unregister(&cluster.image, NodeId(4)).unwrap();
    cluster.apply(&gone.records);
    settle(&mut cluster);
    assert_eq!(loads(&cluster)[&3], 3);
    assert_eq!(led_by(&cluster, 3), 0);
    // It leads again where it is the last.
    cluster.fence(1);
    cluster.fence(2);
    assert_eq!(led_by(&cluster, 3), 3);
    // A broker joins: now they go there.
    cluster.unfence(1);
    cluster.unfence(2);
    cluster.whole_isr();
    cluster.restart(5, |_| {});
    cluster.unfence(5);
    settle(&mut cluster);
    assert_eq!(loads(&cluster).get(&3), None);
}

#[test]
fn another_rack_is_taken_before_another_broker() {
    let mut cluster = Cluster::of(0);
    for (node, rack) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")] {
        cluster.restart(node, |command| command.registration.rack = Some(rack.into()));
        cluster.unfence(node);
    }
    cluster.create(&[], &[1, 2, 3]);
    drain(&mut cluster, 2, true);
    settle(&mut cluster);
    assert_eq!(cluster.partition().replicas, nodes(&[1, 5, 3]));
}

#[test]
fn only_so_many_move_at_a_time() {
    let mut cluster = with_partitions(4, 200, 3);
    drain(&mut cluster, 1, true);
    let plan = plan::settle_replicas(&cluster.image, FACTOR);
    assert_eq!(plan.response, types::limits::REPLICA_MOVES_MAX);
    cluster.apply(&plan.records);
    assert_eq!(
        plan::settle_replicas(&cluster.image, FACTOR).response,
        0,
        "until one of these is done"
    );
    cluster.whole_isr();
    settle(&mut cluster);
    assert_eq!(loads(&cluster).get(&1), None);
}

#[test]
fn a_topic_that_was_created_short_is_raised_as_brokers_join() {
    let mut cluster = with_partitions(1, 2, -1);
    let short = |cluster: &Cluster| cluster.image.topic("t").unwrap().created_short;
    assert!(short(&cluster));
    settle(&mut cluster);
    assert_eq!(loads(&cluster), BTreeMap::from([(1, 2)]));
    for (node, replicas, still) in [(2, 2, true), (3, 3, false), (4, 3, false)] {
        cluster.restart(node, |_| {});
        cluster.unfence(node);
        settle(&mut cluster);
        let tp = |partition| TopicPartition { partition, ..TP };
        for partition in [0, 1] {
            assert_eq!(
                cluster.image.partition(tp(partition)).unwrap().replicas.len(),
                replicas,
                "{node} brokers"
            );
        }
        assert_eq!(short(&cluster), still, "{node} brokers");
    }
    // One that somebody wanted so stays so.
    let mut cluster = with_partitions(3, 2, 1);
    assert!(plan::settle_replicas(&cluster.image, FACTOR).records.is_empty());
    settle(&mut cluster);
}

#[test]
fn a_node_that_is_not_there_is_not_drained() {
    let refused: Result<_, PlanError> = plan::drain(&Cluster::of(1).image, NodeId(9), true);
    assert_eq!(refused.unwrap_err().code, ErrorCode::BrokerIdNotRegistered);
    let mut cluster = Cluster::of(2);
    drain(&mut cluster, 2, true);
    let again = plan::drain(&cluster.image, NodeId(2), true).unwrap();
    assert!(again.records.is_empty());
    let gone = plan::unregister(&cluster.image, NodeId(2)).unwrap();
    cluster.apply(&gone.records);
    assert!(cluster.image.drained.is_empty(), "another of its name is a new one");
    cluster.apply(&[Record::NodeDrained {
        node_id: NodeId(7),
        drained: true,
    }]);
    let restored = metadata::Image::from_snapshot(cluster.image.index, &cluster.image.to_snapshot()).unwrap();
    assert_eq!(restored, cluster.image);
}
