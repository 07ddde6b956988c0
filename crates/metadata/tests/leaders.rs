//! Elections that are asked for, and the balance that the controller keeps by itself.

mod fixture;

use fixture::{Cluster, TOPIC, nodes};
use metadata::plan::{self, CreateTopics, ElectLeaders, NewTopic};
use types::{ErrorCode, NodeId, TopicPartition};

/// Kafka's code for each partition: 0 where a leader was elected.
fn codes(elections: &plan::PartitionOutcomes) -> Vec<(&str, Vec<(i32, i16)>)> {
    let code = |(number, outcome): &(i32, Result<(), plan::PlanError>)| {
        (*number, outcome.as_ref().map_or_else(|error| error.code.code(), |()| 0))
    };
    elections
        .iter()
        .map(|(name, of)| (name.as_str(), of.iter().map(code).collect()))
        .collect()
}

fn asked(unclean: bool, topics: &[(&str, &[i32])]) -> ElectLeaders {
    let topics = topics
        .iter()
        .map(|(name, numbers)| ((*name).to_owned(), numbers.to_vec()));
    ElectLeaders {
        unclean,
        topics: Some(topics.collect()),
    }
}

#[test]
fn an_election_is_what_kafka_says_it_is() {
    const NOT_NEEDED: i16 = 84;
    const NOT_PREFERRED: i16 = 80;
    const NOBODY: i16 = 83;
    // (brokers fenced: -n, back: n, and 10: the ISR is whole again; unclean; code; state after)
    let cases: [(&[i32], bool, i16, &str); 9] = [
        (&[], false, NOT_NEEDED, "1@0 isr 1,2,3 elr "),
        (&[], true, NOT_NEEDED, "1@0 isr 1,2,3 elr "),
        (&[-1], false, NOT_PREFERRED, "2@1 isr 2,3 elr "),
        (&[-1, 1], false, NOT_PREFERRED, "2@1 isr 2,3 elr "),
        (&[-1, 1, 10], false, 0, "1@2 isr 1,2,3 elr "),
        (&[-1, 1, 10, -1], false, NOT_PREFERRED, "2@1 isr 2,3 elr "),
        (&[-1, -2, -3], false, NOT_PREFERRED, "-@3 isr 3 elr 2"),
        (&[-1, -2, -3], true, NOBODY, "-@3 isr 3 elr 2"),
        // 1 lacks what 3 committed with the others gone.
        (&[-1, -2, -3, 1], true, 0, "1@4 isr 1 elr "),
    ];
    for (events, unclean, code, expected) in cases {
        let mut cluster = Cluster::with_topic(&[("min.insync.replicas", "2")]);
        for event in events {
            match *event {
                10 => cluster.whole_isr(),
                node if node < 0 => cluster.fence(-node),
                node => cluster.unfence(node),
            }
        }
        let plan = plan::elect_leaders(&cluster.image, &asked(unclean, &[("t", &[0])]));
        let context = format!("{events:?} unclean {unclean}");
        assert_eq!(codes(&plan.response), [("t", vec![(0, code)])], "{context}");
        assert_eq!(plan.records.len(), usize::from(code == 0), "{context}");
        cluster.apply(&plan.records);
        assert_eq!(cluster.state(), expected, "{context}");
    }
}

/// A topic of `count` partitions with replicas 1, 2, 3 in turn, so that each broker should lead as many.
fn spread(count: i32) -> Cluster {
    let mut cluster = Cluster::of(3);
    let replicas = |number: i32| nodes(&[number % 3 + 1, (number + 1) % 3 + 1, (number + 2) % 3 + 1]);
    let topic = NewTopic {
        id: TOPIC,
        name: "t".into(),
        partitions: -1,
        replication_factor: -1,
        assignments: (0..count).map(|number| (number, replicas(number))).collect(),
        ..NewTopic::default()
    };
    let create = CreateTopics {
        topics: vec![topic],
        ..CreateTopics::default()
    };
    let records = plan::create_topics(&cluster.image, &create, 0).records;
    cluster.apply(&records);
    cluster
}

fn leaders(cluster: &Cluster) -> Vec<i32> {
    let leader = |number| {
        let tp = TopicPartition {
            topic: TOPIC,
            partition: number,
        };
        cluster.image.partition(tp)?.leader
    };
    (0..).map_while(leader).map(|node: NodeId| node.0).collect()
}

#[test]
fn all_partitions_are_asked_for_and_those_in_order_are_not_named() {
    let mut cluster = spread(4);
    cluster.fence(1);
    cluster.unfence(1);
    cluster.whole_isr();
    assert_eq!(leaders(&cluster), [2, 2, 3, 2]);
    let all = ElectLeaders::default();
    let plan = plan::elect_leaders(&cluster.image, &all);
    assert_eq!(codes(&plan.response), [("t", vec![(0, 0), (3, 0)])]);
    cluster.apply(&plan.records);
    assert_eq!(leaders(&cluster), [1, 2, 3, 1]);
    let again = plan::elect_leaders(&cluster.image, &all);
    assert!(again.records.is_empty());
    assert_eq!(codes(&again.response), [("t", vec![])]);
}

#[test]
fn what_does_not_exist_is_refused_and_the_rest_is_elected() {
    let mut cluster = spread(1);
    cluster.fence(1);
    cluster.unfence(1);
    cluster.whole_isr();
    let command = asked(false, &[("t", &[9, 0, 0, -1]), ("none", &[0])]);
    let plan = plan::elect_leaders(&cluster.image, &command);
    let expected = [("t", vec![(9, 3), (0, 0), (0, 0), (-1, 3)]), ("none", vec![(0, 3)])];
    assert_eq!(codes(&plan.response), expected);
    assert_eq!(
        plan.response[1].1[0].1.as_ref().unwrap_err().message,
        "No such topic as none"
    );
    assert_eq!(plan.records.len(), 1, "however often it is named");
    cluster.apply(&plan.records);
    assert_eq!(leaders(&cluster), [1]);
}

#[test]
fn a_broker_gets_back_what_it_should_lead_once_too_much_is_elsewhere() {
    // Of 12 partitions each broker should lead 4; broker 1 leads none since it was away.
    // (does broker 1 live, is it in sync, percentage, leaderships that move)
    let cases = [
        (true, true, 10, 4),
        (true, true, 99, 4),
        (true, true, 100, 0),
        (true, false, 10, 0),
        (false, false, 10, 0),
    ];
    for (lives, in_sync, percentage, moved) in cases {
        let mut cluster = spread(12);
        cluster.fence(1);
        if lives {
            cluster.unfence(1);
        }
        if in_sync {
            cluster.whole_isr();
        }
        let plan = plan::balance_leaders(&cluster.image, percentage);
        let context = format!("lives {lives}, in sync {in_sync}, {percentage} %");
        assert_eq!(plan.response, moved, "{context}");
        cluster.apply(&plan.records);
        assert_eq!(
            leaders(&cluster).iter().filter(|node| **node == 1).count(),
            moved,
            "{context}"
        );
        assert_eq!(
            plan::balance_leaders(&cluster.image, percentage).response,
            0,
            "{context}: once"
        );
    }
}

#[test]
fn no_more_leaderships_move_at_a_time_than_the_limit_allows() {
    let mut cluster = spread(3_600);
    cluster.fence(1);
    cluster.unfence(1);
    cluster.whole_isr();
    for moved in [1_000, 200, 0] {
        let plan = plan::balance_leaders(&cluster.image, 0);
        assert_eq!(plan.response, moved);
        cluster.apply(&plan.records);
    }
}

#[test]
fn a_broker_in_controlled_shutdown_is_given_nothing() {
    let mut cluster = spread(3);
    let shutdown = plan::controlled_shutdown(&cluster.image, NodeId(1), cluster.epoch(1)).unwrap();
    cluster.apply(&shutdown.records);
    assert_eq!(plan::balance_leaders(&cluster.image, 0).response, 0);
    let refused = plan::elect_leaders(&cluster.image, &asked(false, &[("t", &[0])]));
    assert_eq!(
        refused.response[0].1[0].1.as_ref().unwrap_err().code,
        ErrorCode::PreferredLeaderNotAvailable
    );
}
