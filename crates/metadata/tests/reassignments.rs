//! Replicas that move (KIP-455): command to exact outcome.

mod fixture;

use fixture::{Cluster, TOPIC, TP, nodes};
use metadata::plan::{self, AlterReassignments, CreatePartitions, MorePartitions, PlanError, ReassignedPartition};
use metadata::{PartitionImage, Record};
use types::{ErrorCode, NodeId};

/// What happens to the partition `t-0`.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Its replicas are to be these.
    Move(&'static [i32]),
    Cancel,
    /// The leader proposes this ISR, and is not refused.
    Isr(&'static [i32]),
    Fence(i32),
    Back(i32),
    /// The preferred leader is elected.
    Prefer,
}
use Event::{Back, Cancel, Fence, Isr, Move, Prefer};

fn asked(partitions: &[(i32, Option<&[i32]>)]) -> AlterReassignments {
    let partition = |(partition, replicas): &(i32, Option<&[i32]>)| ReassignedPartition {
        partition: *partition,
        replicas: replicas.map(nodes),
    };
    AlterReassignments {
        allow_factor_change: true,
        topics: vec![("t".into(), partitions.iter().map(partition).collect())],
    }
}

fn alter(cluster: &mut Cluster, command: &AlterReassignments) -> Result<(), PlanError> {
    let plan = plan::alter_reassignments(&cluster.image, command);
    cluster.apply(&plan.records);
    plan.response[0].1[0].1.clone()
}

fn take(cluster: &mut Cluster, event: Event) -> Result<(), PlanError> {
    match event {
        Move(replicas) => return alter(cluster, &asked(&[(0, Some(replicas))])),
        Cancel => return alter(cluster, &asked(&[(0, None)])),
        Fence(node) => cluster.fence(node),
        Back(node) => cluster.unfence(node),
        Prefer => {
            let records = plan::balance_leaders(&cluster.image, 0).records;
            cluster.apply(&records);
        }
        Isr(members) => cluster.propose_isr(TP, &nodes(members)),
    }
    Ok(())
}

/// `replicas +adding -removing leader@epoch isr elr`
fn state(cluster: &Cluster) -> String {
    let list = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let partition = cluster.partition();
    let (replicas, adding) = (list(&partition.replicas), list(&partition.adding_replicas));
    format!(
        "{replicas} +{adding} -{} {}",
        list(&partition.removing_replicas),
        cluster.state()
    )
}

#[test]
fn a_reassignment_adds_waits_for_all_that_stay_and_only_then_removes() {
    let cases: [(&str, &[Event], &str); 17] = [
        ("another order", &[Move(&[3, 1, 2])], "3,1,2 + - 1@0 isr 1,2,3 elr "),
        ("fewer", &[Move(&[1, 2])], "1,2 + - 1@1 isr 1,2 elr "),
        (
            "fewer, without the leader",
            &[Move(&[3, 2])],
            "3,2 + - 3@1 isr 2,3 elr ",
        ),
        ("more", &[Move(&[1, 2, 3, 4])], "1,2,3,4 +4 - 1@0 isr 1,2,3 elr "),
        (
            "more, in sync",
            &[Move(&[1, 2, 3, 4]), Isr(&[1, 2, 3, 4])],
            "1,2,3,4 + - 1@0 isr 1,2,3,4 elr ",
        ),
        (
            "others",
            &[Move(&[4, 5, 6])],
            "4,5,6,1,2,3 +4,5,6 -1,2,3 1@0 isr 1,2,3 elr ",
        ),
        (
            "others, some in sync",
            &[Move(&[4, 5, 6]), Isr(&[1, 4, 5]), Fence(2)],
            "4,5,6,1,2,3 +4,5,6 -1,2,3 1@0 isr 4,5,1 elr ",
        ),
        (
            "others, all in sync",
            &[Move(&[4, 5, 6]), Isr(&[1, 4, 5, 6])],
            "4,5,6 + - 4@1 isr 4,5,6 elr ",
        ),
        (
            "one that stays is down: it waits",
            &[Move(&[3, 4]), Fence(3), Isr(&[1, 2, 4])],
            "3,4,1,2 +4 -1,2 1@0 isr 4,1,2 elr ",
        ),
        (
            "and goes on when it is back",
            &[Move(&[3, 4]), Fence(3), Isr(&[1, 2, 4]), Back(3), Isr(&[1, 2, 3, 4])],
            "3,4 + - 3@1 isr 3,4 elr ",
        ),
        (
            "the leader dies meanwhile",
            &[Move(&[4, 2, 3]), Fence(1), Isr(&[2, 3, 4])],
            "4,2,3 + - 2@2 isr 4,2,3 elr ",
        ),
        (
            "a target dies meanwhile",
            &[Move(&[4, 2, 3]), Isr(&[1, 2]), Fence(4), Isr(&[1, 2, 3])],
            "4,2,3,1 +4 -1 1@0 isr 2,3,1 elr ",
        ),
        ("cancelled", &[Move(&[4, 5, 3]), Cancel], "3,1,2 + - 1@1 isr 1,2,3 elr "),
        (
            "cancelled when a new one leads",
            &[Move(&[4, 2, 3]), Isr(&[1, 2, 4]), Prefer, Cancel],
            "2,3,1 + - 2@2 isr 2,1 elr ",
        ),
        (
            "another target: what is not wanted any more goes at once",
            &[Move(&[4, 5, 3]), Isr(&[1, 2, 3, 4]), Move(&[5, 6, 3])],
            "5,6,3,1,2 +5,6 -1,2 1@1 isr 3,1,2 elr ",
        ),
        (
            "back to where it was is over at once",
            &[Move(&[4, 5, 6]), Isr(&[1, 2, 3, 4]), Move(&[1, 2, 3])],
            "1,2,3 + - 1@1 isr 1,2,3 elr ",
        ),
        (
            "one that was added before is in sync at once",
            &[Move(&[4, 5, 6]), Isr(&[1, 2, 3, 4]), Move(&[4, 1, 2])],
            "4,1,2 + - 1@2 isr 4,1,2 elr ",
        ),
    ];
    for (name, events, expected) in cases {
        let mut cluster = Cluster::of(6);
        cluster.create(&[], &[1, 2, 3]);
        for event in events {
            take(&mut cluster, *event).unwrap_or_else(|error| panic!("{name}: {event:?}: {error}"));
        }
        assert_eq!(state(&cluster), expected, "{name}");
        let replicas = &cluster.partition().replicas;
        let directories: Vec<_> = replicas
            .iter()
            .map(|node| 0xd0 + u128::from(node.0.unsigned_abs()))
            .collect();
        let stored: Vec<_> = cluster
            .partition()
            .directories
            .iter()
            .map(|id| id.0.as_u128())
            .collect();
        assert_eq!(stored, directories, "{name}: each in a directory of its broker");
    }
}

#[test]
fn who_holds_what_is_committed_is_not_given_up() {
    // With 2 and 3 gone, 1 and 4 commit together, and then 1 is gone.
    let alone = [Move(&[4, 5, 6]), Isr(&[1, 4]), Fence(1)];
    let mut cluster = Cluster::of(6);
    cluster.create(&[], &[1, 2, 3]);
    for event in alone {
        take(&mut cluster, event).unwrap();
    }
    let before = state(&cluster);
    assert_eq!(before, "4,5,6,1,2,3 +4,5,6 -1,2,3 4@1 isr 4 elr 1");
    for event in [Cancel, Move(&[1, 2, 5])] {
        let refused = take(&mut cluster, event).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidReplicaAssignment);
        assert!(refused.message.contains("would require an unclean leader election"));
        assert_eq!(state(&cluster), before);
    }
    // Kafka does it where the topic asks for unclean elections.
    let mut cluster = Cluster::of(6);
    cluster.create(
        &[("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")],
        &[1, 2, 3],
    );
    for event in alone {
        take(&mut cluster, event).unwrap();
    }
    take(&mut cluster, Cancel).unwrap();
    assert_eq!(state(&cluster), "1,2,3 + - 2@2 isr 2 elr ");
}

#[test]
fn a_new_replica_is_no_member_of_anything_until_it_is_in_sync() {
    let mut cluster = Cluster::of(4);
    cluster.create(&[], &[1, 2, 3]);
    take(&mut cluster, Move(&[1, 2, 4])).unwrap();
    for node in [1, 2, 3] {
        cluster.fence(node);
    }
    assert_eq!(state(&cluster), "1,2,4,3 +4 -3 -@3 isr 3 elr 2");
    assert_eq!(cluster.partition().strict, nodes(&[1, 2, 3]));
    cluster.unfence(3);
    take(&mut cluster, Isr(&[3, 4])).unwrap();
    cluster.unfence(1);
    cluster.unfence(2);
    take(&mut cluster, Isr(&[1, 2, 3, 4])).unwrap();
    assert_eq!(
        cluster.partition().strict,
        nodes(&[1, 2]),
        "3 is gone, 4 has not said anything yet"
    );
}

#[test]
fn the_factor_counts_for_the_minimum_when_the_reassignment_is_complete() {
    // (replicas, target, minimum meanwhile, minimum after) with min.insync.replicas=2
    let cases: [(&[i32], &[i32], usize, usize); 4] = [
        (&[1], &[1, 2, 3], 1, 2),
        (&[1], &[4], 1, 1),
        (&[1, 2], &[3, 4], 2, 2),
        (&[1, 2, 3], &[4], 2, 1),
    ];
    for (replicas, target, meanwhile, after) in cases {
        let mut cluster = Cluster::of(4);
        cluster.create(&[("min.insync.replicas", "2")], replicas);
        let minimum = |cluster: &Cluster| {
            let topic = cluster.image.topic_by_id(TOPIC).unwrap();
            cluster.image.effective_min_isr(topic, cluster.partition())
        };
        alter(&mut cluster, &asked(&[(0, Some(target))])).unwrap();
        assert_eq!(minimum(&cluster), meanwhile, "{replicas:?} to {target:?}");
        let all = cluster.partition().replicas.clone();
        cluster.propose_isr(TP, &all);
        assert!(!cluster.partition().is_reassigned());
        assert_eq!(minimum(&cluster), after, "{replicas:?} to {target:?}");
        assert_eq!(cluster.partition().replicas, nodes(target));
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_kafkas_words() {
    let whole = |replicas: &'static [i32]| asked(&[(0, Some(replicas))]);
    let elsewhere = AlterReassignments {
        topics: vec![("none".into(), vec![ReassignedPartition::default()])],
        ..AlterReassignments::default()
    };
    let same_factor = AlterReassignments {
        allow_factor_change: false,
        ..whole(&[1, 2])
    };
    let cases = [
        (elsewhere, 3, "Unable to find a topic named none."),
        (asked(&[(77, None)]), 3, "Unable to find partition t:77."),
        (asked(&[(-1, None)]), 3, "Unable to find partition t:-1."),
        (asked(&[(0, None)]), 85, ""),
        (
            whole(&[]),
            39,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            whole(&[1, 2, 2]),
            39,
            "The manual partition assignment includes the broker 2 more than once.",
        ),
        (
            whole(&[1, 2, 9]),
            39,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (same_factor, 38, "The replication factor is changed from 3 to 2"),
    ];
    let mut cluster = Cluster::with_topic(&[]);
    let before = cluster.image.clone();
    for (command, code, message) in cases {
        let refused = alter(&mut cluster, &command).unwrap_err();
        assert_eq!((refused.code.code(), refused.message.as_str()), (code, message));
        assert_eq!(cluster.image, before);
    }
    // The factor of one that moves is what it will have.
    let mut cluster = Cluster::of(4);
    cluster.create(&[], &[1, 2, 3]);
    alter(&mut cluster, &whole(&[1, 2, 3, 4])).unwrap();
    let four = AlterReassignments {
        allow_factor_change: false,
        ..whole(&[4, 3, 2, 1])
    };
    alter(&mut cluster, &four).unwrap();
}

#[test]
fn one_that_is_refused_does_not_keep_others_from_moving() {
    let mut cluster = Cluster::with_topic(&[]);
    let plan = plan::alter_reassignments(
        &cluster.image,
        &asked(&[(7, None), (0, Some(&[2, 1])), (0, Some(&[2, 3]))]),
    );
    let refused: Vec<_> = plan.response[0]
        .1
        .iter()
        .map(|(number, outcome)| (*number, outcome.is_err()))
        .collect();
    assert_eq!(refused, [(7, true), (0, false), (0, false)]);
    assert_eq!(plan.records.len(), 1, "one record, however often it is named");
    cluster.apply(&plan.records);
    assert_eq!(
        cluster.partition().target_replicas().collect::<Vec<_>>(),
        nodes(&[2, 3])
    );
}

#[test]
fn a_topic_grows_by_what_its_partitions_will_have() {
    let mut cluster = Cluster::of(3);
    cluster.create(&[], &[1]);
    take(&mut cluster, Move(&[1, 2, 3])).unwrap();
    let more = MorePartitions {
        name: "t".into(),
        count: 2,
        assignments: None,
    };
    let command = CreatePartitions {
        topics: vec![more],
        validate_only: false,
    };
    let plan = plan::create_partitions(&cluster.image, &command, 0);
    let Record::Partition { partition, .. } = &plan.records[0] else {
        panic!("{:?}", plan.records)
    };
    assert_eq!(partition.replicas.len(), 3);
    assert!(!partition.is_reassigned());
}

#[test]
fn records_that_make_no_sense_are_not_applied() {
    let wrong: [fn(&mut PartitionImage); 3] = [
        |partition| partition.adding_replicas = nodes(&[9]),
        |partition| partition.removing_replicas = nodes(&[1, 1]),
        |partition| {
            partition.adding_replicas = nodes(&[1]);
            partition.removing_replicas = nodes(&[1]);
        },
    ];
    for change in wrong {
        let mut cluster = Cluster::with_topic(&[]);
        let mut partition = cluster.partition().clone();
        partition.partition_epoch.0 += 1;
        change(&mut partition);
        let record = Record::Partition {
            tp: TP,
            partition: Box::new(partition),
        };
        let index = cluster.image.index;
        assert!(cluster.image.apply(index, &record).is_err());
    }
}
