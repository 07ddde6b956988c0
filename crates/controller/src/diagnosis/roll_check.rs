use super::{Diagnosis, Facts, Finding, words};
use std::collections::BTreeSet;
use types::NodeId;

/// Partitions that are named one by one; of more there is the number.
const BLOCKERS_MAX: usize = 100;

/// Whether a node may be stopped now: no partition would go offline or below its minimum, and the metadata would keep a
/// quorum. What is not as it should be already, and would not get worse, blocks nothing.
pub(super) fn check(facts: &Facts, node: NodeId) -> Diagnosis {
    let Some(broker) = facts.image.broker(node) else {
        let known: Vec<NodeId> = facts.image.brokers.keys().copied().collect();
        return Diagnosis::unknown(format!("there is no broker {node}; there are {}", words::nodes(&known)));
    };
    let mut blockers: Vec<Finding> = facts.no_controller().into_iter().collect();
    blockers.extend(quorum(facts, node));
    if broker.fenced && blockers.is_empty() {
        return Diagnosis {
            found: true,
            well: true,
            sentence: format!("node {node} may be stopped: it is fenced, and nothing relies on it."),
            ..Diagnosis::default()
        };
    }
    let partitions = partitions(facts, node);
    let count = |kind: &str| partitions.iter().filter(|blocker| blocker.kind == kind).count();
    let (offline, under_min_isr) = (count("offline"), count("under-min-isr"));
    let mut why: Vec<String> = blockers.iter().map(|blocker| blocker.text.clone()).collect();
    if offline > 0 {
        why.push(format!("{} would go offline", words::count(offline, "partition")));
    }
    if under_min_isr > 0 {
        why.push(format!(
            "{} would go below min.insync.replicas",
            words::count(under_min_isr, "partition")
        ));
    }
    let moving = count("moving");
    if moving > 0 {
        let are = if moving == 1 { "is" } else { "are" };
        why.push(format!(
            "{} {are} being moved to or from it",
            words::count(moving, "partition")
        ));
    }
    blockers.extend(partitions);
    let well = blockers.is_empty();
    let to_do = to_do(facts, node, &blockers);
    if blockers.len() > BLOCKERS_MAX {
        let more = blockers.len() - BLOCKERS_MAX;
        blockers.truncate(BLOCKERS_MAX);
        blockers.push(Finding::new("more", format!("and {more} more")));
    }
    Diagnosis {
        found: true,
        well,
        sentence: if well {
            format!(
                "node {node} may be stopped: every partition keeps min.insync.replicas and a leader, and the metadata its quorum."
            )
        } else {
            format!("node {node} must not be stopped now: {}.", why.join("; "))
        },
        findings: blockers,
        to_do,
        ..Diagnosis::default()
    }
}

/// Partitions that are worse off without the node, the worst first.
fn partitions(facts: &Facts, node: NodeId) -> Vec<Finding> {
    let mut found = Vec::new();
    for (tp, topic, partition) in facts.image.partitions() {
        let name = format!("{}/{}", topic.name, tp.partition);
        let moved = [&partition.adding_replicas, &partition.removing_replicas];
        if moved.iter().any(|replicas| replicas.contains(&node)) {
            found.push(Finding::new(
                "moving",
                format!("{name} is being moved to the node or away from it"),
            ));
        }
        // Out of the ISR it is not relied on.
        if !partition.isr.contains(&node) {
            continue;
        }
        let left: Vec<NodeId> = partition
            .isr
            .iter()
            .copied()
            .filter(|other| *other != node && facts.can_lead(partition, *other))
            .collect();
        let min_isr = facts.image.effective_min_isr(topic, partition);
        if left.is_empty() {
            let alone = if partition.replicas.len() == 1 {
                "it is the only replica".to_owned()
            } else {
                format!("no other of its {} in-sync replicas could lead", partition.isr.len())
            };
            found.push(Finding::new("offline", format!("{name} would go offline: {alone}")));
        } else if left.len() < min_isr {
            let text = format!(
                "{name} would refuse writes with acks=all: {} would be left in sync, and min.insync.replicas is {min_isr}",
                words::nodes(&left)
            );
            found.push(Finding::new("under-min-isr", text));
        }
    }
    found.sort_by(|a, b| (&a.kind, &a.text).cmp(&(&b.kind, &b.text)));
    found
}

/// The quorum that would be lost.
fn quorum(facts: &Facts, node: NodeId) -> Option<Finding> {
    let raft = facts.raft?;
    let node_of = |id| facts.image.members.get(id).map(|member| member.node_id);
    let voters: BTreeSet<NodeId> = raft.voters.iter().filter_map(node_of).collect();
    if !voters.contains(&node) {
        return None;
    }
    let majority = raft.voters.len() / 2 + 1;
    let live = |voter: &&NodeId| **voter != node && facts.image.alive(**voter);
    let left: Vec<NodeId> = voters.iter().filter(live).copied().collect();
    // A voter alone loses its quorum in any case: there is no metadata without it, and no other node.
    (left.len() < majority).then(|| {
        let text = format!(
            "the metadata would lose its quorum: of {} {} would be left alive, and it takes {majority}",
            words::count(raft.voters.len(), "voter"),
            words::nodes(&left)
        );
        Finding::new("quorum", text)
    })
}

fn to_do(facts: &Facts, node: NodeId, blockers: &[Finding]) -> Vec<String> {
    let down: Vec<NodeId> = facts
        .image
        .brokers
        .keys()
        .copied()
        .filter(|other| *other != node && !facts.image.may_lead(*other))
        .collect();
    let mut to_do = Vec::new();
    if blockers.is_empty() {
        return to_do;
    }
    if !down.is_empty() {
        to_do.push(format!("first get {} back", words::nodes(&down)));
    }
    if blockers.iter().any(|blocker| blocker.text.contains("only replica")) {
        to_do.push(
            "raise the replication factor of topics with one replica, or accept that they are offline while the node is down"
                .to_owned(),
        );
    }
    to_do.push(format!(
        "ask again once all replicas are in sync: ottla cluster roll-check {node}"
    ));
    to_do
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster::TestCluster;
    use super::*;
    use types::RaftId;

    /// Three brokers that vote, two partitions on all of them in sync; (change, kinds of what blocks node 2).
    #[test]
    fn a_node_may_be_stopped_where_nothing_gets_worse() {
        type Change = fn(&mut TestCluster);
        let cases: &[(Change, &[&str], &str)] = &[
            (|_| {}, &[], "may be stopped"),
            (
                |c| c.partition(Some(1), &[1, 2], &[3]),
                &["under-min-isr"],
                "1 partition would go below",
            ),
            (
                |c| c.partition(Some(2), &[2], &[]),
                &["offline"],
                "1 partition would go offline",
            ),
            (|c| c.lone_partition(2), &["offline"], "1 partition would go offline"),
            // Not relied on where it is not in the ISR, and where it has no replica.
            (|c| c.partition(Some(1), &[1, 3], &[]), &[], "may be stopped"),
            (|c| c.partition(Some(1), &[1], &[2]), &[], "may be stopped"),
            (|c| c.lone_partition(1), &[], "may be stopped"),
            // Members of the ISR count only if they could lead.
            (
                |c| c.broker(3, |broker| broker.shutting_down = true),
                &["under-min-isr", "under-min-isr"],
                "2 partitions would go below",
            ),
            (
                |c| c.lose_directory(3),
                &["under-min-isr", "under-min-isr"],
                "2 partitions would go below",
            ),
            (
                |c| c.down(3, Some(14)),
                &["quorum", "under-min-isr", "under-min-isr"],
                "of 3 voters node 1 would be left alive, and it takes 2",
            ),
            (
                |c| {
                    c.down(3, Some(14));
                    c.raft(|raft| raft.voters.retain(|id| *id != RaftId(12)));
                },
                &["under-min-isr", "under-min-isr"],
                "2 partitions would go below",
            ),
            (
                |c| c.moving(&[1, 2, 3], 2, 3),
                &["moving"],
                "1 partition is being moved to or from it",
            ),
            (
                |c| c.moving(&[1, 3], 2, 3),
                &["moving"],
                "1 partition is being moved to or from it",
            ),
            (|c| c.no_controller(), &["controller"], "no controller"),
            (|c| c.down(2, Some(14)), &[], "it is fenced, and nothing relies on it"),
        ];
        for (number, (change, kinds, says)) in cases.iter().enumerate() {
            let mut cluster = TestCluster::new();
            cluster.partition(Some(1), &[1, 2, 3], &[]);
            cluster.partition(Some(2), &[1, 2, 3], &[]);
            change(&mut cluster);
            let answer = cluster.ask(|facts| check(facts, NodeId(2)));
            let found: Vec<&str> = answer.findings.iter().map(|finding| finding.kind.as_str()).collect();
            assert_eq!(found, *kinds, "case {number}: {}", answer.sentence);
            assert_eq!((answer.found, answer.well), (true, kinds.is_empty()), "case {number}");
            assert!(answer.sentence.contains(says), "case {number}: {}", answer.sentence);
            assert_eq!(answer.to_do.is_empty(), answer.well, "case {number}");
        }
    }

    #[test]
    fn the_answer_stays_short() {
        let mut cluster = TestCluster::new();
        for _ in 0..150 {
            cluster.lone_partition(2);
        }
        let answer = cluster.ask(|facts| check(facts, NodeId(2)));
        assert_eq!(answer.findings.len(), BLOCKERS_MAX + 1);
        assert_eq!(answer.findings[BLOCKERS_MAX].text, "and 50 more");
        assert!(
            answer.sentence.contains("150 partitions would go offline"),
            "{}",
            answer.sentence
        );
    }

    #[test]
    fn an_unknown_node_is_not_safe_to_stop() {
        let answer = TestCluster::new().ask(|facts| check(facts, NodeId(9)));
        assert!(!answer.found && !answer.well);
    }
}
