use crate::call_handling;
use crate::leadership::Leadership;
use crate::log_storage::LogStorage;
use crate::network::{AddressBook, Network, address, endpoint};
use crate::pb;
use crate::raft_error::{ProposeError, RaftError};
use crate::raft_status::RaftStatus;
use crate::runtime;
use crate::state_machine::StateMachine;
use crate::store::RaftStore;
use crate::transport::Transport;
use crate::type_config::{Applied, Proposal, TypeConfig};
use host::HostRef;
use metadata::{Endpoint, Image, Record};
use openraft::errors::{
    ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError as ApiError,
};
use openraft::type_config::async_runtime::WatchReceiver;
use openraft::{BasicNode, Config, Instant as _, ReadPolicy, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use types::{LogIndex, Monotonic, RaftId, Timings, limits};

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Pause before a leader that cannot take a write yet is asked again.
const RETRY: Duration = Duration::from_millis(2);
/// Time for a snapshot to arrive and be installed.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);
/// Records of one proposal, encoded: an entry has to fit a message between control planes with room to spare.
const PROPOSAL_BYTES_MAX: usize = limits::CONTROL_MESSAGE_BYTES_MAX / 2;
/// Entries kept behind a snapshot, so that a follower that was away shortly needs no snapshot.
const ENTRIES_KEPT: u64 = 1_000;

#[derive(Debug, Clone)]
pub struct RaftOptions {
    pub raft_id: RaftId,
    pub cluster_id: String,
    pub timings: Timings,
    /// A snapshot is taken after so many entries.
    pub snapshot_every: u64,
}

/// One node of the Raft group that keeps the metadata log. Cheap to clone; clones are the same node. It stops
/// on [`RaftNode::shutdown`].
#[derive(Clone)]
pub struct RaftNode {
    pub(crate) raft: Raft,
    pub(crate) id: RaftId,
    cluster_id: Arc<str>,
    pub(crate) timings: Timings,
    pub(crate) host: HostRef,
    image: watch::Receiver<Arc<Image>>,
    leadership: watch::Receiver<Leadership>,
    /// Why Raft has stopped. Metrics change with every tick: they are watched in one place only.
    failure: Arc<watch::Sender<Option<String>>>,
    /// When a leader was last heard, and which.
    heard: Arc<std::sync::Mutex<Option<(RaftId, Monotonic)>>>,
    /// Membership changes go one by one.
    pub(crate) changing: Arc<Mutex<()>>,
}

fn config(options: &RaftOptions) -> Result<Config, RaftError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let timings = &options.timings;
    Config {
        cluster_name: options.cluster_id.clone(),
        heartbeat_interval: ms(timings.raft_heartbeat),
        election_timeout_min: ms(timings.raft_election_min),
        election_timeout_max: ms(timings.raft_election_max),
        install_snapshot_timeout: ms(SNAPSHOT_TIMEOUT),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        // A snapshot must bring a follower within it.
        replication_lag_threshold: options.snapshot_every.saturating_mul(2).max(5_000),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(options.snapshot_every),
        enable_pre_vote: Some(true),
        // It would lead without having asked anyone, on whatever its disk remembers.
        enable_leader_restore: Some(types::broken(types::Broken::RestoreRaftLeader)),
        ..Config::default()
    }
    .validate()
    .map_err(|error| RaftError::Config(error.to_string()))
}

/// The first reason stands: what follows is its consequence.
fn fail(failure: &watch::Sender<Option<String>>, why: String) {
    failure.send_if_modified(|known| {
        let first = known.is_none();
        known.get_or_insert(why);
        first
    });
}

fn fatal(error: impl std::fmt::Display) -> RaftError {
    RaftError::Fatal(error.to_string())
}

/// What to do about a call that this node did not carry out as it does not lead.
enum Forward {
    Retry,
    NotLeader(ProposeError),
}

impl RaftNode {
    /// Starts from what the store has; an empty store waits to be initialised or added by a leader.
    ///
    /// # Errors
    /// [`RaftError`].
    pub async fn start(
        options: RaftOptions,
        store: Arc<dyn RaftStore>,
        transport: Arc<dyn Transport>,
        host: HostRef,
    ) -> Result<Self, RaftError> {
        let machine = StateMachine::load(store.clone()).map_err(fatal)?;
        let image = machine.image();
        let network = Network {
            transport,
            envelope: pb::Envelope {
                cluster_id: options.cluster_id.clone(),
                sender_raft_id: options.raft_id.0,
                ..pb::Envelope::default()
            },
            append_ttl: options.timings.call_timeout / 2,
            addresses: AddressBook::default(),
        };
        let addresses = network.addresses.clone();
        let config = Arc::new(config(&options)?);
        let raft = Raft::new(options.raft_id.0, config, network, LogStorage(store), machine)
            .await
            .map_err(fatal)?;
        let mut metrics = raft.metrics();
        let (leads, seen) = watch::channel(Leadership::of(&metrics.borrow_watched()));
        let failure = Arc::new(watch::Sender::new(None));
        let fails = failure.clone();
        runtime::spawn(async move {
            let mut membership = None;
            while metrics.changed().await.is_ok() {
                let (next, running) = {
                    let metrics = metrics.borrow_watched();
                    let newest = metrics.membership_config.log_id();
                    if membership != *newest {
                        membership.clone_from(newest);
                        let nodes = metrics.membership_config.membership().nodes();
                        addresses.replace(
                            nodes
                                .filter_map(|(id, node)| Some((*id, endpoint(&node.addr)?)))
                                .collect(),
                        );
                    }
                    (Leadership::of(&metrics), metrics.running_state.clone())
                };
                if let Err(problem) = running {
                    fail(&fails, problem.to_string());
                }
                leads.send_if_modified(|last| {
                    let differs = *last != next;
                    *last = next;
                    differs
                });
            }
            leads.send_modify(|last| {
                *last = Leadership {
                    term: last.term,
                    ..Leadership::default()
                }
            });
        });
        Ok(Self {
            raft,
            id: options.raft_id,
            cluster_id: options.cluster_id.into(),
            timings: options.timings,
            host,
            image,
            leadership: seen,
            failure,
            heard: Arc::default(),
            changing: Arc::new(Mutex::new(())),
        })
    }

    /// The newest applied image; a watch, so images may be skipped.
    #[must_use]
    pub fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.image.clone()
    }

    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Founds a cluster with this node as its only voter. Does nothing if that was done before.
    ///
    /// # Errors
    /// [`RaftError::NotFresh`] if the store has another log.
    pub async fn initialize(&self, at: Endpoint) -> Result<(), RaftError> {
        let members = BTreeMap::from([(self.id.0, BasicNode::new(address(&at)))]);
        match self.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(ApiError::APIError(error)) => {
                // Metrics may be behind the state.
                let voters = self
                    .raft
                    .with_raft_state(|state| state.membership_state.effective().voter_ids().collect());
                let voters: BTreeSet<u64> = voters.await.map_err(fatal)?;
                if voters == BTreeSet::from([self.id.0]) {
                    Ok(())
                } else {
                    Err(RaftError::NotFresh(error.to_string()))
                }
            }
            Err(ApiError::Fatal(error)) => Err(fatal(error)),
        }
    }

    /// Commits records that were planned on the image at `base`, and returns their index once this node's
    /// image has them. Dropping the future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, base: LogIndex, records: Vec<Record>) -> Result<LogIndex, ProposeError> {
        let encoded = metadata::encode_records(&records);
        if encoded.len() > PROPOSAL_BYTES_MAX || records.len() > limits::METADATA_RECORDS_MAX {
            return Err(ProposeError::Invalid("too many records for one entry".into()));
        }
        let proposal = Proposal {
            base: base.0,
            records: encoded.into(),
        };
        let start = self.host.now();
        loop {
            self.running()?;
            let forward = match self.raft.client_write(proposal.clone()).await {
                Ok(done) => {
                    return match done.data {
                        Applied::Records => Ok(LogIndex(done.log_id.index)),
                        Applied::Stale => Err(ProposeError::Stale),
                        Applied::Invalid(problem) => Err(ProposeError::Invalid(problem)),
                        Applied::Nothing => Err(ProposeError::Unknown),
                    };
                }
                Err(ApiError::APIError(ClientWriteError::ForwardToLeader(forward))) => forward,
                Err(_) => return Err(ProposeError::Unknown),
            };
            self.retry(start, forward).await?;
        }
    }

    /// Confirms with a majority that this node leads, and waits until its image has everything that was
    /// committed before the call.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`], [`ProposeError::Shutdown`].
    pub async fn read_index(&self) -> Result<LogIndex, ProposeError> {
        let start = self.host.now();
        loop {
            self.running()?;
            let forward = match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
                Ok(read) => return Ok(LogIndex(read.index())),
                Err(ApiError::APIError(LinearizableReadError::ForwardToLeader(forward))) => forward,
                Err(ApiError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                    ForwardToLeader::empty().with_reason(ForwardReason::LeaseExpired)
                }
                Err(ApiError::Fatal(_)) => return Err(ProposeError::Shutdown),
            };
            self.retry(start, forward).await?;
        }
    }

    /// Whether a majority has answered this leader within `window`.
    #[must_use]
    pub fn has_quorum(&self, window: Duration) -> bool {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let alone = metrics.membership_config.membership().voter_ids().eq([self.id.0]);
        alone || metrics.last_quorum_acked.is_some_and(|at| at.elapsed() <= window)
    }

    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        RaftStatus::of(&metrics)
    }

    /// Answers a Raft call of another node.
    ///
    /// # Errors
    /// It is for another cluster or another member, or makes no sense, or the node has stopped.
    pub async fn handle(&self, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        let leader = match (&request.envelope, &request.call) {
            (Some(envelope), Some(pb::call_request::Call::AppendEntries(_))) => Some(RaftId(envelope.sender_raft_id)),
            _ => None,
        };
        let arrived = self.host.now();
        let answer = call_handling::answer(&self.raft, &self.cluster_id, self.id, request).await;
        if answer.as_ref().is_err_and(|why| why == call_handling::GIVEN_UP) {
            fail(&self.failure, call_handling::GIVEN_UP.to_owned());
            self.shutdown().await;
        }
        let reply = answer?;
        if let Some(leader) = leader {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader, arrived));
        }
        Ok(reply)
    }

    /// The last member that this node has heard of as a leader, and when.
    #[must_use]
    pub fn last_heard(&self) -> Option<(RaftId, Monotonic)> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why Raft has stopped, once it has: its store failed, or it was shut down.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "raft has ended".into(),
        }
    }

    /// Stops, and returns when nothing writes to the store any more. Repeating it does nothing.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft ended in a panic");
        }
    }

    pub(crate) fn running(&self) -> Result<(), ProposeError> {
        let state = self.raft.metrics().borrow_watched().running_state.clone();
        state.map_err(|_| ProposeError::Shutdown)
    }

    pub(crate) fn hint(&self) -> Option<(RaftId, Endpoint)> {
        let leader = self.leadership.borrow().leader.clone();
        leader.filter(|(id, _)| *id != self.id)
    }

    /// Waits a moment if it is this node that leads and only cannot yet, for [`Timings::call_timeout`] at most.
    pub(crate) async fn retry(
        &self,
        start: Monotonic,
        forward: ForwardToLeader<TypeConfig>,
    ) -> Result<(), ProposeError> {
        match self.judge(start, forward) {
            Forward::Retry => {
                tokio::time::sleep(RETRY).await;
                Ok(())
            }
            Forward::NotLeader(error) => Err(error),
        }
    }

    fn judge(&self, start: Monotonic, forward: ForwardToLeader<TypeConfig>) -> Forward {
        let mine = self.status().leader == Some(self.id);
        let not_yet =
            forward.reason == ForwardReason::LeaseExpired && forward.leader_id.is_none_or(|id| id == self.id.0);
        if mine && not_yet && self.host.now().since(start) < self.timings.call_timeout {
            return Forward::Retry;
        }
        let named = forward.leader_id.zip(forward.leader_node);
        let hint = named.and_then(|(id, node)| Some((RaftId(id), crate::network::endpoint(&node.addr)?)));
        Forward::NotLeader(ProposeError::NotLeader {
            hint: hint.or_else(|| self.hint()),
        })
    }
}
