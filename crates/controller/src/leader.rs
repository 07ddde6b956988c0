mod commit;
mod removed_topics;
mod too_early;

use crate::envelope::{endpoint, refusal};
use crate::evidence;
use crate::liveness::{Action, DialOutcome, Event, Liveness, SessionId, Why};
use crate::planning::in_use;
use crate::shared::{Command, SessionEvent, Shared, lock};
use crate::voters::{Group, MemberView, VoterChange, next_change};
use commit::{Work, answer};
use metadata::topic_config::Effect;
use metadata::{Image, Record};
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{RaftNode, RaftStatus};
use removed_topics::RemovedTopics;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use types::{BrokerEpoch, ErrorCode, LogIndex, Monotonic, NodeId, RaftId};

/// Commands planned together for one entry.
const BATCH: usize = 512;
/// Members are looked after this often while the group is not what it should be.
const MEMBERS: Duration = Duration::from_millis(50);
/// And this often while it is; a change of the image is looked at at once.
const MEMBERS_SETTLED: Duration = Duration::from_secs(1);
/// `metadata.version` that a new cluster is founded with.
const METADATA_VERSION: u16 = 1;

struct Dialled {
    node: NodeId,
    dial: u64,
    outcome: DialOutcome,
}

/// The controller's duties on this node, whenever it leads the metadata log.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    raft: RaftNode,
    mut commands: mpsc::Receiver<Command>,
    mut sessions: mpsc::Receiver<SessionEvent>,
) {
    let mut leadership = shared.leadership.subscribe();
    loop {
        if leadership.borrow_and_update().i_lead {
            let mut term = Term::new(shared.clone(), raft.clone());
            term.lead(&mut commands, &mut sessions).await;
            tracing::info!(node_id = %shared.options.node_id, "no longer the controller");
            continue;
        }
        tokio::select! {
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(command) = commands.recv() => answer(command.reply, shared.not_controller()),
            // Sessions end by themselves where this node does not lead.
            Some(_) = sessions.recv() => {}
        }
    }
}

/// One time of leading.
struct Term {
    shared: Arc<Shared>,
    raft: RaftNode,
    liveness: Liveness,
    known: BTreeMap<NodeId, (BrokerEpoch, bool)>,
    sources: BTreeMap<NodeId, (SessionId, SocketAddr)>,
    work: Vec<Work>,
    removed_topics: RemovedTopics,
    dialled: (mpsc::UnboundedSender<Dialled>, mpsc::UnboundedReceiver<Dialled>),
    began: Monotonic,
    /// A change of members is under way.
    changing: Option<oneshot::Receiver<()>>,
}

impl Term {
    fn new(shared: Arc<Shared>, raft: RaftNode) -> Self {
        let now = shared.host.now();
        lock(&shared.last_heard).clear();
        let image = shared.image();
        let before = raft
            .last_heard()
            .and_then(|(id, heard)| Some((image.members.get(&id)?.node_id, heard)));
        Self {
            liveness: Liveness::new(&shared.options.timings, now, before),
            shared,
            raft,
            known: BTreeMap::new(),
            sources: BTreeMap::new(),
            work: Vec::new(),
            removed_topics: RemovedTopics::default(),
            dialled: mpsc::unbounded_channel(),
            began: now,
            changing: None,
        }
    }

    async fn lead(&mut self, commands: &mut mpsc::Receiver<Command>, sessions: &mut mpsc::Receiver<SessionEvent>) {
        let mut leadership = self.shared.leadership.subscribe();
        let mut image = self.shared.image.subscribe();
        let mut members = tokio::time::interval(MEMBERS);
        members.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tracing::info!(node_id = %self.shared.options.node_id, term = leadership.borrow_and_update().term, "the controller");
        if !self.found().await {
            return;
        }
        self.registrations(&self.shared.image());
        let balance = self.shared.options.leader_balance;
        let mut balance_check = tokio::time::interval(balance.unwrap_or_default().check_interval);
        balance_check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        balance_check.reset();
        loop {
            if !self.work.is_empty() {
                self.commit().await;
            }
            let now = self.shared.host.now();
            let until = self
                .liveness
                .deadline()
                .map_or(MEMBERS_SETTLED, |deadline| deadline.since(now));
            tokio::select! {
                changed = leadership.changed() => {
                    if changed.is_err() || !leadership.borrow_and_update().i_lead {
                        break;
                    }
                }
                Some(command) = commands.recv() => {
                    self.take(command);
                    while self.work.len() < BATCH && let Ok(command) = commands.try_recv() {
                        self.take(command);
                    }
                }
                Some(event) = sessions.recv() => {
                    self.session(event);
                    while let Ok(event) = sessions.try_recv() {
                        self.session(event);
                    }
                }
                Some(dialled) = self.dialled.1.recv() => {
                    self.event(Event::Dialled { node: dialled.node, dial: dialled.dial, outcome: dialled.outcome });
                }
                changed = image.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let image = image.borrow_and_update().clone();
                    self.registrations(&image);
                    members.reset_immediately();
                }
                _ = members.tick() => {
                    self.members();
                    self.settle_replicas();
                    members.reset_after(if self.settled() { MEMBERS_SETTLED } else { MEMBERS });
                }
                _ = balance_check.tick() => self.work.extend(balance.map(|balance| Work::BalanceLeaders(balance.percentage))),
                () = tokio::time::sleep(until) => self.event(Event::Tick),
            }
        }
        for work in self.work.drain(..) {
            if let Work::Command(command) = work {
                answer(command.reply, self.shared.not_controller());
            }
        }
    }

    fn settle_replicas(&mut self) {
        let (image, factor) = (self.shared.image(), self.shared.options.default_replication_factor());
        if !metadata::plan::settle_replicas(&image, factor).records.is_empty() {
            self.work.push(Work::SettleReplicas);
        }
    }

    /// A log without a cluster id is the founder's: it writes the id that it chose, and itself as the first member.
    async fn found(&self) -> bool {
        let image = self.shared.image();
        if image.cluster_id.is_some() {
            return true;
        }
        let (cluster_id, _) = self.shared.membership();
        let options = &self.shared.options;
        let command = metadata::plan::SetCluster {
            cluster_id: cluster_id.clone(),
            metadata_version: METADATA_VERSION,
            broker_configs: options
                .defaults
                .iter()
                .filter(|(name, value)| is_cluster_default(name, value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        };
        let set = match metadata::plan::set_cluster(&image, &command) {
            Ok(plan) => plan.records,
            Err(error) => {
                tracing::error!(%error, "the cluster cannot be founded");
                return false;
            }
        };
        let member = Record::Member(Box::new(metadata::Member {
            raft_id: self.raft.status().id,
            node_id: options.node_id,
            directory: self.shared.directory.get().copied().unwrap_or_default(),
            endpoint: options.control_advertised.clone(),
            vote_withheld: false,
        }));
        let records: Vec<Record> = set.into_iter().chain([member]).collect();
        match self.raft.propose(image.index, records).await {
            Ok(_) => {
                tracing::info!(cluster_id, "founded a cluster");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "founding is tried again");
                false
            }
        }
    }

    fn take(&mut self, command: Command) {
        if let Request::CreateTopics(create) = &command.request
            && let Some(reason) = self.too_early(create)
        {
            let busy = pb::NotController {
                busy: true,
                reason: reason.to_owned(),
                ..Default::default()
            };
            return answer(command.reply, Reply::NotController(busy));
        }
        match &command.request {
            Request::Admit(admit) => self.admit(admit.clone(), command.reply),
            _ => self.work.push(Work::Command(command)),
        }
    }

    fn too_early(&self, create: &pb::CreateTopicsRequest) -> Option<&'static str> {
        let (voters, brokers) = (self.raft.status().voters.len(), self.shared.image().brokers.len());
        too_early::to_create(create, voters, brokers, self.shared.options.voters_needed())
    }

    fn admit(&self, admit: pb::AdmitRequest, reply: oneshot::Sender<Reply>) {
        let raft = self.raft.clone();
        let image = self.shared.image();
        let id = RaftId(admit.raft_id);
        let at = admit.control.and_then(endpoint);
        let status = raft.status();
        let moves = status
            .members
            .get(&id)
            .is_some_and(|recorded| at.as_ref() != Some(recorded));
        if moves && self.alive(NodeId(admit.node_id)) {
            // ◆ A copy of its directories, started elsewhere, does not take its place.
            let why = in_use(&image, NodeId(admit.node_id));
            return answer(reply, refusal(ErrorCode::DuplicateBrokerRegistration, why));
        }
        tokio::task::spawn_local(async move {
            let known = image
                .members
                .get(&id)
                .is_some_and(|member| member.node_id.0 == admit.node_id);
            let outcome = match at {
                Some(at) if known => raft.add_learner(id, at).await.map_err(|error| error.to_string()),
                _ => Err("not a member that this controller knows".to_owned()),
            };
            answer(
                reply,
                match outcome {
                    Ok(()) => Reply::Admit(pb::AdmitReply {}),
                    Err(why) => refusal(ErrorCode::InvalidRequest, why),
                },
            );
        });
    }

    fn session(&mut self, event: SessionEvent) {
        let now = self.shared.host.now();
        // A session is opened on a registration that the image has: it must be known before its session is.
        if matches!(event, SessionEvent::Opened { .. }) {
            self.registrations(&self.shared.image());
        }
        let event = match event {
            SessionEvent::Opened {
                node,
                broker_epoch,
                session,
                from,
            } => {
                self.sources.insert(node, (session, from));
                lock(&self.shared.last_heard).insert(node, now);
                Event::SessionOpened {
                    node,
                    broker_epoch,
                    session,
                }
            }
            SessionEvent::Heartbeat { node, session, applied } => {
                lock(&self.shared.last_heard).insert(node, now);
                Event::Heartbeat { node, session, applied }
            }
            SessionEvent::Hangs { node, session } => Event::Hangs { node, session },
            SessionEvent::Broken { node, session } => Event::SessionBroken { node, session },
        };
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        let now = self.shared.host.now();
        for action in self.liveness.on(event, now) {
            match action {
                Action::Dial { node, dial } => self.dial(node, dial),
                // ◆ It would be written when the majority is back, and then they are not silent.
                Action::Fence {
                    node,
                    why: Why::Silence,
                    ..
                } if !self.raft.has_quorum(self.shared.options.timings.broker_session / 2) => {
                    self.event(Event::Isolated);
                    self.event(Event::Undecided { node });
                }
                Action::Fence {
                    node,
                    broker_epoch,
                    why,
                } => self.work.push(Work::Fence {
                    node,
                    broker_epoch,
                    why,
                }),
                Action::Unfence { node, broker_epoch } => self.work.push(Work::Unfence { node, broker_epoch }),
            }
        }
    }

    /// Dials the broker's control port where its session came from: a refusal is evidence.
    fn dial(&self, node: NodeId, dial: u64) {
        let image = self.shared.image();
        let registered = image.broker(node).map(|broker| broker.control.clone());
        let source = self.sources.get(&node).map(|(_, from)| from.ip());
        let (host, dialled) = (self.shared.host.clone(), self.dialled.0.clone());
        let limit = self.shared.options.timings.dial_timeout;
        tokio::task::spawn_local(async move {
            let outcome = match registered {
                None => DialOutcome::Unclear,
                Some(at) => evidence::dial(&*host.net(), source, &at, limit).await,
            };
            // The term may be over.
            let _ = dialled.send(Dialled { node, dial, outcome });
        });
    }

    /// Feeds what the image says of brokers.
    fn registrations(&mut self, image: &Image) {
        let gone: Vec<NodeId> = self
            .known
            .keys()
            .filter(|node| image.broker(**node).is_none())
            .copied()
            .collect();
        for node in gone {
            self.known.remove(&node);
            self.event(Event::Unregistered { node });
        }
        for broker in image.brokers.values() {
            let state = (broker.broker_epoch, broker.fenced);
            if self.known.insert(broker.node_id, state) != Some(state) {
                self.event(Event::Registered {
                    node: broker.node_id,
                    broker_epoch: broker.broker_epoch,
                    fenced: broker.fenced,
                    unfence_at: LogIndex(broker.broker_epoch.0),
                });
            }
        }
    }

    /// Promotes, replaces and removes members, one change at a time.
    fn members(&mut self) {
        if let Some(changing) = &mut self.changing {
            match changing.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                _ => self.changing = None,
            }
        }
        let image = self.shared.image();
        let status = self.raft.status();
        let me = self.raft.status().id;
        let members = image
            .members
            .iter()
            .map(|(id, member)| {
                let broker = image.broker(member.node_id);
                // A node's session belongs to its newest member.
                let newest = image
                    .member_of(member.node_id)
                    .is_some_and(|newest| newest.raft_id == *id);
                let view = MemberView {
                    node_id: member.node_id,
                    rack: broker.and_then(|broker| broker.rack.clone()),
                    live: *id == me || (newest && self.alive(member.node_id)),
                    silent: self.silent_for(member.node_id),
                    matched: if *id == me {
                        Some(status.last_log)
                    } else {
                        status.matched.get(id).copied()
                    },
                    vote_withheld: member.vote_withheld,
                };
                (*id, view)
            })
            .collect();
        let group = Group {
            leader: me,
            voters: status.voters.clone(),
            learners: status.learners.clone(),
            members,
            committed: status.committed,
            wanted: self.shared.options.voters_wanted(),
            replacement_timeout: self.shared.options.timings.voter_replacement,
        };
        if let Some(change) = next_change(&group) {
            self.change_voters(change, &status);
            return;
        }
        // Earlier lives of nodes, and nodes that an operator removed, that do not vote any more.
        let old: BTreeSet<RaftId> = image
            .members
            .values()
            .filter(|member| !status.voters.contains(&member.raft_id))
            .filter(|member| {
                let removed =
                    member.vote_withheld && image.broker(member.node_id).is_none() && !self.alive(member.node_id);
                removed
                    || image
                        .member_of(member.node_id)
                        .is_some_and(|newest| newest.raft_id > member.raft_id)
            })
            .map(|member| member.raft_id)
            .collect();
        let learning: BTreeSet<RaftId> = old.intersection(&status.learners).copied().collect();
        if !learning.is_empty() {
            self.change(status.voters, learning);
            return;
        }
        self.work.extend(old.into_iter().map(Work::RemoveMember));
    }

    fn change_voters(&mut self, change: VoterChange, status: &RaftStatus) {
        match change {
            VoterChange::Promote(new) => tracing::info!(raft_id = %new, "a member that has caught up becomes a voter"),
            VoterChange::Replace { old, new } => tracing::warn!(
                raft_id = %old, replaced_by = %new,
                "a voter lost its directory, was silent for voter.replacement.timeout.ms, or its vote was taken: another votes instead"
            ),
            VoterChange::Demote(old) => {
                tracing::warn!(raft_id = %old, "the vote of a node was taken, and nobody votes instead")
            }
            VoterChange::HandOver(to) => {
                tracing::info!(raft_id = %to, "the vote of this node was taken: it hands over the metadata log's leadership");
                let (done, changing) = oneshot::channel();
                self.changing = Some(changing);
                let raft = self.raft.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = raft.transfer_leader(to).await {
                        tracing::warn!(%error, "the leadership was not handed over; this is tried again");
                    }
                    // The term may be over.
                    let _ = done.send(());
                });
                return;
            }
        }
        self.change(change.apply(&status.voters), BTreeSet::new());
    }

    fn alive(&self, node: NodeId) -> bool {
        self.liveness.connected(node, self.shared.host.now())
    }

    /// Since the node was last heard of in this term, or since the term began.
    fn silent_for(&self, node: NodeId) -> Duration {
        let heard = lock(&self.shared.last_heard).get(&node).copied();
        self.shared.host.now().since(heard.unwrap_or(self.began))
    }

    /// As many voters as wanted, and no change under way.
    fn settled(&self) -> bool {
        let status = self.raft.status();
        self.changing.is_none() && status.settled && status.voters.len() >= self.shared.options.voters_wanted()
    }

    fn change(&mut self, voters: BTreeSet<RaftId>, remove: BTreeSet<RaftId>) {
        let (done, changing) = oneshot::channel();
        self.changing = Some(changing);
        let raft = self.raft.clone();
        tokio::task::spawn_local(async move {
            let mut outcome = if remove.is_empty() {
                raft.change_voters(voters).await.map(drop)
            } else {
                Ok(())
            };
            for id in remove {
                outcome = outcome.and(raft.remove(id).await.map(drop));
            }
            if let Err(error) = outcome {
                tracing::warn!(%error, "the change of members is tried again");
            }
            // The term may be over.
            let _ = done.send(());
        });
    }
}

/// What a founder writes down for all brokers: what it was told that planners decide with, and `min.insync.replicas` in
/// any case, since elections depend on it (as Kafka does where ELR is on, KIP-966). Tools show these as settings and
/// leave defaults out.
fn is_cluster_default(name: &str, value: &str) -> bool {
    metadata::topic_config::find_synonym(name).is_some_and(|definition| {
        definition.effect == Effect::Cluster && (name == "min.insync.replicas" || definition.default != value)
    })
}
