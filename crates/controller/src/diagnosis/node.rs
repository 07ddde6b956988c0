use super::{Diagnosis, Facts, Finding, RECENT, words};
use metadata::{BrokerRegistration, DirectoryOutcome, PartitionImage, TopicImage};
use raft::RaftStatus;
use std::sync::Arc;
use types::{NodeId, RaftId};

/// Partitions named in a sentence.
const NAMED: usize = 3;

/// Why a node is fenced, behind, or not what it should be.
pub(super) fn diagnose(facts: &Facts, node: NodeId) -> Diagnosis {
    let member = facts.image.member_of(node).map(|member| member.raft_id);
    let mut diagnosis = match (facts.image.broker(node), member) {
        (None, None) => {
            let known: Vec<NodeId> = facts.image.brokers.keys().copied().collect();
            return Diagnosis::unknown(format!("there is no node {node}; there are {}", words::nodes(&known)));
        }
        (None, Some(_)) => Diagnosis {
            sentence: format!(
                "node {node} is a member of the metadata group but no registered broker: it has not registered yet, or was removed."
            ),
            to_do: vec![format!("look at the log of node {node}: it says what it waits for")],
            ..Diagnosis::default()
        },
        (Some(broker), _) => registered(facts, broker),
    };
    diagnosis.found = true;
    diagnosis.findings.extend(facts.no_controller());
    diagnosis
        .findings
        .extend(facts.raft.zip(member).map(|(raft, member)| raft_part(raft, member)));
    diagnosis
}

/// What the partitions with a replica on the node look like.
#[derive(Default)]
struct Replicas {
    all: usize,
    leads: usize,
    /// Out of the ISR of a leader that is alive.
    behind: Vec<String>,
    /// Offline for want of this node: it is in their ISR or ELR.
    waited_for: Vec<String>,
    /// In a log directory that cannot be used.
    without_disk: Vec<String>,
}

impl Replicas {
    fn of(facts: &Facts, node: NodeId) -> Self {
        let mut found = Self::default();
        for (tp, topic, partition) in facts.image.partitions() {
            if partition.replicas.contains(&node) {
                found.add(facts, node, tp.partition, topic, partition);
            }
        }
        for names in [&mut found.behind, &mut found.waited_for, &mut found.without_disk] {
            names.sort();
        }
        found
    }

    fn add(&mut self, facts: &Facts, node: NodeId, number: i32, topic: &Arc<TopicImage>, p: &PartitionImage) {
        let name = || format!("{}/{number}", topic.name);
        self.all += 1;
        self.leads += usize::from(p.leader == Some(node));
        if !facts.image.replica_is_online(p, node) {
            self.without_disk.push(name());
        }
        match p.leader {
            Some(leader) if facts.image.alive(leader) && !p.isr.contains(&node) => self.behind.push(name()),
            None if p.isr.contains(&node) || (p.isr.is_empty() && p.elr.contains(&node)) => {
                self.waited_for.push(name())
            }
            _ => {}
        }
    }
}

fn registered(facts: &Facts, broker: &BrokerRegistration) -> Diagnosis {
    let node = broker.node_id;
    let replicas = Replicas::of(facts, node);
    let mut findings = vec![Finding::new(
        "node",
        format!(
            "it has {} and leads {}; broker epoch {}",
            words::count(replicas.all, "replica"),
            replicas.leads,
            broker.broker_epoch
        ),
    )];
    if let Some(silence) = facts.heard.get(&node) {
        findings.push(Finding::new(
            "node",
            format!("the controller heard of it {} ago", words::duration(*silence)),
        ));
    }
    for directory in broker
        .directories
        .iter()
        .filter(|directory| directory.outcome == DirectoryOutcome::Failed)
    {
        findings.push(Finding::new(
            "directory",
            format!("its log directory {} has failed", directory.id),
        ));
    }
    for (kind, names, what) in [
        ("behind", &replicas.behind, "out of the ISR of a leader that is alive"),
        ("waited-for", &replicas.waited_for, "offline until this node is back"),
        (
            "directory",
            &replicas.without_disk,
            "in a log directory that has failed or is not there",
        ),
    ] {
        if !names.is_empty() {
            let names = words::first(names, 10);
            findings.push(Finding::new(kind, format!("{what}: {names}")));
        }
    }
    let (well, state, to_do) = state(facts, broker, &replicas);
    Diagnosis {
        well,
        sentence: format!("node {node} {state}."),
        findings,
        to_do,
        ..Diagnosis::default()
    }
}

/// Whether all is well, the end of "node 2 …", and what to do.
fn state(facts: &Facts, broker: &BrokerRegistration, replicas: &Replicas) -> (bool, String, Vec<String>) {
    let node = broker.node_id;
    if let Some(trouble) = facts.broker_trouble(node) {
        let speaks = facts.heard.get(&node).is_some_and(|silence| *silence <= RECENT);
        let mut to_do = Vec::new();
        if broker.fenced && speaks {
            to_do.push(
                "wait a few seconds and ask again: if it runs, it is unfenced once it has applied the metadata; if it stays fenced, look at its log"
                    .to_owned(),
            );
        } else if broker.fenced {
            to_do.push(format!(
                "start node {node} again if its process has ended. If it runs: look at its log, and whether it reaches {} \
                 and is reached at {}, both ways",
                facts
                    .controller
                    .map_or_else(|| "the other nodes".to_owned(), |controller| format!("the controller, node {controller}")),
                broker.control
            ));
        }
        let waits = match replicas.waited_for.as_slice() {
            [] => String::new(),
            names => format!("; offline without it: {}", words::first(names, NAMED)),
        };
        return (false, format!("{trouble}{waits}"), to_do);
    }
    if !replicas.without_disk.is_empty() {
        let state = format!(
            "is alive, but {} on it in a log directory that has failed or is not there: {}",
            are(replicas.without_disk.len()),
            words::first(&replicas.without_disk, NAMED)
        );
        return (
            false,
            state,
            vec![format!(
                "mend the disk of node {node} and start it again; nothing is made anew elsewhere. Until then its other replicas are served"
            )],
        );
    }
    if !replicas.behind.is_empty() {
        let state = format!(
            "is alive and not ready: {} not back in the ISR: {}",
            are(replicas.behind.len()),
            words::first(&replicas.behind, NAMED)
        );
        return (
            false,
            state,
            vec![format!(
                "wait while it catches up: ottla_replication_received_bytes_total grows on node {node}. If it does not, look at \
                 ottla_log_directory_full there, and at the logs of both ends of the stream"
            )],
        );
    }
    if facts.controller.is_none() {
        return (
            false,
            "is alive as far as is known, but there is no controller: the metadata has no leader".to_owned(),
            vec!["start a majority of the voters again (`ottla cluster status`)".to_owned()],
        );
    }
    let state = format!(
        "is well: it leads {} of its {}, and all of them are in sync",
        replicas.leads,
        words::count(replicas.all, "replica")
    );
    (true, state, Vec::new())
}

/// `1 of its replicas is`, `3 of its replicas are`.
fn are(count: usize) -> String {
    format!("{count} of its replicas {}", if count == 1 { "is" } else { "are" })
}

fn raft_part(raft: &RaftStatus, member: RaftId) -> Finding {
    let role = if raft.leader == Some(member) {
        "it is the controller"
    } else if raft.voters.contains(&member) {
        "it votes"
    } else if raft.learners.contains(&member) {
        "it has the metadata log and does not vote"
    } else {
        "it is no member of the group that keeps the metadata log"
    };
    let lag = raft
        .matched
        .get(&member)
        .map(|matched| raft.last_log.0.saturating_sub(matched.0));
    let lag = match lag {
        Some(0) => "; its metadata log is complete".to_owned(),
        Some(lag) => format!(
            "; its metadata log is {} behind",
            words::count(usize::try_from(lag).unwrap_or(usize::MAX), "entry").replace("entrys", "entries")
        ),
        None => String::new(),
    };
    Finding::new("quorum", format!("{role}{lag}"))
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster::TestCluster;
    use super::*;

    /// Two partitions on three brokers; (change, sentence about node 2, first thing to do).
    #[test]
    fn a_node_says_why() {
        type Change = fn(&mut TestCluster);
        let cases: &[(Change, &str, &str)] = &[
            (
                |_| {},
                "node 2 is well: it leads 1 of its 2 replicas, and all of them are in sync.",
                "",
            ),
            (
                |c| c.down(2, Some(14)),
                "node 2 is fenced and has been silent for 14 s.",
                "start node 2 again if its process has ended",
            ),
            (
                |c| {
                    c.partition(None, &[2], &[]);
                    c.partition(None, &[], &[2]);
                    c.down(2, Some(14));
                },
                "node 2 is fenced and has been silent for 14 s; offline without it: orders/2, orders/3.",
                "start node 2 again",
            ),
            (
                |c| c.down(2, Some(0)),
                "node 2 is fenced, and was heard of 0 ms ago: it has just gone, or catches up with the metadata.",
                "wait a few seconds and ask again",
            ),
            (
                |c| c.broker(2, |broker| broker.shutting_down = true),
                "node 2 is shutting down.",
                "",
            ),
            (
                |c| c.partition(Some(1), &[1, 3], &[]),
                "node 2 is alive and not ready: 1 of its replicas is not back in the ISR: orders/2.",
                "wait while it catches up",
            ),
            (
                |c| c.lose_directory(2),
                "node 2 is alive, but 2 of its replicas are on it in a log directory that has failed or is not there: orders/0, orders/1.",
                "mend the disk of node 2",
            ),
            (
                |c| c.no_controller(),
                "node 2 is alive as far as is known, but there is no controller: the metadata has no leader.",
                "start a majority",
            ),
            (
                |c| c.unregister(2),
                "node 2 is a member of the metadata group but no registered broker: it has not registered yet, or was removed.",
                "look at the log of node 2",
            ),
        ];
        for (change, sentence, to_do) in cases {
            let mut cluster = TestCluster::new();
            cluster.partition(Some(1), &[1, 2, 3], &[]);
            cluster.partition(Some(2), &[1, 2, 3], &[]);
            change(&mut cluster);
            let diagnosis = cluster.ask(|facts| diagnose(facts, NodeId(2)));
            assert_eq!(diagnosis.sentence, *sentence);
            let first = diagnosis.to_do.first().map_or("", String::as_str);
            assert!(
                first.starts_with(to_do) && first.is_empty() == to_do.is_empty(),
                "{sentence}: {first}"
            );
            assert_eq!(diagnosis.well, sentence.contains("is well"), "{sentence}");
        }
        let unknown = TestCluster::new().ask(|facts| diagnose(facts, NodeId(9)));
        assert!(!unknown.found && unknown.sentence == "there is no node 9; there are nodes 1, 2 and 3");
    }

    /// ◆ A partition whose leader is down is no fault of the node that follows it.
    #[test]
    fn a_follower_of_nobody_is_not_behind() {
        let mut cluster = TestCluster::new();
        cluster.partition(Some(1), &[1], &[]);
        cluster.down(1, Some(14));
        assert!(cluster.ask(|facts| diagnose(facts, NodeId(2))).well);
    }

    #[test]
    fn the_metadata_log_is_part_of_the_evidence() {
        let text = |cluster: &TestCluster, node| {
            let diagnosis = cluster.ask(|facts| diagnose(facts, NodeId(node)));
            let quorum = diagnosis.findings.into_iter().find(|finding| finding.kind == "quorum");
            quorum.map(|finding| finding.text).unwrap_or_default()
        };
        let mut cluster = TestCluster::new();
        assert_eq!(text(&cluster, 1), "it is the controller; its metadata log is complete");
        cluster.raft(|raft| {
            raft.matched.insert(RaftId(12), types::LogIndex(49));
            raft.voters.remove(&RaftId(13));
            raft.learners.insert(RaftId(13));
            raft.matched.insert(RaftId(13), types::LogIndex(0));
        });
        assert_eq!(text(&cluster, 2), "it votes; its metadata log is 1 entry behind");
        assert_eq!(
            text(&cluster, 3),
            "it has the metadata log and does not vote; its metadata log is 50 entries behind"
        );
    }
}
