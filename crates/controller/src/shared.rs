use crate::cluster_status::problems;
use crate::data_plane::DataPlane;
use crate::diagnosis::{self, Facts};
use crate::envelope;
use crate::founding::Promise;
use crate::liveness::SessionId;
use crate::options::ControlOptions;
use host::HostRef;
use metadata::Image;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{Leadership, RaftNode, RaftState, RaftStatus, Transport, pb};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use types::{BrokerEpoch, DirectoryId, LogIndex, Monotonic, NodeId};

/// Problems listed in a status.
const PROBLEMS_MAX: usize = 1_000;

/// A request for the controller on this node.
pub(crate) struct Command {
    pub request: Request,
    pub reply: oneshot::Sender<Reply>,
}

/// What happens to broker sessions on this node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SessionEvent {
    Opened {
        node: NodeId,
        broker_epoch: BrokerEpoch,
        session: SessionId,
        from: SocketAddr,
    },
    /// What it serves hangs, as it says itself.
    Hangs {
        node: NodeId,
        session: SessionId,
    },
    Heartbeat {
        node: NodeId,
        session: SessionId,
        applied: LogIndex,
    },
    Broken {
        node: NodeId,
        session: SessionId,
    },
}

/// What the parts of the control plane share.
pub(crate) struct Shared {
    pub host: HostRef,
    pub options: ControlOptions,
    pub transport: Arc<dyn Transport>,
    pub leadership: watch::Sender<Leadership>,
    pub image: watch::Sender<Arc<Image>>,
    pub raft: Arc<OnceLock<RaftNode>>,
    pub data_plane: Arc<OnceLock<Arc<dyn DataPlane>>>,
    /// The metadata directory.
    pub directory: OnceLock<DirectoryId>,
    pub commands: mpsc::Sender<Command>,
    pub sessions: mpsc::Sender<SessionEvent>,
    pub promise: Mutex<Promise>,
    /// Cluster id and Raft id, once known.
    member: Mutex<Option<(String, u64)>>,
    /// When this controller last heard of each broker.
    pub last_heard: Mutex<BTreeMap<NodeId, Monotonic>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(
        host: HostRef,
        options: ControlOptions,
        transport: Arc<dyn Transport>,
        image: watch::Sender<Arc<Image>>,
        raft: Arc<OnceLock<RaftNode>>,
        commands: mpsc::Sender<Command>,
        sessions: mpsc::Sender<SessionEvent>,
    ) -> Self {
        Self {
            host,
            options,
            transport,
            leadership: watch::channel(Leadership::default()).0,
            image,
            raft,
            data_plane: Arc::default(),
            directory: OnceLock::new(),
            commands,
            sessions,
            promise: Mutex::default(),
            member: Mutex::default(),
            last_heard: Mutex::default(),
        }
    }

    /// Cluster id and Raft id; empty and 0 while the node belongs to no cluster.
    pub fn membership(&self) -> (String, u64) {
        lock(&self.member).clone().unwrap_or_default()
    }

    pub fn set_membership(&self, cluster_id: String, raft_id: u64) {
        *lock(&self.member) = Some((cluster_id, raft_id));
    }

    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// Asks the controller on this node, if it is one.
    pub async fn ask_here(&self, request: Request) -> Reply {
        match request {
            Request::Probe(probe) => self.probe(&probe),
            Request::ClusterStatus(status) if status.local || self.leadership.borrow().i_lead => {
                Reply::ClusterStatus(self.status())
            }
            Request::Diagnose(wanted) if wanted.local || self.leadership.borrow().i_lead => {
                Reply::Diagnose(self.diagnose(wanted))
            }
            request => {
                if !self.leadership.borrow().i_lead {
                    return self.not_controller();
                }
                let (reply, answer) = oneshot::channel();
                if self.commands.send(Command { request, reply }).await.is_err() {
                    return self.not_controller();
                }
                answer.await.unwrap_or_else(|_| self.not_controller())
            }
        }
    }

    pub fn not_controller(&self) -> Reply {
        let leadership = self.leadership.borrow();
        Reply::NotController(pb::NotController {
            leader: leadership.leader.as_ref().map(|(_, at)| envelope::address(at)),
            term: leadership.term,
            busy: false,
            reason: String::new(),
        })
    }

    fn probe(&self, probe: &pb::ProbeRequest) -> Reply {
        let (cluster_id, raft_id) = self.membership();
        let mut reply = pb::ProbeReply {
            node_id: self.options.node_id.0,
            raft_id,
            ..pb::ProbeReply::default()
        };
        if cluster_id.is_empty() {
            if !probe.candidate_cluster_id.is_empty() {
                let theirs: Vec<_> = probe.founders.iter().cloned().filter_map(envelope::endpoint).collect();
                let given = lock(&self.promise).give(
                    NodeId(probe.node_id),
                    &probe.candidate_cluster_id,
                    &theirs,
                    &self.options.founders,
                );
                match given {
                    Ok(()) => reply.empty = true,
                    Err(why) => reply.refusal = why,
                }
            }
        } else {
            let leadership = self.leadership.borrow();
            reply.cluster_id = cluster_id;
            reply.leader = leadership.leader.as_ref().map(|(_, at)| envelope::address(at));
            reply.term = leadership.term;
            reply.i_lead = leadership.i_lead;
        }
        Reply::Probe(reply)
    }

    fn diagnose(&self, wanted: pb::DiagnoseRequest) -> pb::DiagnoseReply {
        let image = self.image();
        let raft = self.raft.get().map(RaftNode::status);
        let now = self.host.now();
        let leads = self.leadership.borrow().i_lead;
        let heard = lock(&self.last_heard);
        let facts = Facts {
            image: &image,
            answered_by: self.options.node_id,
            leads,
            controller: self.leader_node(&image, raft.as_ref()),
            heard: heard
                .iter()
                .filter(|_| leads)
                .map(|(node, at)| (*node, now.since(*at)))
                .collect(),
            raft: raft.as_ref(),
        };
        diagnosis::answer(&facts, wanted.subject)
    }

    /// The node that leads the metadata log, if this one knows.
    fn leader_node(&self, image: &Image, raft: Option<&RaftStatus>) -> Option<NodeId> {
        let raft = raft.filter(|raft| raft.state != RaftState::Stopped)?;
        Some(image.members.get(&raft.leader?)?.node_id)
    }

    /// The cluster as this node sees it.
    pub fn status(&self) -> pb::ClusterStatusReply {
        let image = self.image();
        let raft = self.raft.get().map(RaftNode::status);
        let now = self.host.now();
        let leads = self.leadership.borrow().i_lead;
        let mut nodes: BTreeMap<NodeId, pb::NodeStatusMessage> = BTreeMap::new();
        for member in image.members.values() {
            let node = nodes.entry(member.node_id).or_insert_with(|| pb::NodeStatusMessage {
                node_id: member.node_id.0,
                ..pb::NodeStatusMessage::default()
            });
            // Of several lives of a node the newest stands, ids grow.
            node.raft_id = member.raft_id.0;
            node.vote_withheld = member.vote_withheld;
            node.control = Some(envelope::address(&member.endpoint));
            if let Some(raft) = &raft {
                node.raft_role = if raft.leader == Some(member.raft_id) {
                    3
                } else if raft.voters.contains(&member.raft_id) {
                    2
                } else {
                    u32::from(raft.learners.contains(&member.raft_id))
                };
                node.matched = raft.matched.get(&member.raft_id).map(|index| index.0);
            }
        }
        for broker in image.brokers.values() {
            let node = nodes.entry(broker.node_id).or_insert_with(|| pb::NodeStatusMessage {
                node_id: broker.node_id.0,
                ..pb::NodeStatusMessage::default()
            });
            node.rack = broker.rack.clone().unwrap_or_default();
            node.kafka = Some(envelope::address(&broker.kafka));
            node.replica = Some(envelope::address(&broker.replica));
            node.control = Some(envelope::address(&broker.control));
            node.registered = true;
            node.fenced = broker.fenced;
            node.drained = image.drained.contains(&broker.node_id);
            node.shutting_down = broker.shutting_down;
            node.broker_epoch = broker.broker_epoch.0;
            node.shards = u32::from(broker.shards);
            let heard = lock(&self.last_heard).get(&broker.node_id).copied().filter(|_| leads);
            node.last_seen_ms = heard.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
        }
        let mut partitions = 0;
        for (_, _, partition) in image.partitions() {
            partitions += 1;
            for replica in &partition.replicas {
                if let Some(node) = nodes.get_mut(replica) {
                    node.replicas += 1;
                }
            }
            if let Some(node) = partition.leader.and_then(|leader| nodes.get_mut(&leader)) {
                node.leads += 1;
            }
        }
        pb::ClusterStatusReply {
            cluster_id: image.cluster_id.clone().unwrap_or_default(),
            answered_by: self.options.node_id.0,
            leader: self.leader_node(&image, raft.as_ref()).map(|node| node.0),
            term: raft.as_ref().map_or(0, |raft| raft.term),
            metadata_index: image.index.0,
            committed: raft.as_ref().map_or(0, |raft| raft.committed.0),
            voters_wanted: u32::try_from(self.options.voters_wanted()).unwrap_or(u32::MAX),
            topics: u32::try_from(image.topics.len()).unwrap_or(u32::MAX),
            partitions,
            nodes: nodes.into_values().collect(),
            problems: problems(&image, PROBLEMS_MAX),
        }
    }
}
