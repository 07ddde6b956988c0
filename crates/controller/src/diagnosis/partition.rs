use super::{Diagnosis, Facts, Finding, words};
use metadata::{PartitionImage, TopicImage};
use types::NodeId;

const MAJORITY: &str =
    "start a majority of the voters again: without a controller nobody is elected (`ottla cluster status`)";

/// Why a partition is offline, under its minimum, or under-replicated.
pub(super) fn diagnose(facts: &Facts, name: &str, number: i32) -> Diagnosis {
    let Some(topic) = facts.image.topic(name) else {
        return Diagnosis::unknown(format!("there is no topic {name}"));
    };
    let Some(partition) = usize::try_from(number).ok().and_then(|at| topic.partitions.get(at)) else {
        let last = topic.partitions.len().saturating_sub(1);
        return Diagnosis::unknown(format!(
            "{name} has partitions 0 to {last}; there is no partition {number}"
        ));
    };
    let about = About {
        facts,
        topic,
        number,
        partition,
    };
    let mut diagnosis = match partition.leader {
        None => about.offline(),
        Some(leader) => about.led(leader),
    };
    diagnosis.found = true;
    diagnosis.findings.splice(0..0, about.evidence());
    diagnosis
}

struct About<'a> {
    facts: &'a Facts<'a>,
    topic: &'a TopicImage,
    number: i32,
    partition: &'a PartitionImage,
}

impl About<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.topic.name, self.number)
    }

    /// The same for every state.
    fn evidence(&self) -> Vec<Finding> {
        let p = self.partition;
        let min_isr = self.facts.image.effective_min_isr(self.topic, p);
        let text = format!(
            "replicas {}; in sync {}; ELR {}; min.insync.replicas {min_isr}; leader epoch {}",
            words::list(&p.replicas),
            words::list(&p.isr),
            words::list(&p.elr),
            p.leader_epoch
        );
        let mut findings = vec![Finding::new("replicas", text)];
        findings.extend(self.facts.no_controller());
        findings.extend(
            p.replicas
                .iter()
                .map(|node| Finding::new("replica", self.replica(*node))),
        );
        findings
    }

    /// A replica's state in a few words.
    fn replica(&self, node: NodeId) -> String {
        let p = self.partition;
        let role = if p.leader == Some(node) {
            "leads"
        } else if p.isr.contains(&node) {
            "is in the ISR"
        } else if p.elr.contains(&node) {
            "is out of the ISR, but holds all that was acknowledged (ELR)"
        } else {
            "is out of the ISR and may lack acknowledged records"
        };
        match self.facts.replica_trouble(p, node) {
            Some(trouble) => format!("node {node} {role}; it {trouble}"),
            None => format!("node {node} {role}; it is alive"),
        }
    }

    fn offline(&self) -> Diagnosis {
        let p = self.partition;
        // Those that may lead without losing anything.
        let (whole, cause) = match (p.isr.as_slice(), p.elr.as_slice()) {
            ([], []) => (
                &p.last_known_elr,
                "no replica is known to hold all that was acknowledged".to_owned(),
            ),
            ([], [only]) => (
                &p.elr,
                format!("its ISR is empty, and the only replica that holds all that was acknowledged is node {only}"),
            ),
            ([], _) => (
                &p.elr,
                "its ISR is empty, and of the replicas that hold all that was acknowledged (ELR) none can lead"
                    .to_owned(),
            ),
            ([only], _) => (&p.isr, format!("its only in-sync replica is node {only}")),
            _ => (&p.isr, "none of its in-sync replicas can lead".to_owned()),
        };
        let trouble = |node: &NodeId| {
            let trouble = self.facts.replica_trouble(p, *node);
            trouble.unwrap_or_else(|| "is alive: an election is due".to_owned())
        };
        let why = match whole.as_slice() {
            [] => String::new(),
            [only] if p.isr.is_empty() && p.elr.is_empty() => {
                format!(", and the last that was, node {only}, {}", trouble(only))
            }
            [only] => format!(", which {}", trouble(only)),
            several => {
                let each: Vec<String> = several
                    .iter()
                    .map(|node| format!("node {node} {}", trouble(node)))
                    .collect();
                format!(": {}", each.join(", "))
            }
        };
        Diagnosis {
            sentence: format!("{} is offline: {cause}{why}.", self.name()),
            to_do: self.offline_to_do(whole, p.isr.is_empty() && p.elr.is_empty()),
            ..Diagnosis::default()
        }
    }

    fn offline_to_do(&self, whole: &[NodeId], lost: bool) -> Vec<String> {
        let (facts, p) = (self.facts, self.partition);
        let mut to_do = Vec::new();
        if facts.controller.is_none() {
            to_do.push(MAJORITY.to_owned());
        }
        for node in whole {
            if !facts.image.alive(*node) {
                to_do.push(format!(
                    "start node {node} again, or mend what keeps it from its peers (`ottla why node {node}`): {}",
                    if lost {
                        "what it holds was the most that was known"
                    } else {
                        "it leads as soon as it is back, and nothing is lost"
                    }
                ));
            } else if !facts.image.replica_is_online(p, *node) {
                to_do.push(format!(
                    "bring back the disk of node {node} and start it again: nothing on it was written over"
                ));
            }
        }
        let others: Vec<NodeId> = p
            .replicas
            .iter()
            .copied()
            .filter(|node| facts.can_lead(p, *node))
            .collect();
        if !others.is_empty() && !whole.iter().any(|node| facts.can_lead(p, *node)) {
            to_do.push(format!(
                "only if that data is gone for good: kafka-leader-election.sh --election-type unclean --topic {} --partition {} \
                 makes {} the leader, and what it lacks of the acknowledged records is lost",
                self.topic.name,
                self.number,
                words::nodes(&others).replace(" and ", " or ")
            ));
        }
        to_do
    }

    /// As far as the metadata knows, which without a controller learns nothing.
    fn whole(&self, leader: NodeId) -> Diagnosis {
        let (name, in_sync) = (self.name(), are(&self.partition.replicas));
        if self.facts.controller.is_some() {
            return Diagnosis {
                well: true,
                sentence: format!("{name} is well: node {leader} leads it, and {in_sync} in sync."),
                ..Diagnosis::default()
            };
        }
        Diagnosis {
            sentence: format!(
                "{name} was well when last known: node {leader} leads it, and {in_sync} in sync; but there is no controller \
                 that would notice a change."
            ),
            to_do: vec![MAJORITY.to_owned()],
            ..Diagnosis::default()
        }
    }

    fn led(&self, leader: NodeId) -> Diagnosis {
        let (facts, p) = (self.facts, self.partition);
        let min_isr = facts.image.effective_min_isr(self.topic, p);
        let out: Vec<NodeId> = p
            .replicas
            .iter()
            .copied()
            .filter(|node| !p.isr.contains(node))
            .collect();
        if out.is_empty() && facts.can_lead(p, leader) {
            return self.whole(leader);
        }
        let mut troubled = out.clone();
        if !facts.can_lead(p, leader) {
            troubled.insert(0, leader);
        }
        let mut catching_up = false;
        let each: Vec<String> = troubled
            .iter()
            .map(|node| match facts.replica_trouble(p, *node) {
                Some(trouble) => format!("node {node} {trouble}"),
                None => {
                    catching_up = true;
                    format!("node {node} is alive and catches up with its leader, node {leader}")
                }
            })
            .collect();
        let state = if p.isr.len() < min_isr {
            format!(
                "refuses writes with acks=all: {} in sync, and min.insync.replicas is {min_isr}",
                are(&p.isr)
            )
        } else if out.is_empty() {
            "has a leader that does not answer".to_owned()
        } else {
            format!(
                "is under-replicated and takes writes: {} in sync of {}",
                are(&p.isr),
                p.replicas.len()
            )
        };
        let mut to_do = Vec::new();
        for node in &troubled {
            if !facts.image.alive(*node) {
                to_do.push(format!(
                    "start node {node} again, or see `ottla why node {node}`; it catches up by itself"
                ));
            } else if !facts.image.replica_is_online(p, *node) {
                to_do.push(format!(
                    "mend the disk of node {node} and start it again, or replace it"
                ));
            }
        }
        if catching_up {
            to_do.push(
                "wait for what catches up. If it takes minutes, look at that node's log and metrics: \
                 ottla_replication_received_bytes_total grows while it copies, ottla_log_directory_full is 1 where it has no room"
                    .to_owned(),
            );
        }
        Diagnosis {
            sentence: format!("{} {state}; {}.", self.name(), each.join(", ")),
            to_do,
            ..Diagnosis::default()
        }
    }
}

/// `node 1 is`, `nodes 1 and 2 are`.
fn are(nodes: &[NodeId]) -> String {
    format!(
        "{} {}",
        words::nodes(nodes),
        if nodes.len() == 1 { "is" } else { "are" }
    )
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster::TestCluster;
    use super::*;

    /// Three brokers, one partition on all of them; (change, leader, ISR, ELR, the sentence, first thing to do).
    #[test]
    fn a_partition_says_why() {
        type Change = fn(&mut TestCluster);
        type Case<'a> = (Change, Option<i32>, &'a [i32], &'a [i32], &'a str, &'a str);
        let cases: &[Case] = &[
            (
                |_| {},
                Some(1),
                &[1, 2, 3],
                &[],
                "orders/0 is well: node 1 leads it, and nodes 1, 2 and 3 are in sync.",
                "",
            ),
            (
                |c| c.down(2, Some(14)),
                None,
                &[2],
                &[],
                "orders/0 is offline: its only in-sync replica is node 2, which is fenced and has been silent for 14 s.",
                "start node 2 again",
            ),
            (
                |c| c.down(2, None),
                None,
                &[2],
                &[],
                "orders/0 is offline: its only in-sync replica is node 2, which is fenced and has said nothing since node 1 became the controller.",
                "start node 2 again",
            ),
            (
                |c| {
                    c.down(2, Some(200));
                    c.down(3, Some(5));
                },
                None,
                &[2, 3],
                &[],
                "orders/0 is offline: none of its in-sync replicas can lead: node 2 is fenced and has been silent for 3 min, node 3 is fenced and has been silent for 5 s.",
                "start node 2 again",
            ),
            (
                |c| c.lose_directory(2),
                None,
                &[2],
                &[],
                "orders/0 is offline: its only in-sync replica is node 2, which is alive, but the log directory of this replica has failed or is not there.",
                "bring back the disk of node 2",
            ),
            (
                |c| c.down(3, Some(14)),
                None,
                &[],
                &[3],
                "orders/0 is offline: its ISR is empty, and the only replica that holds all that was acknowledged is node 3, which is fenced and has been silent for 14 s.",
                "start node 3 again",
            ),
            (
                |_| {},
                None,
                &[],
                &[],
                "orders/0 is offline: no replica is known to hold all that was acknowledged.",
                "only if that data is gone for good",
            ),
            (
                |c| c.no_controller(),
                None,
                &[2],
                &[],
                "orders/0 is offline: its only in-sync replica is node 2, which is alive: an election is due.",
                "start a majority of the voters again",
            ),
            (
                |c| {
                    c.down(2, Some(14));
                    c.down(3, Some(14));
                },
                Some(1),
                &[1],
                &[2],
                "orders/0 refuses writes with acks=all: node 1 is in sync, and min.insync.replicas is 2; node 2 is fenced and has been silent for 14 s, node 3 is fenced and has been silent for 14 s.",
                "start node 2 again",
            ),
            (
                |c| c.down(3, Some(14)),
                Some(1),
                &[1, 2],
                &[],
                "orders/0 is under-replicated and takes writes: nodes 1 and 2 are in sync of 3; node 3 is fenced and has been silent for 14 s.",
                "start node 3 again",
            ),
            (
                |_| {},
                Some(1),
                &[1, 2],
                &[],
                "orders/0 is under-replicated and takes writes: nodes 1 and 2 are in sync of 3; node 3 is alive and catches up with its leader, node 1.",
                "wait for what catches up",
            ),
            (
                |c| c.no_controller(),
                Some(1),
                &[1, 2, 3],
                &[],
                "orders/0 was well when last known: node 1 leads it, and nodes 1, 2 and 3 are in sync; but there is no controller that would notice a change.",
                "start a majority",
            ),
            (
                |c| c.down(1, Some(0)),
                Some(1),
                &[1, 2, 3],
                &[],
                "orders/0 has a leader that does not answer; node 1 is fenced, and was heard of 0 ms ago: it has just gone, or catches up with the metadata.",
                "start node 1 again",
            ),
        ];
        for (change, leader, isr, elr, sentence, to_do) in cases {
            let mut cluster = TestCluster::new();
            cluster.partition(*leader, isr, elr);
            change(&mut cluster);
            let diagnosis = cluster.ask(|facts| diagnose(facts, "orders", 0));
            assert_eq!(diagnosis.sentence, *sentence);
            assert_eq!(
                (diagnosis.found, diagnosis.well),
                (true, to_do.is_empty()),
                "{sentence}"
            );
            let first = diagnosis.to_do.first().map_or("", String::as_str);
            assert!(
                first.starts_with(to_do) && first.is_empty() == to_do.is_empty(),
                "{sentence}: {:?}",
                diagnosis.to_do
            );
        }
    }

    /// Losing data is offered only where nothing else is left to try at once, and says so.
    #[test]
    fn an_unclean_election_is_offered_last_and_only_where_it_changes_anything() {
        let offered = |cluster: &TestCluster| {
            let diagnosis = cluster.ask(|facts| diagnose(facts, "orders", 0));
            diagnosis
                .to_do
                .iter()
                .position(|line| line.contains("unclean"))
                .map(|at| at + 1 == diagnosis.to_do.len())
        };
        let mut cluster = TestCluster::new();
        cluster.partition(None, &[2], &[]);
        assert_eq!(offered(&cluster), None, "node 2 is about to lead");
        cluster.down(2, Some(14));
        assert_eq!(offered(&cluster), Some(true));
        cluster.down(1, Some(14));
        cluster.down(3, Some(14));
        assert_eq!(offered(&cluster), None, "nobody is there who could");
    }

    #[test]
    fn what_does_not_exist_is_said_to_be_unknown() {
        let mut cluster = TestCluster::new();
        cluster.partition(Some(1), &[1, 2, 3], &[]);
        for (topic, partition, sentence) in [
            ("order", 0, "there is no topic order"),
            ("orders", 1, "orders has partitions 0 to 0; there is no partition 1"),
            ("orders", -1, "orders has partitions 0 to 0; there is no partition -1"),
        ] {
            let diagnosis = cluster.ask(|facts| diagnose(facts, topic, partition));
            assert_eq!((diagnosis.found, diagnosis.sentence.as_str()), (false, sentence));
        }
    }
}
