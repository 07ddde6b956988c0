use crate::control_handle::{ControlHandle, DEADLINE};
use crate::envelope;
use crate::forwarding::forward_all;
use crate::founding::{Answer, Decision, Situation, decide};
use crate::identity::{Identity, IdentityFile, Membership};
use crate::leader;
use crate::options::ControlOptions;
use crate::registration::{Start, keep_registered};
use crate::sessions::Answering;
use crate::shared::{Shared, lock};
use futures::FutureExt;
use host::{HostRef, PoolExt};
use metadata::{Endpoint, Image};
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{RaftNode, RaftOptions, RaftStore, Slot, Transport, pb};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use types::{ErrorCode, RaftId, limits};

/// Pause between two rounds of asking others.
const ROUND: Duration = Duration::from_millis(25);
/// What the node waits for is said again this often.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// Time for one founder to answer.
const ASK: Duration = Duration::from_millis(500);
/// Nodes asked for the controller in one round.
const ASKED_MAX: usize = 8;
/// Time for another member to lead the metadata when this one stops.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Entries between two snapshots of the metadata.
const SNAPSHOT_EVERY: u64 = 2_000;
/// The founder's Raft id, the first that there is.
const FIRST: RaftId = RaftId(1);

/// Why the control plane does not start, or has stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ControlError(pub String);

/// The control plane of one node: on a thread of its own, so that a busy data plane causes no elections.
pub struct ControlPlane;

/// Resolves with the reason when the control plane cannot go on.
pub type Failure = oneshot::Receiver<String>;

impl ControlPlane {
    /// Starts the control plane: listens, founds or joins where the node belongs to no cluster yet, then registers and stays
    /// registered. Returns as soon as it listens.
    ///
    /// # Errors
    /// The port is in use; the identity cannot be read or belongs to another node.
    pub async fn start(
        host: HostRef,
        options: ControlOptions,
        store: Arc<dyn RaftStore>,
        transport: Arc<dyn Transport>,
    ) -> Result<(ControlHandle, Failure), ControlError> {
        let (image, images) = watch::channel(Arc::new(Image::default()));
        let (registration, registered) = watch::channel(None);
        let (forward, forwards) = mpsc::channel(limits::CONTROLLER_QUEUE_MAX);
        let (stop, stopping) = watch::channel(false);
        let (ended_sender, ended) = watch::channel(false);
        let (started_sender, started) = oneshot::channel();
        let (failed, failure) = oneshot::channel();
        let raft = Arc::new(OnceLock::new());
        let data_plane = Arc::new(OnceLock::new());
        let handle = ControlHandle {
            node_id: options.node_id,
            host: host.clone(),
            image: images,
            registration: registered,
            raft: raft.clone(),
            data_plane: data_plane.clone(),
            forward,
            stop,
            ended,
            deadline: DEADLINE,
        };
        let body_host = host.clone();
        let body = move || -> futures::future::LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                let (commands, command_queue) = mpsc::channel(limits::CONTROLLER_QUEUE_MAX);
                let (sessions, session_queue) = mpsc::channel(limits::CONTROLLER_QUEUE_MAX);
                let mut shared = Shared::new(body_host, options, transport, image, raft, commands, sessions);
                shared.data_plane = data_plane;
                let shared = Arc::new(shared);
                let mut stopping = stopping;
                let run = run(
                    shared.clone(),
                    store,
                    registration,
                    forwards,
                    command_queue,
                    session_queue,
                    started_sender,
                );
                let mut run = std::pin::pin!(run);
                tokio::select! {
                    outcome = &mut run => {
                        if let Err(error) = outcome {
                            // The node may be stopping already.
                            let _ = failed.send(error.0);
                        }
                    }
                    _ = stopping.wait_for(|stop| *stop) => {
                        // This node still answers while another takes over.
                        tokio::select! {
                            _ = &mut run => {}
                            () = hand_over(&shared) => {}
                        }
                    }
                }
                if let Some(raft) = shared.raft.get() {
                    raft.shutdown().await;
                }
                ended_sender.send_replace(true);
            })
        };
        host.spawn_thread("control", Box::new(body));
        match started.await {
            Ok(Ok(())) => Ok((handle, failure)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError("the control plane's thread ended".to_owned())),
        }
    }
}

/// Gives the metadata another leader before this one stops: without that nobody leads it for an election timeout.
async fn hand_over(shared: &Shared) {
    let Some(raft) = shared.raft.get() else { return };
    let status = raft.status();
    if status.leader != Some(status.id) {
        return;
    }
    let image = shared.image();
    let heard = lock(&shared.last_heard).clone();
    let others = status.voters.iter().filter(|voter| **voter != status.id);
    let Some(next) = others.max_by_key(|voter| {
        let node = image.members.get(voter).map(|member| member.node_id);
        (node.and_then(|node| heard.get(&node)), status.matched.get(voter))
    }) else {
        return;
    };
    match tokio::time::timeout(HAND_OVER, raft.transfer_leader(*next)).await {
        Ok(Ok(())) => tracing::info!(node_id = %shared.options.node_id, raft_id = %next, "handed the metadata over"),
        Ok(Err(error)) => tracing::info!(%error, "the metadata is left without a leader"),
        Err(_) => tracing::info!("the metadata is left without a leader: nobody took over in time"),
    }
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError(error.to_string())
}

#[allow(clippy::too_many_arguments)]
async fn run(
    shared: Arc<Shared>,
    store: Arc<dyn RaftStore>,
    registration: watch::Sender<Option<types::BrokerEpoch>>,
    forwards: mpsc::Receiver<crate::forwarding::Forward>,
    commands: mpsc::Receiver<crate::shared::Command>,
    sessions: mpsc::Receiver<crate::shared::SessionEvent>,
    started: oneshot::Sender<Result<(), ControlError>>,
) -> Result<(), ControlError> {
    let opened = open(&shared).await;
    let (mut identity, _serving) = match opened {
        Ok(opened) => {
            // Whoever started us may be gone.
            let _ = started.send(Ok(()));
            opened
        }
        Err(error) => {
            let _ = started.send(Err(error.clone()));
            return Err(error);
        }
    };
    // ◆ A node that has no identity any more must not go on with the vote of another life.
    if identity.identity().membership.is_none() && store.read(Slot::Vote).map_err(failed)?.is_some() {
        return Err(ControlError(format!(
            "{} holds a Raft log, but no cluster is named in its identity.properties, which was lost or replaced. Restore the \
             file, or move the directory away: the node then joins as a new member and is sent the metadata",
            shared.options.metadata_dir.display()
        )));
    }
    let membership = belong(&shared, &mut identity).await?;
    let old_copies = identity.stamp(&shared.options.directories).map_err(failed)?;
    for directory in old_copies.ids() {
        tracing::error!(node_id = %shared.options.node_id, %directory,
            "a log directory is an old copy of itself: its replicas leave ISR and ELR and are copied anew");
    }
    shared.set_membership(membership.cluster_id.clone(), membership.raft_id.0);
    let options = RaftOptions {
        raft_id: membership.raft_id,
        cluster_id: membership.cluster_id.clone(),
        timings: shared.options.timings,
        snapshot_every: SNAPSHOT_EVERY,
    };
    let raft = RaftNode::start(options, store, shared.transport.clone(), shared.host.clone())
        .await
        .map_err(failed)?;
    // Set once, here.
    let _ = shared.raft.set(raft.clone());
    if membership.founder && !membership.initialized {
        raft.initialize(shared.options.control_advertised.clone())
            .await
            .map_err(failed)?;
        identity
            .set_membership(Membership {
                initialized: true,
                ..membership.clone()
            })
            .map_err(failed)?;
    }
    tokio::task::spawn_local(forward_all(shared.clone(), forwards));
    tokio::task::spawn_local(leader::serve(shared.clone(), raft.clone(), commands, sessions));
    tokio::task::spawn_local(be_admitted(shared.clone(), raft.clone()));
    let start = Start {
        incarnation: identity.identity().incarnation(shared.host.random_u64()),
        stamp: identity.boot_stamp(),
        old_copies,
        told: false,
    };
    tokio::task::spawn_local(remember_journals(shared.clone(), identity, registration.subscribe()));
    let (gives_up, gave_up) = oneshot::channel();
    let mut gave_up = gave_up.fuse();
    tokio::task::spawn_local(keep_registered(shared.clone(), start, registration, gives_up));
    let (mut leadership, mut images) = (raft.leadership(), raft.image());
    shared.image.send_replace(images.borrow_and_update().clone());
    shared.leadership.send_replace(leadership.borrow_and_update().clone());
    loop {
        tokio::select! {
            Ok(why) = &mut gave_up => return Err(ControlError(why)),
            why = raft.failed() => return Err(ControlError(format!("the metadata log cannot go on: {why}"))),
            Ok(()) = images.changed() => {
                shared.image.send_replace(images.borrow_and_update().clone());
            }
            Ok(()) = leadership.changed() => {
                let now = leadership.borrow_and_update().clone();
                // A leader's image must be known to its duties before its leadership is.
                shared.image.send_replace(images.borrow_and_update().clone());
                shared.leadership.send_replace(now);
            }
        }
    }
}

/// Writes down how far the journals of the log directories have come, while the broker is registered.
async fn remember_journals(
    shared: Arc<Shared>,
    mut identity: IdentityFile,
    registration: watch::Receiver<Option<types::BrokerEpoch>>,
) {
    // A disk that hangs must not keep the control plane from talking.
    let pool = shared.host.pool("identity", 1);
    let mut timer = tokio::time::interval(limits::JOURNAL_REMEMBERED_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(data_plane) = shared.data_plane.get().filter(|_| registration.borrow().is_some()) else {
            continue;
        };
        let sequences = data_plane.journal_sequences();
        let written = pool.run(move || {
            let written = identity.remember(&sequences);
            (identity, written)
        });
        let Ok((back, written)) = written.await else {
            return;
        };
        identity = back;
        if let Err(error) = written {
            tracing::warn!(node_id = %shared.options.node_id, %error,
                "it could not be written down how far the log directories have come: an old copy of one may go unnoticed");
        }
    }
}

async fn open(shared: &Arc<Shared>) -> Result<(IdentityFile, raft::Serving), ControlError> {
    let options = &shared.options;
    let listen = (options.control_listen.host.clone(), options.control_listen.port);
    let identity = IdentityFile::open(&shared.host, &options.metadata_dir, options.node_id).map_err(failed)?;
    let _ = shared.directory.set(identity.identity().directory_id);
    if let Some(membership) = &identity.identity().membership {
        shared.set_membership(membership.cluster_id.clone(), membership.raft_id.0);
    }
    let serving = shared
        .transport
        .serve(listen.clone(), Arc::new(Answering::new(shared.clone())))
        .await
        .map_err(|error| {
            ControlError(format!(
                "cannot listen on {}:{} (control.listener): {error}",
                listen.0, listen.1
            ))
        })?;
    Ok((identity, serving))
}

/// The cluster that this node belongs to: as its identity says, or as it founds or joins one now.
async fn belong(shared: &Arc<Shared>, identity: &mut IdentityFile) -> Result<Membership, ControlError> {
    let options = &shared.options;
    let position = options
        .founders
        .iter()
        .position(|founder| *founder == options.control_advertised);
    let candidate = cluster_id(shared.host.random_uuid());
    let mut said: Option<(Vec<String>, types::Monotonic)> = None;
    let mut duplicate: Option<types::Monotonic> = None;
    loop {
        let promises = lock(&shared.promise).count();
        let others: Vec<&Endpoint> = options
            .founders
            .iter()
            .filter(|founder| **founder != options.control_advertised)
            .collect();
        let asked = others
            .iter()
            .map(|founder| probe(shared, founder, (position == Some(0)).then_some(candidate.as_str())));
        let known = identity.identity().membership.clone();
        let answers = if known.is_some() {
            Vec::new()
        } else {
            futures::future::join_all(asked).await
        };
        let situation = Situation {
            member_of: known.as_ref().map(|membership| membership.cluster_id.clone()),
            position,
            founders: options.founders.len(),
            found_alone: options.found_alone,
            answers: others.into_iter().cloned().zip(answers).collect(),
        };
        match decide(&situation) {
            Decision::Start => {
                if let Some(membership) = known {
                    return Ok(membership);
                }
            }
            Decision::Found => {
                check_directories(options, None)?;
                let membership = Membership {
                    cluster_id: candidate,
                    raft_id: FIRST,
                    founder: true,
                    initialized: false,
                };
                identity.set_membership(membership.clone()).map_err(failed)?;
                return Ok(membership);
            }
            Decision::Join { via, cluster_id } => {
                check_directories(options, Some(&cluster_id))?;
                let joined = match join(shared, identity.identity(), via).await {
                    Ok(joined) => joined,
                    Err(InUse(why)) => {
                        let now = shared.host.now();
                        if duplicate.is_none() {
                            tracing::warn!(node_id = %options.node_id, why, "the cluster does not take this node, unless the other one is gone soon");
                        }
                        if now.since(*duplicate.get_or_insert(now)) > shared.options.timings.duplicate_after() {
                            return Err(ControlError(why));
                        }
                        None
                    }
                };
                if let Some((cluster_id, raft_id)) = joined
                    && lock(&shared.promise).count() == promises
                {
                    let membership = Membership {
                        cluster_id,
                        raft_id,
                        founder: false,
                        initialized: false,
                    };
                    identity.set_membership(membership.clone()).map_err(failed)?;
                    return Ok(membership);
                }
            }
            Decision::Wait(for_whom) => {
                let now = shared.host.now();
                let news = said
                    .as_ref()
                    .is_none_or(|(before, at)| *before != for_whom || now.since(*at) >= SAY_AGAIN);
                if news {
                    tracing::info!(node_id = %options.node_id, waiting = for_whom.join("; "), "waiting to found or to join a cluster");
                    said = Some((for_whom, now));
                }
            }
            Decision::Refuse(why) => return Err(ControlError(why)),
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// ◆ Log directories of one cluster are not taken into another, which may be a new one (`None`).
fn check_directories(options: &ControlOptions, cluster: Option<&str>) -> Result<(), ControlError> {
    let Some(known) = options.cluster_id.as_deref() else {
        return Ok(());
    };
    let other = match cluster {
        Some(cluster) if cluster == known => return Ok(()),
        Some(cluster) => format!("the founders are of cluster {cluster}"),
        None => "the node would found a new one".to_owned(),
    };
    Err(ControlError(format!(
        "the log directories (log.dirs) belong to cluster {known}, and {other}. Nothing was changed. Check join and \
         metadata.log.dir, or move the log directories away if their data is not needed"
    )))
}

/// A cluster id as Kafka writes them: 16 bytes in URL-safe base64 without padding.
fn cluster_id(random: u128) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random.to_be_bytes())
}

async fn probe(shared: &Shared, founder: &Endpoint, candidate: Option<&str>) -> Answer {
    let request = pb::ProbeRequest {
        node_id: shared.options.node_id.0,
        candidate_cluster_id: candidate.unwrap_or_default().to_owned(),
        founders: shared.options.founders.iter().map(envelope::address).collect(),
    };
    let call = envelope::request(shared, Request::Probe(request));
    match shared
        .transport
        .call(founder, call, ASK)
        .await
        .ok()
        .and_then(envelope::reply)
    {
        Some(Reply::Probe(reply)) if !reply.cluster_id.is_empty() => Answer::Member {
            cluster_id: reply.cluster_id,
        },
        Some(Reply::Probe(reply)) if reply.empty => Answer::Empty,
        Some(Reply::Probe(reply)) => Answer::NoPromise(reply.refusal),
        _ => Answer::Silent,
    }
}

/// Another node that is alive has this node's number: why, for a person.
struct InUse(String);

/// Asks for a Raft id of its own.
async fn join(shared: &Shared, identity: &Identity, via: Vec<Endpoint>) -> Result<Option<(String, RaftId)>, InUse> {
    let request = Request::Join(pb::JoinRequest {
        node_id: shared.options.node_id.0,
        control: Some(envelope::address(&shared.options.control_advertised)),
        directory_id: identity.directory_id.0.as_bytes().to_vec(),
    });
    match ask_through(shared, &request, via).await {
        Some(Reply::Join(reply)) if !reply.cluster_id.is_empty() && reply.raft_id > 0 => {
            Ok(Some((reply.cluster_id, RaftId(reply.raft_id))))
        }
        Some(Reply::Refusal(refusal))
            if envelope::error_code(refusal.error_code) == ErrorCode::DuplicateBrokerRegistration =>
        {
            Err(InUse(refusal.message))
        }
        Some(Reply::Refusal(refusal)) => {
            tracing::warn!(message = refusal.message, "the cluster does not take this node yet");
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Asks these nodes, the last first, and whom they take for the controller, until one answers as that. ◆ A node that knows no
/// leader by itself knows founders only, and whoever leads may be none of them.
async fn ask_through(shared: &Shared, request: &Request, mut via: Vec<Endpoint>) -> Option<Reply> {
    let mut at = via.pop()?;
    for _ in 0..ASKED_MAX {
        let call = envelope::request(shared, request.clone());
        let called = shared
            .transport
            .call(&at, call, shared.options.timings.call_timeout)
            .await;
        let hint = match called.ok().and_then(envelope::reply) {
            Some(Reply::NotController(other)) => other.leader.and_then(envelope::endpoint),
            Some(reply) => return Some(reply),
            None => None,
        };
        at = match hint.filter(|leader| *leader != at) {
            Some(leader) => leader,
            None => via.pop()?,
        };
    }
    None
}

/// Asks the controller to send the log, until this member is part of the group under its present address: one that came
/// back at another is dialled by nobody before.
async fn be_admitted(shared: Arc<Shared>, raft: RaftNode) {
    loop {
        let status = raft.status();
        let me = &shared.options.control_advertised;
        if status.members.get(&status.id) == Some(me) {
            return;
        }
        let request = Request::Admit(pb::AdmitRequest {
            node_id: shared.options.node_id.0,
            raft_id: status.id.0,
            control: Some(envelope::address(me)),
        });
        let known = shared.options.founders.iter().chain(status.members.values());
        let others: BTreeSet<&Endpoint> = known.filter(|other| *other != me).collect();
        for other in others {
            // One that was cut off takes itself for the controller for a while, and knows of nothing.
            if let Some(Reply::Admit(_)) = ask_through(&shared, &request, vec![other.clone()]).await {
                break;
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}
