//! Why something is as it is, in a sentence with the evidence: `ottla why` and `ottla cluster roll-check`. Pure functions of
//! what the answering node knows.

mod node;
mod partition;
mod roll_check;
#[cfg(test)]
mod test_cluster;
mod words;

use metadata::{Image, PartitionImage};
use raft::RaftStatus;
use raft::pb;
use raft::pb::diagnose_request::Subject;
use std::collections::BTreeMap;
use std::time::Duration;
use types::NodeId;

/// Heard of within this time, a broker is there.
const RECENT: Duration = Duration::from_secs(1);

/// What the answering node knows.
pub(crate) struct Facts<'a> {
    pub image: &'a Image,
    pub answered_by: NodeId,
    /// Whether it leads the metadata log. Only then it knows when it heard of whom.
    pub leads: bool,
    pub controller: Option<NodeId>,
    /// Since each broker's last heartbeat.
    pub heard: BTreeMap<NodeId, Duration>,
    pub raft: Option<&'a RaftStatus>,
}

/// What is the matter with a partition or a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// What was asked about exists.
    pub found: bool,
    /// All is as it should be; of a roll check: the node may be stopped now.
    pub well: bool,
    /// For a person, with the cause.
    pub sentence: String,
    /// The evidence; of a roll check: what blocks it.
    pub findings: Vec<Finding>,
    /// What a person may do, the safest first.
    pub to_do: Vec<String>,
    pub answered_by: NodeId,
    /// Whether the node that answered leads the metadata log. Another one may know less, and older things.
    pub controller: bool,
}

/// A piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs: `replicas`, `replica`, `leader`, `controller`, `node`, `quorum`, `offline`, `under-min-isr`,
    /// `directory`, `broker`.
    pub kind: String,
    pub text: String,
}

impl Finding {
    pub(crate) fn new(kind: &str, text: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            text: text.into(),
        }
    }
}

impl Diagnosis {
    pub(crate) fn unknown(sentence: String) -> Self {
        Self {
            sentence,
            ..Self::default()
        }
    }

    /// What a node answered.
    #[must_use]
    pub fn from_message(message: pb::DiagnoseReply) -> Self {
        let finding = |finding: pb::Finding| Finding {
            kind: finding.kind,
            text: finding.text,
        };
        Self {
            found: message.found,
            well: message.well,
            sentence: message.sentence,
            findings: message.findings.into_iter().map(finding).collect(),
            to_do: message.to_do,
            answered_by: NodeId(message.answered_by),
            controller: message.controller,
        }
    }

    fn into_message(self, facts: &Facts) -> pb::DiagnoseReply {
        let finding = |finding: Finding| pb::Finding {
            kind: finding.kind,
            text: finding.text,
        };
        pb::DiagnoseReply {
            found: self.found,
            well: self.well,
            sentence: self.sentence,
            findings: self.findings.into_iter().map(finding).collect(),
            to_do: self.to_do,
            answered_by: facts.answered_by.0,
            controller: facts.leads,
        }
    }
}

pub(crate) fn answer(facts: &Facts, subject: Option<Subject>) -> pb::DiagnoseReply {
    let diagnosis = match subject {
        Some(Subject::Partition(wanted)) => partition::diagnose(facts, &wanted.topic, wanted.partition),
        Some(Subject::Node(node)) => node::diagnose(facts, NodeId(node)),
        Some(Subject::Roll(node)) => roll_check::check(facts, NodeId(node)),
        None => Diagnosis::unknown(
            "nothing was asked that this node understands; it may be older than this command".to_owned(),
        ),
    };
    diagnosis.into_message(facts)
}

impl Facts<'_> {
    /// What keeps a broker from leading and from joining an ISR, as the end of "node 2 …"; `None`: nothing.
    fn broker_trouble(&self, node: NodeId) -> Option<String> {
        let Some(broker) = self.image.broker(node) else {
            return Some("is not registered".to_owned());
        };
        let heard = self.heard.get(&node);
        if broker.fenced {
            return Some(match (heard, self.controller) {
                (Some(silence), _) if *silence > RECENT => {
                    format!("is fenced and has been silent for {}", words::duration(*silence))
                }
                // Fenced by evidence a moment ago, or not unfenced yet.
                (Some(silence), _) => format!(
                    "is fenced, and was heard of {} ago: it has just gone, or catches up with the metadata",
                    words::duration(*silence)
                ),
                (None, Some(controller)) if self.leads => {
                    format!("is fenced and has said nothing since node {controller} became the controller")
                }
                _ => "is fenced".to_owned(),
            });
        }
        broker.shutting_down.then(|| "is shutting down".to_owned())
    }

    /// The same of one of its replicas.
    fn replica_trouble(&self, partition: &PartitionImage, node: NodeId) -> Option<String> {
        let directory = || "is alive, but the log directory of this replica has failed or is not there".to_owned();
        self.broker_trouble(node)
            .or_else(|| (!self.image.replica_is_online(partition, node)).then(directory))
    }

    /// Whether this replica could lead: its broker is alive, and the disk under it too.
    fn can_lead(&self, partition: &PartitionImage, node: NodeId) -> bool {
        self.image.may_lead(node) && self.image.replica_is_online(partition, node)
    }

    /// Without a controller nothing changes, so this belongs to every answer.
    fn no_controller(&self) -> Option<Finding> {
        let text = "no controller: the metadata has no leader, so nobody is elected and nothing can be changed";
        self.controller.is_none().then(|| Finding::new("controller", text))
    }
}
