//! Replicas whose logs rotted while their broker ran.

mod fixture;

use fixture::{Cluster, TP, nodes};
use metadata::plan::{self, ExpelDamaged};
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, TopicPartition};

fn report(cluster: &mut Cluster, node: i32, tp: TopicPartition, leader_epoch: i32) -> ErrorCode {
    let command = ExpelDamaged {
        node_id: NodeId(node),
        broker_epoch: cluster.epoch(node),
        partitions: vec![(tp, LeaderEpoch(leader_epoch))],
    };
    let plan = plan::expel_damaged(&cluster.image, &command).unwrap();
    assert_eq!(plan.records.is_empty(), !plan.response[0].1.is_none());
    cluster.apply(&plan.records);
    plan.response[0].1
}

/// ◆ A damaged replica leaves ISR and ELR in a new leader epoch, also where the leader stays; one without which nobody could
/// lead stays. Fails for the followers if the epoch stays.
#[test]
fn a_damaged_replica_leaves_in_a_new_leader_epoch_unless_it_is_the_last() {
    type Prepare = fn(&mut Cluster);
    let rows: [(&str, Prepare, i32, i32, ErrorCode, &str); 10] = [
        ("the leader", |_| {}, 1, 0, ErrorCode::None, "2@1 isr 2,3 elr "),
        ("a follower", |_| {}, 3, 0, ErrorCode::None, "1@1 isr 1,2 elr "),
        (
            "below the minimum",
            |c| c.fence(3),
            2,
            0,
            ErrorCode::None,
            "1@1 isr 1 elr ",
        ),
        (
            "a member of the ELR, which is out of the ISR",
            |c| {
                c.fence(2);
                c.fence(3);
                c.unfence(3);
            },
            3,
            0,
            ErrorCode::None,
            "1@1 isr 1 elr ",
        ),
        (
            "the last of the ISR, and another in the ELR is back",
            |c| {
                c.fence(2);
                c.fence(3);
                c.unfence(3);
            },
            1,
            0,
            ErrorCode::None,
            "3@1 isr 3 elr ",
        ),
        (
            "the last of the ISR, and those of the ELR are away",
            |c| {
                c.fence(2);
                c.fence(3);
            },
            1,
            0,
            ErrorCode::EligibleLeadersNotAvailable,
            "1@0 isr 1 elr 3",
        ),
        (
            "an old epoch",
            |c| c.fence(1),
            2,
            0,
            ErrorCode::FencedLeaderEpoch,
            "2@1 isr 2,3 elr ",
        ),
        (
            "an epoch to come",
            |_| {},
            2,
            7,
            ErrorCode::NotController,
            "1@0 isr 1,2,3 elr ",
        ),
        (
            "a second report",
            |c| {
                report(c, 3, TP, 0);
            },
            3,
            0,
            ErrorCode::FencedLeaderEpoch,
            "1@1 isr 1,2 elr ",
        ),
        (
            "one that is out already: what it acknowledged must be forgotten",
            |c| {
                report(c, 3, TP, 0);
            },
            3,
            1,
            ErrorCode::None,
            "1@2 isr 1,2 elr ",
        ),
    ];
    for (name, prepare, node, leader_epoch, expected, state) in rows {
        let mut cluster = Cluster::with_topic(&[]);
        prepare(&mut cluster);
        assert_eq!(report(&mut cluster, node, TP, leader_epoch), expected, "{name}");
        assert_eq!(cluster.state(), state, "{name}");
        if expected.is_none() {
            assert!(!cluster.partition().strict.contains(&NodeId(node)), "{name}");
        }
    }
}

#[test]
fn only_a_replica_of_a_registered_broker_is_reported() {
    let mut cluster = Cluster::of(4);
    cluster.create(&[], &[1, 2, 3]);
    assert_eq!(report(&mut cluster, 4, TP, 0), ErrorCode::ReplicaNotAvailable);
    let other = TopicPartition { partition: 9, ..TP };
    assert_eq!(report(&mut cluster, 1, other, 0), ErrorCode::UnknownTopicOrPartition);
    let stale = ExpelDamaged {
        node_id: NodeId(1),
        broker_epoch: BrokerEpoch(0),
        partitions: vec![(TP, LeaderEpoch(0))],
    };
    let error = plan::expel_damaged(&cluster.image, &stale).unwrap_err();
    assert_eq!(error.code, ErrorCode::StaleBrokerEpoch);
    assert_eq!(cluster.partition().isr, nodes(&[1, 2, 3]));
}
