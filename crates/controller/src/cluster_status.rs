use crate::envelope::endpoint;
use metadata::{Endpoint, Image, PartitionImage, TopicImage};
use raft::pb;
use std::collections::BTreeSet;
use types::{BrokerEpoch, LogIndex, NodeId, RaftId};

/// The cluster as one node sees it: what `ottla cluster status` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Empty: the node that answered has no cluster yet.
    pub cluster_id: String,
    pub answered_by: NodeId,
    /// The broker that leads the metadata log, if the one that answered knows it.
    pub leader: Option<NodeId>,
    pub term: u64,
    pub metadata_index: LogIndex,
    /// Up to where the metadata log is committed.
    pub committed: LogIndex,
    /// Voters that the cluster is meant to have.
    pub voters_wanted: usize,
    pub topics: usize,
    pub partitions: usize,
    pub nodes: Vec<NodeStatus>,
    /// Every partition that is not as it should be.
    pub problems: Vec<PartitionProblem>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    pub node_id: NodeId,
    pub raft_id: RaftId,
    pub rack: Option<String>,
    pub kafka: Endpoint,
    pub replica: Endpoint,
    pub control: Endpoint,
    pub raft_role: RaftRole,
    pub registered: bool,
    pub fenced: bool,
    pub shutting_down: bool,
    pub broker_epoch: BrokerEpoch,
    /// Up to where its metadata log matches the leader's; known to the leader only.
    pub matched: Option<LogIndex>,
    /// Since its last heartbeat; known to the leader only, and only of brokers with a session.
    pub last_seen_ms: Option<u64>,
    pub shards: u16,
    /// Partitions that it leads.
    pub leads: usize,
    /// An operator empties it.
    pub drained: bool,
    /// Replicas that it has or is to have.
    pub replicas: usize,
    /// An operator took its vote.
    pub vote_withheld: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RaftRole {
    #[default]
    None,
    Learner,
    Voter,
    Leader,
}

impl RaftRole {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Leader => "leader",
        }
    }
}

impl NodeStatus {
    /// Whether it votes in the Raft group; who leads does.
    #[must_use]
    pub fn votes(&self) -> bool {
        matches!(self.raft_role, RaftRole::Voter | RaftRole::Leader)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProblem {
    pub topic: String,
    pub partition: i32,
    pub kind: ProblemKind,
    pub leader: Option<NodeId>,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub elr: Vec<NodeId>,
    /// In words, for a person.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Nobody leads it.
    Offline,
    /// Fewer in sync than `min.insync.replicas`: writes with acks=all are refused.
    UnderMinIsr,
    /// Fewer in sync than replicas.
    UnderReplicated,
}

impl ClusterStatus {
    /// The status that a node answered.
    #[must_use]
    pub fn from_message(message: pb::ClusterStatusReply) -> Self {
        Self {
            cluster_id: message.cluster_id,
            answered_by: NodeId(message.answered_by),
            leader: message.leader.map(NodeId),
            term: message.term,
            metadata_index: LogIndex(message.metadata_index),
            committed: LogIndex(message.committed),
            voters_wanted: message.voters_wanted as usize,
            topics: message.topics as usize,
            partitions: message.partitions as usize,
            nodes: message.nodes.into_iter().map(node_status).collect(),
            problems: message.problems.into_iter().map(partition_problem).collect(),
        }
    }
}

fn node_status(node: pb::NodeStatusMessage) -> NodeStatus {
    let place = |address: Option<pb::Address>| {
        address.and_then(endpoint).unwrap_or_else(|| Endpoint {
            host: String::new(),
            port: 0,
        })
    };
    NodeStatus {
        node_id: NodeId(node.node_id),
        raft_id: RaftId(node.raft_id),
        rack: (!node.rack.is_empty()).then_some(node.rack),
        kafka: place(node.kafka),
        replica: place(node.replica),
        control: place(node.control),
        raft_role: match node.raft_role {
            1 => RaftRole::Learner,
            2 => RaftRole::Voter,
            3 => RaftRole::Leader,
            _ => RaftRole::None,
        },
        registered: node.registered,
        fenced: node.fenced,
        shutting_down: node.shutting_down,
        broker_epoch: BrokerEpoch(node.broker_epoch),
        matched: node.matched.map(LogIndex),
        last_seen_ms: node.last_seen_ms,
        shards: u16::try_from(node.shards).unwrap_or(u16::MAX),
        leads: node.leads as usize,
        drained: node.drained,
        replicas: node.replicas as usize,
        vote_withheld: node.vote_withheld,
    }
}

fn partition_problem(problem: pb::PartitionProblemMessage) -> PartitionProblem {
    let nodes = |ids: Vec<i32>| ids.into_iter().map(NodeId).collect();
    PartitionProblem {
        topic: problem.topic,
        partition: problem.partition,
        kind: match problem.kind {
            1 => ProblemKind::Offline,
            2 => ProblemKind::UnderMinIsr,
            _ => ProblemKind::UnderReplicated,
        },
        leader: problem.leader.map(NodeId),
        replicas: nodes(problem.replicas),
        isr: nodes(problem.isr),
        elr: nodes(problem.elr),
        reason: problem.reason,
    }
}

/// Every partition of the image that is not as it should be, at most `limit`, the worst first.
pub(crate) fn problems(image: &Image, limit: usize) -> Vec<pb::PartitionProblemMessage> {
    let mut found = Vec::new();
    for topic in image.topics.values() {
        for (number, partition) in topic.partitions.iter().enumerate() {
            found.extend(problem(image, topic, number, partition));
        }
    }
    found.sort_by(|a, b| (a.kind, &a.topic, a.partition).cmp(&(b.kind, &b.topic, b.partition)));
    found.truncate(limit);
    found
}

fn problem(
    image: &Image,
    topic: &TopicImage,
    number: usize,
    p: &PartitionImage,
) -> Option<pb::PartitionProblemMessage> {
    let (kind, what) = if p.leader.is_none() {
        (1, "no leader")
    } else if p.isr.len() < image.effective_min_isr(topic, p) {
        (2, "fewer in sync than min.insync.replicas")
    } else if p.isr.len() < p.original_replicas().count() {
        (3, "not all replicas in sync")
    } else {
        return None;
    };
    let in_sync: BTreeSet<NodeId> = p.isr.iter().copied().collect();
    let mut why = Vec::new();
    for node in &p.replicas {
        let state = match image.brokers.get(node) {
            None => "is not registered",
            Some(broker) if broker.fenced => "is down (fenced)",
            Some(broker) if broker.shutting_down => "is shutting down",
            Some(_) if in_sync.contains(node) => continue,
            Some(_) => "is catching up",
        };
        why.push(format!("node {node} {state}"));
    }
    if kind == 1 {
        let eligible: Vec<String> = p.isr.iter().chain(&p.elr).map(|node| format!("node {node}")).collect();
        if !eligible.is_empty() {
            why.push(format!(
                "only {} may lead it without losing records",
                eligible.join(" or ")
            ));
        }
    }
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    Some(pb::PartitionProblemMessage {
        topic: topic.name.clone(),
        partition: i32::try_from(number).unwrap_or(i32::MAX),
        kind,
        leader: p.leader.map(|node| node.0),
        replicas: ids(&p.replicas),
        isr: ids(&p.isr),
        elr: ids(&p.elr),
        reason: format!("{what}: {}", why.join(", ")),
    })
}
