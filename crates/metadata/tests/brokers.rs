//! Registration, fencing, unfencing, controlled shutdown: command to exact outcome.

mod fixture;

use fixture::{Cluster, TP, disk, nodes};
use metadata::plan::{self, ElectLeaders, Heartbeat, OfflineDirectories, RegisterBroker, ResignLeaders};
use metadata::{DirectoryOutcome, Record};
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, TopicId, TopicPartition};
use uuid::Uuid;

const RELAXED: (&str, &str) = ("flush.messages", "1000");
type Change = fn(&mut RegisterBroker);
const NOTHING: Change = |_| {};
const CLEAN: Change = |command| command.registration.directories[0].clean = true;
const NEW_DISK: Change = |command| command.registration.directories = vec![disk(0xee)];
const DAMAGED: Change = |command| command.registration.directories[0].outcome = DirectoryOutcome::Missing;
const RESTORED: Change = |command| command.previous_broker_epoch = Some(BrokerEpoch(0));
const FORGOT: Change = |command| command.previous_broker_epoch = None;

#[test]
fn a_registration_is_one_entry_with_a_new_leader_epoch() {
    let mut cluster = Cluster::with_topic(&[]);
    let before = cluster.partition().clone();
    let command = cluster.command(1, NOTHING);
    let plan = plan::register_broker(&cluster.image, &command).unwrap();
    let mut after = before.clone();
    after.leader = Some(NodeId(2));
    after.leader_epoch = LeaderEpoch(1);
    after.partition_epoch = PartitionEpoch(1);
    let broker = Record::Broker(Box::new(command.registration));
    assert_eq!(
        plan.records,
        vec![
            broker,
            Record::Partition {
                tp: TP,
                partition: Box::new(after)
            }
        ]
    );
    cluster.apply(&plan.records);
    assert_eq!(cluster.epoch(1), BrokerEpoch(cluster.image.index.0));
    assert!(!cluster.image.alive(NodeId(1)));
}

/// What a restart does to the replica on 1, the leader of `1@0 isr 1,2,3`.
#[test]
fn who_stays_in_the_isr_over_a_restart() {
    let strict: &[(&str, &str)] = &[];
    let relaxed: &[(&str, &str)] = &[RELAXED];
    let cases = [
        (strict, NOTHING, "2@1 isr 1,2,3 elr "),
        (strict, NEW_DISK, "2@1 isr 2,3 elr "),
        (strict, DAMAGED, "2@1 isr 2,3 elr "),
        (strict, RESTORED, "2@1 isr 2,3 elr "),
        (strict, FORGOT, "2@1 isr 2,3 elr "),
        (relaxed, NOTHING, "2@1 isr 2,3 elr "),
        (relaxed, CLEAN, "2@1 isr 1,2,3 elr "),
        (relaxed, NEW_DISK, "2@1 isr 2,3 elr "),
    ];
    for (at, (configs, change, expected)) in cases.into_iter().enumerate() {
        let mut cluster = Cluster::with_topic(configs);
        cluster.restart(1, change);
        assert_eq!(cluster.state(), expected, "case {at}");
        let kept = cluster.partition().isr.contains(&NodeId(1)) && configs.is_empty();
        assert_eq!(cluster.partition().strict.contains(&NodeId(1)), kept, "case {at}");
    }
}

/// ◆ One damaged log costs that replica its place, and no other replica of the directory. Fails if damage counts for
/// the directory.
#[test]
fn only_the_damaged_replica_of_a_directory_is_lost() {
    let other = TopicPartition {
        topic: TopicId(Uuid::from_u128(0x71)),
        partition: 0,
    };
    // (which log of which directory, what becomes of partition 0 of TOPIC)
    let cases = [
        ((disk(0xd1).id, TP), "2@1 isr 2,3 elr "),
        ((disk(0xd1).id, other), "2@1 isr 1,2,3 elr "),
        // A stray copy elsewhere says nothing of the replica.
        ((disk(0xee).id, TP), "2@1 isr 1,2,3 elr "),
    ];
    for (damaged, expected) in cases {
        let mut cluster = Cluster::with_topic(&[]);
        cluster.restart(1, |command| {
            command.registration.directories.push(disk(0xee));
            command.damaged.insert(damaged);
        });
        assert_eq!(cluster.state(), expected, "{damaged:?}");
    }
}

/// All nodes lose power at once and nobody noticed: every registration is unclean, and nothing is offline.
#[test]
fn a_strict_partition_survives_power_loss_of_all() {
    let mut cluster = Cluster::with_topic(&[]);
    for node in 1..=3 {
        cluster.restart(node, NOTHING);
    }
    assert_eq!(cluster.state(), "-@3 isr 1,2,3 elr ");
    cluster.unfence(3);
    assert_eq!(cluster.state(), "3@4 isr 1,2,3 elr ");
}

#[test]
fn a_relaxed_partition_keeps_its_last_known_leader() {
    let mut cluster = Cluster::with_topic(&[RELAXED]);
    for node in 1..=3 {
        cluster.restart(node, NOTHING);
    }
    assert_eq!(cluster.state(), "-@3 isr  elr ");
    assert_eq!(cluster.partition().last_known_elr, nodes(&[3]));
    cluster.unfence(1);
    assert_eq!(cluster.state(), "-@3 isr  elr ");
    cluster.unfence(3);
    assert_eq!(cluster.state(), "3@4 isr 3 elr ");
}

#[test]
fn a_replaced_disk_gets_the_replica_and_a_failed_one_does_not_lose_it() {
    let mut cluster = Cluster::with_topic(&[]);
    cluster.restart(1, |command| {
        command.registration.directories[0].outcome = DirectoryOutcome::Failed;
        command.registration.directories.push(disk(0xee));
    });
    assert_eq!(cluster.partition().directories[0], disk(0xd1).id);
    cluster.restart(1, |command| command.registration.directories = vec![disk(0xef)]);
    assert_eq!(cluster.partition().directories[0], disk(0xef).id);
}

#[test]
fn a_living_incarnation_keeps_its_node_id() {
    let mut cluster = Cluster::with_topic(&[]);
    let mut command = cluster.command(1, |command| command.session_alive = true);
    let refused = plan::register_broker(&cluster.image, &command).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DuplicateBrokerRegistration);
    // The same start again: what it was answered the first time.
    command.registration.incarnation = cluster.image.broker(NodeId(1)).unwrap().incarnation;
    let again = plan::register_broker(&cluster.image, &command).unwrap();
    assert_eq!((again.records, again.response), (vec![], Some(cluster.epoch(1))));
    cluster.fence(1);
    command.registration.incarnation = 99;
    assert!(plan::register_broker(&cluster.image, &command).is_ok());
}

/// Brokers fenced one after the other; then who is unfenced, and the state after each.
#[test]
fn fencing_moves_leaders_and_keeps_the_last_member() {
    let mut cluster = Cluster::with_topic(&[]);
    let steps = [
        (1, true, "2@1 isr 2,3 elr "),
        (2, true, "3@2 isr 3 elr 2"),
        (3, true, "-@3 isr 3 elr 2"),
        (1, false, "-@3 isr 3 elr 2"),
        (2, false, "2@4 isr 2 elr 3"),
        (3, false, "2@4 isr 2 elr 3"),
    ];
    for (node, fence, expected) in steps {
        if fence {
            cluster.fence(node)
        } else {
            cluster.unfence(node)
        }
        assert_eq!(cluster.state(), expected, "broker {node} fenced: {fence}");
    }
}

#[test]
fn unclean_election_only_where_the_topic_asks_for_it() {
    for (enabled, expected) in [("false", "-@3 isr 3 elr 2"), ("true", "1@4 isr 1 elr ")] {
        let mut cluster = Cluster::with_topic(&[("unclean.leader.election.enable", enabled)]);
        for node in 1..=3 {
            cluster.fence(node);
        }
        cluster.unfence(1);
        assert_eq!(cluster.state(), expected);
    }
}

#[test]
fn a_kept_member_that_does_not_come_back_is_fenced_out() {
    let mut cluster = Cluster::with_topic(&[]);
    cluster.restart(3, NOTHING);
    assert_eq!(cluster.state(), "1@0 isr 1,2,3 elr ");
    cluster.fence(3);
    assert_eq!(cluster.state(), "1@0 isr 1,2 elr ");
}

#[test]
fn a_heartbeat_unfences_who_applied_its_registration() {
    let mut cluster = Cluster::with_topic(&[]);
    cluster.restart(1, NOTHING);
    let broker_epoch = cluster.epoch(1);
    let heartbeat = |broker_epoch: BrokerEpoch, applied| {
        let command = Heartbeat {
            node_id: NodeId(1),
            broker_epoch,
            applied: LogIndex(applied),
        };
        plan::heartbeat(&cluster.image, command)
    };
    let early = heartbeat(broker_epoch, broker_epoch.0 - 1).unwrap();
    assert!(early.records.is_empty() && early.response.fenced);
    let stale = heartbeat(BrokerEpoch(broker_epoch.0 - 1), u64::MAX).unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleBrokerEpoch);
    let unfenced = heartbeat(broker_epoch, broker_epoch.0).unwrap();
    let change = Record::BrokerChange {
        node_id: NodeId(1),
        broker_epoch,
        fenced: false,
        shutting_down: false,
        silent: false,
    };
    assert_eq!((unfenced.records, unfenced.response.fenced), (vec![change], false));
}

#[test]
fn controlled_shutdown_moves_what_another_can_lead() {
    let mut cluster = Cluster::with_topic(&[]);
    for (node, expected, left) in [
        (1, "2@1 isr 2,3 elr ", 0),
        (2, "3@2 isr 3 elr 2", 0),
        (3, "3@2 isr 3 elr 2", 1),
    ] {
        let plan = plan::controlled_shutdown(&cluster.image, NodeId(node), cluster.epoch(node)).unwrap();
        cluster.apply(&plan.records);
        assert_eq!((cluster.state().as_str(), plan.response), (expected, left));
    }
    // Another's fencing does not take the leadership of who goes on leading.
    cluster.fence(1);
    assert_eq!(cluster.state(), "3@2 isr 3 elr 2");
    cluster.fence(3);
    assert_eq!(cluster.state(), "-@3 isr 3 elr 2");
    cluster.unfence(3);
    assert!(
        !cluster.image.alive(NodeId(3)),
        "who shut down is back only with a new registration"
    );
}

/// ◆ A stalled disk gives its leaderships to in-sync replicas only, never past the last of them, and only in the leader
/// epoch that it speaks of.
#[test]
fn a_leader_resigns_where_another_in_sync_replica_can_lead() {
    // (brokers fenced before, who resigns in which leader epoch, how many move, what comes of it)
    let cases: [(&[i32], _, _, _, _); 6] = [
        (&[], 1, 0, 1, "2@1 isr 2,3 elr "),
        (&[2], 1, 0, 1, "3@1 isr 3 elr 1"),
        (&[2, 3], 1, 0, 0, "1@0 isr 1 elr 3"),
        (&[], 2, 0, 0, "1@0 isr 1,2,3 elr "),
        (&[], 1, 1, 0, "1@0 isr 1,2,3 elr "),
        (&[1], 2, 0, 0, "2@1 isr 2,3 elr "),
    ];
    for (fenced, node, leader_epoch, moved, expected) in cases {
        let mut cluster = Cluster::with_topic(&[]);
        for node in fenced {
            cluster.fence(*node);
        }
        let resigned = (TP, LeaderEpoch(leader_epoch));
        let unknown = TopicPartition { partition: 9, ..TP };
        let command = ResignLeaders {
            node_id: NodeId(node),
            broker_epoch: cluster.epoch(node),
            partitions: vec![(unknown, LeaderEpoch(0)), resigned, resigned],
        };
        let plan = plan::resign_leaders(&cluster.image, &command).unwrap();
        cluster.apply(&plan.records);
        let outcome = (plan.response, cluster.state());
        assert_eq!(
            outcome,
            (moved, expected.to_owned()),
            "{fenced:?} fenced, {node} resigns"
        );
        let earlier_life = ResignLeaders {
            broker_epoch: BrokerEpoch(command.broker_epoch.0 - 1),
            ..command
        };
        let refused = plan::resign_leaders(&cluster.image, &earlier_life).unwrap_err();
        assert_eq!(refused.code, ErrorCode::StaleBrokerEpoch);
    }
}

/// The commands of a broker whose directories fail, and of one that was told of before.
fn fail(cluster: &mut Cluster, node: i32, directories: &[u128]) -> usize {
    let command = OfflineDirectories {
        node_id: NodeId(node),
        broker_epoch: cluster.epoch(node),
        directories: directories.iter().map(|id| disk(*id).id).collect(),
    };
    let plan = plan::offline_directories(&cluster.image, &command).unwrap();
    cluster.apply(&plan.records);
    let again = plan::offline_directories(&cluster.image, &command).unwrap();
    assert_eq!(
        (again.records, again.response),
        (vec![], 0),
        "a repeated report changes nothing"
    );
    let earlier_life = OfflineDirectories {
        broker_epoch: BrokerEpoch(command.broker_epoch.0 - 1),
        ..command
    };
    let refused = plan::offline_directories(&cluster.image, &earlier_life).unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleBrokerEpoch);
    plan.response
}

/// ◆ What is in a failed directory leads nothing, by no way of electing, until a restart has recovered it; the last member
/// of an ISR stays that.
#[test]
fn replicas_in_a_failed_directory_lead_nothing_until_it_is_recovered() {
    // (brokers whose directory fails in turn, what comes of it, and once broker 1 has restarted with all it had)
    let cases: [(&[i32], _, _); 4] = [
        (&[1], "2@1 isr 2,3 elr ", "2@1 isr 2,3 elr "),
        (&[2], "1@0 isr 1,3 elr ", "3@1 isr 1,3 elr "),
        (&[2, 3], "1@0 isr 1 elr 3", "1@2 isr 1 elr 3"),
        (&[2, 3, 1], "-@1 isr 1 elr 3", "1@2 isr 1 elr 3"),
    ];
    for (failed, expected, restarted) in cases {
        let mut cluster = Cluster::with_topic(&[]);
        for node in failed {
            fail(&mut cluster, *node, &[0xd0 + u128::from(node.unsigned_abs())]);
        }
        assert_eq!(cluster.state(), expected, "{failed:?}");
        let elected = plan::elect_leaders(&cluster.image, &ElectLeaders::default()).records;
        assert_eq!(elected, [], "{failed:?}: there is nobody to elect");
        cluster.restart(1, CLEAN);
        cluster.unfence(1);
        assert_eq!(cluster.state(), restarted, "{failed:?}");
    }
}

#[test]
fn a_replica_in_a_failed_directory_does_not_join_the_isr() {
    let mut cluster = Cluster::with_topic(&[]);
    fail(&mut cluster, 3, &[0xd3]);
    let partition = cluster.partition();
    let asked = plan::AlterPartition {
        tp: TP,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: [1, 2, 3].map(|node| (NodeId(node), cluster.epoch(node))).to_vec(),
    };
    let command = plan::AlterPartitions {
        node_id: NodeId(1),
        broker_epoch: cluster.epoch(1),
        partitions: vec![asked],
    };
    let plan = plan::alter_partitions(&cluster.image, &command).unwrap();
    let refused = plan.response[0].1.as_ref().unwrap_err();
    assert_eq!(refused.code, ErrorCode::IneligibleReplica);
}

/// Fails if a broker is given up with one of its directories, or if new replicas are not spread over them.
#[test]
fn a_failed_directory_takes_nothing_else_along() {
    let mut cluster = Cluster::of(3);
    cluster.restart(1, |command| command.registration.directories.push(disk(0xee)));
    cluster.unfence(1);
    let new = plan::NewTopic {
        id: fixture::TOPIC,
        name: "t".into(),
        partitions: -1,
        replication_factor: -1,
        assignments: (0..4).map(|number| (number, nodes(&[1, 2, 3]))).collect(),
        ..Default::default()
    };
    let command = plan::CreateTopics {
        topics: vec![new],
        ..Default::default()
    };
    let created = plan::create_topics(&cluster.image, &command, 0).records;
    cluster.apply(&created);
    let at = |cluster: &Cluster, partition| {
        let partition = cluster.image.partition(TopicPartition { partition, ..TP }).unwrap();
        (partition.directories[0], partition.leader, partition.isr.len())
    };
    let (first, second, leader) = (disk(0xd1).id, disk(0xee).id, Some(NodeId(1)));
    for (partition, directory) in [(0, first), (1, second), (2, first), (3, second)] {
        assert_eq!(at(&cluster, partition), (directory, leader, 3));
    }
    assert_eq!(fail(&mut cluster, 1, &[0xee, 0xab]), 2);
    for (partition, directory, leader, in_sync) in [
        (0, first, leader, 3),
        (1, second, Some(NodeId(2)), 2),
        (2, first, leader, 3),
        (3, second, Some(NodeId(2)), 2),
    ] {
        assert_eq!(at(&cluster, partition), (directory, leader, in_sync), "{partition}");
    }
    // What is created from now on goes to the directory that is left.
    let more = plan::CreatePartitions {
        topics: vec![plan::MorePartitions {
            name: "t".into(),
            count: 6,
            assignments: Some(vec![nodes(&[1, 2, 3]); 2]),
        }],
        ..Default::default()
    };
    let grown = plan::create_partitions(&cluster.image, &more, 0).records;
    cluster.apply(&grown);
    assert_eq!((at(&cluster, 4).0, at(&cluster, 5).0), (first, first));
}

#[test]
fn unregistering_leaves_the_replicas_assigned() {
    let mut cluster = Cluster::with_topic(&[]);
    let plan = plan::unregister(&cluster.image, NodeId(1)).unwrap();
    assert_eq!(plan.records[0], Record::BrokerRemoved { node_id: NodeId(1) });
    cluster.apply(&plan.records);
    assert_eq!(cluster.state(), "2@1 isr 2,3 elr ");
    assert_eq!(
        plan::unregister(&cluster.image, NodeId(1)).unwrap_err().code,
        ErrorCode::BrokerIdNotRegistered
    );
}
