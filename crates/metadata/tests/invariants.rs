//! Random commands keep the invariants of partitions.

mod fixture;

use fixture::{Cluster, TP};
use metadata::plan::{
    self, AlterPartition, AlterPartitions, AlterReassignments, OfflineDirectories, ReassignedPartition, ResignLeaders,
};
use metadata::{DirectoryOutcome, Image, PartitionImage, decode_records, encode_records};
use proptest::prelude::*;
use std::collections::BTreeSet;
use types::NodeId;

const NODES: i32 = 5;

#[derive(Debug, Clone)]
enum Step {
    Fence(i32),
    Unfence(i32),
    Shutdown(i32),
    Resign(i32),
    /// Its log directory fails.
    FailDirectory(i32),
    /// A restart: cleanly; wiped.
    Restart(i32, bool, bool),
    /// An ISR by bit mask.
    Alter(u8),
    /// The replicas are to be these, by bit mask, from this one on; none: the reassignment is cancelled.
    Reassign(u8, usize),
    Prefer,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    prop_oneof![
        node.clone().prop_map(Step::Fence),
        node.clone().prop_map(Step::Unfence),
        node.clone().prop_map(Step::Shutdown),
        node.clone().prop_map(Step::Resign),
        node.clone().prop_map(Step::FailDirectory),
        (node, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(node, clean, wiped)| Step::Restart(node, clean, wiped)),
        (0u8..1 << NODES).prop_map(Step::Alter),
        // Most proposals bring everybody in.
        Just(Step::Alter(u8::MAX)),
        (0u8..1 << NODES, 0usize..4).prop_map(|(mask, first)| Step::Reassign(mask, first)),
        Just(Step::Prefer),
    ]
}

fn take(cluster: &mut Cluster, step: &Step) {
    match *step {
        Step::Fence(node) => cluster.fence(node),
        Step::Unfence(node) => cluster.unfence(node),
        Step::Shutdown(node) => {
            let records = plan::controlled_shutdown(&cluster.image, NodeId(node), cluster.epoch(node))
                .unwrap()
                .records;
            cluster.apply(&records);
        }
        Step::Resign(node) => {
            let command = ResignLeaders {
                node_id: NodeId(node),
                broker_epoch: cluster.epoch(node),
                partitions: vec![(TP, cluster.partition().leader_epoch)],
            };
            let records = plan::resign_leaders(&cluster.image, &command).unwrap().records;
            cluster.apply(&records);
        }
        Step::FailDirectory(node) => {
            let command = OfflineDirectories {
                node_id: NodeId(node),
                broker_epoch: cluster.epoch(node),
                directories: cluster.partition().directory(NodeId(node)).into_iter().collect(),
            };
            let records = plan::offline_directories(&cluster.image, &command).unwrap().records;
            cluster.apply(&records);
        }
        Step::Restart(node, clean, wiped) => cluster.restart(node, |command| {
            let report = &mut command.registration.directories[0];
            report.clean = clean;
            report.outcome = if wiped {
                DirectoryOutcome::Missing
            } else {
                DirectoryOutcome::Intact
            };
        }),
        Step::Alter(mask) => {
            let Some(leader) = cluster.partition().leader else {
                return;
            };
            let live = |node: &NodeId| mask != u8::MAX || cluster.image.may_lead(*node);
            let replicas = cluster.partition().replicas.iter().copied().filter(live);
            let members = replicas.map(|node| node.0).filter(|node| mask & (1 << (node - 1)) != 0);
            let asked = AlterPartition {
                tp: TP,
                leader_epoch: cluster.partition().leader_epoch,
                partition_epoch: cluster.partition().partition_epoch,
                isr: members.map(|node| (NodeId(node), cluster.epoch(node))).collect(),
            };
            let broker_epoch = cluster.epoch(leader.0);
            let command = AlterPartitions {
                node_id: leader,
                broker_epoch,
                partitions: vec![asked],
            };
            let records = plan::alter_partitions(&cluster.image, &command).unwrap().records;
            cluster.apply(&records);
        }
        Step::Reassign(mask, first) => {
            let mut replicas: Vec<NodeId> = (1..=NODES)
                .filter(|node| mask & (1 << (node - 1)) != 0)
                .map(NodeId)
                .collect();
            let turn = first.checked_rem(replicas.len()).unwrap_or(0);
            replicas.rotate_left(turn);
            let asked = ReassignedPartition {
                partition: 0,
                replicas: (!replicas.is_empty()).then_some(replicas),
            };
            let command = AlterReassignments {
                allow_factor_change: true,
                topics: vec![("t".into(), vec![asked])],
            };
            let records = plan::alter_reassignments(&cluster.image, &command).records;
            cluster.apply(&records);
        }
        Step::Prefer => {
            let records = plan::balance_leaders(&cluster.image, 0).records;
            cluster.apply(&records);
        }
    }
}

fn check(
    step: &Step,
    image: &Image,
    before: &PartitionImage,
    after: &PartitionImage,
    strict: bool,
) -> Result<(), TestCaseError> {
    prop_assert!(
        after
            .isr
            .iter()
            .chain(&after.elr)
            .all(|node| after.replicas.contains(node))
    );
    // An ISR that completes a reassignment may be all new, and so its leader.
    let joined = matches!(step, Step::Alter(_)) && before.is_reassigned() && !after.is_reassigned();
    prop_assert!(!after.elr.iter().any(|node| after.isr.contains(node)));
    if let Some(leader) = after.leader {
        prop_assert!(after.isr.contains(&leader) && image.alive(leader));
        prop_assert!(image.replica_is_online(after, leader));
    }
    if after.leader != before.leader {
        prop_assert!(after.leader_epoch > before.leader_epoch);
        let clean = after.leader.is_none_or(|leader| {
            [&before.isr, &before.elr, &before.last_known_elr]
                .iter()
                .any(|list| list.contains(&leader))
        });
        prop_assert!(clean || joined, "an unclean election");
    }
    if after != before {
        prop_assert_eq!(after.partition_epoch.0, before.partition_epoch.0 + 1);
    }
    if let Step::Restart(node, clean, wiped) = *step {
        let node = NodeId(node);
        prop_assert!(before.leader != Some(node) || after.leader_epoch > before.leader_epoch);
        prop_assert!(!wiped || !(after.isr.contains(&node) || after.elr.contains(&node)));
        let durable = clean || (strict && before.strict.contains(&node));
        if !wiped && durable && before.isr.contains(&node) && before.leader.is_none_or(|leader| leader == node) {
            prop_assert!(after.isr.contains(&node) || after.elr.contains(&node));
        }
    } else {
        // Somebody always holds everything that is committed.
        let eligible = before
            .isr
            .iter()
            .chain(&before.elr)
            .any(|node| after.isr.contains(node) || after.elr.contains(node));
        prop_assert!(eligible || joined || (before.isr.is_empty() && before.elr.is_empty()));
        prop_assert!(before.isr.is_empty() || !after.isr.is_empty());
    }
    Ok(())
}

/// Whoever is in the ISR or eligible holds all that was ever committed: by whoever leads, while enough are in sync. Of a
/// relaxed partition an unclean stop loses what was not on disk.
fn hold(
    holders: &mut BTreeSet<NodeId>,
    step: &Step,
    before: &PartitionImage,
    cluster: &Cluster,
    strict: bool,
) -> Result<(), TestCaseError> {
    let after = cluster.partition();
    match *step {
        // They have caught up, or would not be proposed.
        Step::Alter(_) => holders.extend(after.isr.iter().filter(|node| !before.isr.contains(node))),
        Step::Restart(node, clean, wiped) if wiped || !(clean || strict) => {
            holders.remove(&NodeId(node));
        }
        _ => {}
    }
    // Nobody was left who had it all: the last known leader says what there is.
    if let Some(leader) = after.leader.filter(|_| !strict)
        && before.isr.is_empty()
        && before.elr.is_empty()
    {
        *holders = [leader].into();
    }
    // What is no replica any more is deleted.
    holders.retain(|node| after.replicas.contains(node));
    for node in after.isr.iter().chain(&after.elr) {
        prop_assert!(
            holders.contains(node),
            "{:?}: {} of {:?} may lack committed records",
            step,
            node,
            after
        );
    }
    let topic = cluster.image.topic("t").unwrap();
    if after.leader.is_some() && after.isr.len() >= cluster.image.effective_min_isr(topic, after) {
        holders.retain(|node| after.isr.contains(node));
    }
    Ok(())
}

fn run(steps: &[Step], strict: bool) -> Result<(), TestCaseError> {
    let configs: &[(&str, &str)] = if strict { &[] } else { &[("flush.messages", "9")] };
    let mut cluster = Cluster::of(NODES);
    cluster.create(configs, &[1, 2, 3]);
    let mut holders: BTreeSet<NodeId> = cluster.partition().replicas.iter().copied().collect();
    for step in steps {
        let before = cluster.partition().clone();
        take(&mut cluster, step);
        check(step, &cluster.image, &before, cluster.partition(), strict)?;
        hold(&mut holders, step, &before, &cluster, strict)?;
    }
    let bytes = encode_records(&cluster.image.to_snapshot());
    let restored = Image::from_snapshot(cluster.image.index, &decode_records(&bytes).unwrap()).unwrap();
    prop_assert_eq!(restored, cluster.image);
    Ok(())
}

proptest! {
    #[test]
    fn partitions_keep_their_invariants(steps in prop::collection::vec(step(), 1..60), strict: bool) {
        run(&steps, strict)?;
    }
}

/// Rules of the planners that are left out: the invariants above notice.
#[cfg(feature = "broken")]
#[test]
fn a_rule_that_is_left_out_is_noticed() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    use types::Broken;
    for rule in [
        Broken::KeepUncleanReplicas,
        Broken::KeepLostReplicas,
        Broken::ElectAnybody,
    ] {
        types::choose([rule]);
        let cases = (prop::collection::vec(step(), 1..60), any::<bool>());
        let config = Config {
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let found = runner.run(&cases, |(steps, strict)| run(&steps, strict));
        types::choose(None);
        println!("{rule:?}: {found:?}");
        assert!(found.is_err(), "nobody notices {rule:?}");
    }
}
