use crate::convert::{
    append_from_pb, append_reply_to_pb, snapshot_from_pb, transfer_from_pb, vote_from_pb, vote_reply_to_pb, vote_request_from_pb,
    vote_to_pb,
};
use crate::log_storage::LogStorage;
use crate::network::{Network, endpoint};
use crate::pb::{self, call_reply::Reply, call_request::Call};
use crate::raft_status::{RaftState, RaftStatus};
use crate::runtime::spawn;
use crate::state_machine::StateMachine;
use crate::store::RaftStore;
use crate::transport::Transport;
use crate::type_config::{Applied, LogId, Proposal, TypeConfig};
use bytes::Bytes;
use metadata::{Endpoint, Image, Record};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError as OpenraftError};
use openraft::{BasicNode, ChangeMembers, Config, Raft, ReadPolicy, ServerState, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use types::{LogIndex, NodeId, RaftId, Timings};

/// A fresh leader refuses writes for some milliseconds, until its lease stands.
const LEASE_PAUSE: Duration = Duration::from_millis(2);
/// Entries kept behind a snapshot for members that lag a little.
const KEEP_BEHIND_SNAPSHOT: u64 = 1_000;
/// A learner that lags less counts as caught up, for openraft's own purposes.
const LAG: u64 = 1_000;

/// What a member is started with.
#[derive(Debug, Clone)]
pub struct RaftOptions {
    pub raft_id: RaftId,
    pub node_id: NodeId,
    pub cluster_id: String,
    pub timings: Timings,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
}

/// Who leads the metadata log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    pub leader: Option<(RaftId, Endpoint)>,
    pub term: u64,
    /// This node leads, and has applied everything that was committed before its term.
    pub i_lead: bool,
}

/// Why records were not committed, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not written: ask there.
    #[error("this node does not lead the metadata log")]
    NotLeader { hint: Option<(RaftId, Endpoint)> },
    /// Not written: another records entry got in between. Plan again.
    #[error("the plan is older than the image")]
    Stale,
    /// Not written: the records do not fit the image.
    #[error("the records do not fit the image: {0}")]
    Invalid(String),
    /// They may be committed, or be so later.
    #[error("whether the records are committed is unknown: {0}")]
    Unknown(String),
    #[error("the metadata log has stopped: {0}")]
    Shutdown(String),
}

/// Why a member does not start, or a change of members fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RaftError(pub String);

fn failed(error: impl std::fmt::Display) -> RaftError {
    RaftError(error.to_string())
}

/// This node's member of the Raft group. Cheap to clone.
#[derive(Clone)]
pub struct RaftNode {
    raft: Raft<TypeConfig, StateMachine>,
    options: Arc<RaftOptions>,
    image: watch::Receiver<Arc<Image>>,
    leadership: watch::Receiver<Leadership>,
    /// One change of members at a time.
    membership: Arc<Mutex<()>>,
}

impl RaftNode {
    /// Starts the member with what its store holds.
    ///
    /// # Errors
    /// The store cannot be read, or the options make no sense.
    pub async fn start(options: RaftOptions, store: Arc<dyn RaftStore>, transport: Arc<dyn Transport>) -> Result<Self, RaftError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: options.cluster_id.clone(),
            heartbeat_interval: millis(options.timings.raft_heartbeat),
            election_timeout_min: millis(options.timings.raft_election_min),
            election_timeout_max: millis(options.timings.raft_election_max),
            install_snapshot_timeout: 30_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
            max_in_snapshot_log_to_keep: KEEP_BEHIND_SNAPSHOT,
            replication_lag_threshold: LAG,
            enable_pre_vote: Some(true),
            // ◆ openraft's default lets a leader that crashed before its own sync come back as leader of the same term
            // and give indexes that its followers committed to other entries.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(failed)?);
        let machine = StateMachine::load(store.clone()).map_err(failed)?;
        let image = machine.image();
        let envelope = pb::Envelope {
            cluster_id: options.cluster_id.clone(),
            sender_node: options.node_id.0,
            sender_raft_id: options.raft_id.0,
            target_raft_id: 0,
        };
        let network = Network { transport, envelope };
        let raft = Raft::new(options.raft_id.0, config, network, LogStorage(store), machine).await.map_err(failed)?;
        let (sender, leadership) = watch::channel(Leadership::default());
        spawn(follow_leadership(raft.clone(), sender));
        Ok(Self { raft, options: Arc::new(options), image, leadership, membership: Arc::default() })
    }

    #[must_use]
    pub fn raft_id(&self) -> RaftId {
        self.options.raft_id
    }

    /// The newest image; a watch, so images may be skipped.
    #[must_use]
    pub fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.image.clone()
    }

    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Whether the store holds a log or a vote.
    ///
    /// # Errors
    /// The member has stopped.
    pub async fn is_initialized(&self) -> Result<bool, RaftError> {
        self.raft.is_initialized().await.map_err(failed)
    }

    /// Founds the group with this member as its only voter.
    ///
    /// # Errors
    /// It is founded already.
    pub async fn initialize(&self, at: &Endpoint) -> Result<(), RaftError> {
        let members = BTreeMap::from([(self.options.raft_id.0, BasicNode::new(at.to_string()))]);
        self.raft.initialize(members).await.map_err(failed)
    }

    /// Commits records that were planned on the image whose [`Image::index`] is `base`, and returns once they are
    /// applied here.
    ///
    /// # Errors
    /// [`ProposeError`]; only after `Unknown` may they be committed all the same.
    pub async fn propose(&self, base: LogIndex, records: &[Record]) -> Result<LogIndex, ProposeError> {
        let proposal = Proposal { base: base.0, records: Bytes::from(metadata::encode_records(records)) };
        loop {
            match self.raft.client_write(proposal.clone()).await {
                Ok(written) => {
                    return match written.data {
                        Applied::Records => Ok(LogIndex(written.log_id.index)),
                        Applied::Stale => Err(ProposeError::Stale),
                        Applied::Invalid(problem) => Err(ProposeError::Invalid(problem)),
                        Applied::Nothing => Err(ProposeError::Unknown("a blank answer".to_owned())),
                    };
                }
                Err(OpenraftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                    if forward.leader_id.is_none() && self.leadership.borrow().i_lead {
                        tokio::time::sleep(LEASE_PAUSE).await;
                        continue;
                    }
                    let hint =
                        forward.leader_id.zip(forward.leader_node).and_then(|(id, node)| Some((RaftId(id), endpoint(&node.addr)?)));
                    return Err(ProposeError::NotLeader { hint });
                }
                Err(OpenraftError::APIError(other)) => return Err(ProposeError::Unknown(other.to_string())),
                Err(OpenraftError::Fatal(fatal)) => return Err(ProposeError::Shutdown(fatal.to_string())),
            }
        }
    }

    /// Returns once this node's image holds everything that was committed before the call.
    ///
    /// # Errors
    /// This node does not lead.
    pub async fn read_index(&self) -> Result<LogIndex, ProposeError> {
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(self.status().applied),
            Err(OpenraftError::Fatal(fatal)) => Err(ProposeError::Shutdown(fatal.to_string())),
            Err(_) => Err(ProposeError::NotLeader { hint: self.leadership.borrow().leader.clone() }),
        }
    }

    /// Sends the log to a new member, which does not vote yet.
    ///
    /// # Errors
    /// This node does not lead, or stopped leading.
    pub async fn add_learner(&self, id: RaftId, at: &Endpoint) -> Result<(), RaftError> {
        let _one_at_a_time = self.membership.lock().await;
        self.raft.add_learner(id.0, BasicNode::new(at.to_string()), false).await.map(drop).map_err(failed)
    }

    /// Makes exactly these members the voters; who was one and is not named goes on as a learner.
    ///
    /// # Errors
    /// A voter is no member; this node does not lead, or stopped leading.
    pub async fn change_voters(&self, voters: BTreeSet<RaftId>) -> Result<(), RaftError> {
        let _one_at_a_time = self.membership.lock().await;
        let voters: BTreeSet<u64> = voters.into_iter().map(|id| id.0).collect();
        self.raft.change_membership(voters, true).await.map(drop).map_err(failed)
    }

    /// Removes learners from the group.
    ///
    /// # Errors
    /// One of them is a voter; this node does not lead, or stopped leading.
    pub async fn remove_learners(&self, members: BTreeSet<RaftId>) -> Result<(), RaftError> {
        let _one_at_a_time = self.membership.lock().await;
        let members: BTreeSet<u64> = members.into_iter().map(|id| id.0).collect();
        self.raft.change_membership(ChangeMembers::RemoveNodes(members), true).await.map(drop).map_err(failed)
    }

    /// Asks `to`, a voter that is caught up, to lead.
    ///
    /// # Errors
    /// The member has stopped.
    pub async fn transfer_leader(&self, to: RaftId) -> Result<(), RaftError> {
        self.raft.trigger().transfer_leader(to.0).await.map_err(failed)
    }

    /// The group as this member sees it.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        // Cloned at once: a borrowed watch can hold up openraft's core.
        let metrics = self.raft.metrics().borrow_watched().clone();
        let index = |id: Option<&LogId>| LogIndex(id.map_or(0, |id| id.index));
        let membership = metrics.membership_config.membership();
        let matched = metrics.replication.iter().flatten();
        RaftStatus {
            id: self.options.raft_id,
            state: match metrics.state {
                ServerState::Learner => RaftState::Learner,
                ServerState::Follower => RaftState::Follower,
                ServerState::Candidate => RaftState::Candidate,
                ServerState::Leader => RaftState::Leader,
                ServerState::Shutdown => RaftState::Shutdown,
            },
            term: metrics.current_term,
            leader: metrics.current_leader.map(RaftId),
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            committed: index(metrics.local_committed.as_ref()),
            applied: index(metrics.last_applied.as_ref()),
            snapshot: index(metrics.snapshot.as_ref()),
            voters: membership.voter_ids().map(RaftId).collect(),
            learners: membership.learner_ids().map(RaftId).collect(),
            matched: matched.filter_map(|(id, at)| Some((RaftId(*id), LogIndex(at.as_ref()?.index)))).collect(),
        }
    }

    /// Answers a Raft call of another member. ◆ What names another cluster or another member than this is refused: a wiped
    /// node at an old address is not the voter that it was.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn handle(&self, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        let envelope = request.envelope.unwrap_or_default();
        if envelope.cluster_id != self.options.cluster_id {
            return Err(format!("this is cluster {}, not {}", self.options.cluster_id, envelope.cluster_id));
        }
        if envelope.target_raft_id != self.options.raft_id.0 {
            return Err(format!("this is Raft member {}, not {}", self.options.raft_id, envelope.target_raft_id));
        }
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let reply = match request.call.ok_or("an empty call")? {
            Call::AppendEntries(call) => {
                let call = append_from_pb(&call).map_err(|e| text(&e))?;
                Reply::AppendEntries(append_reply_to_pb(&self.raft.append_entries(call).await.map_err(|e| text(&e))?))
            }
            Call::Vote(call) => {
                let call = vote_request_from_pb(&call).map_err(|e| text(&e))?;
                Reply::Vote(vote_reply_to_pb(&self.raft.vote(call).await.map_err(|e| text(&e))?))
            }
            Call::PreVote(call) => {
                let call = vote_request_from_pb(&call).map_err(|e| text(&e))?;
                Reply::Vote(vote_reply_to_pb(&self.raft.pre_vote(call).await.map_err(|e| text(&e))?))
            }
            Call::Snapshot(call) => {
                let vote = vote_from_pb(&call.vote.ok_or("no vote")?);
                let snapshot = snapshot_from_pb(&call.snapshot.ok_or("no snapshot")?).map_err(|e| text(&e))?;
                let reply = self.raft.install_full_snapshot(vote, snapshot).await.map_err(|e| text(&e))?;
                Reply::Snapshot(pb::SnapshotReply { vote: Some(vote_to_pb(&reply.vote)) })
            }
            Call::TransferLeader(call) => {
                let call = transfer_from_pb(&call).map_err(|e| text(&e))?;
                let accepted = matches!(self.raft.handle_transfer_leader(call).await, Ok(Ok(())));
                Reply::TransferLeader(pb::TransferLeaderReply { accepted })
            }
            Call::Controller(_) => return Err("not a Raft call".to_owned()),
        };
        Ok(pb::CallReply { reply: Some(reply) })
    }

    /// Resolves when the member cannot go on (its store failed), with the reason.
    pub async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = metrics.borrow_watched().running_state.clone() {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "the metadata log has ended".to_owned();
            }
        }
    }

    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(?error, "the metadata log did not stop in order");
        }
    }
}

/// Publishes who leads, whenever that changes.
async fn follow_leadership(raft: Raft<TypeConfig, StateMachine>, sender: watch::Sender<Leadership>) {
    let mut metrics = raft.metrics();
    loop {
        let now = metrics.borrow_watched().clone();
        let leads = now.state == ServerState::Leader && now.current_leader == Some(now.id);
        // The first entry of a term is its leader's: once one of the term is applied, so is all before it.
        let applied = now.last_applied.as_ref().is_some_and(|id| id.leader_id.term == now.current_term);
        let leader = now.current_leader.and_then(|id| {
            let node = now.membership_config.membership().get_node(&id)?;
            Some((RaftId(id), endpoint(&node.addr)?))
        });
        let next = Leadership { leader, term: now.current_term, i_lead: leads && applied };
        sender.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                if next.i_lead && !current.i_lead {
                    tracing::info!(term = next.term, raft_id = now.id, "became Raft leader");
                }
                *current = next;
            }
            changed
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
