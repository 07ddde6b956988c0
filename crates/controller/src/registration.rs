use crate::boot_stamp::{BootStamp, OldCopies};
use crate::envelope;
use crate::forwarding::ask_controller;
use crate::messages::bytes_of;
use crate::options::LogDirectory;
use crate::planning::in_use;
use crate::sessions::{broker_message, message};
use crate::shared::Shared;
use metadata::{DirectoryOutcome, Image};
use raft::pb::broker_message::Message;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{Session, pb};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use types::{BrokerEpoch, ErrorCode, Monotonic, NodeId, TopicPartition};

/// How long one registration looks for a controller before it is tried anew.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a refusal or a lost session, unless leadership changes first.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause while another node has this one's number.
const PAUSE_IN_USE: Duration = Duration::from_millis(250);

/// This start of the node, as it registers.
pub(crate) struct Start {
    pub incarnation: u128,
    pub stamp: BootStamp,
    pub old_copies: OldCopies,
    /// What recovery found is told once: from the registration on, the logs are what replication makes of them.
    pub told: bool,
}

/// Keeps this broker registered and its session with the controller open, until the node stops.
pub(crate) async fn keep_registered(
    shared: Arc<Shared>,
    mut start: Start,
    registration: watch::Sender<Option<BrokerEpoch>>,
    gives_up: oneshot::Sender<String>,
) {
    let mut duplicate: Option<Monotonic> = None;
    let incarnation = start.incarnation;
    let mut image = shared.image.subscribe();
    loop {
        registration.send_replace(None);
        let broker_epoch = match register(&shared, &start).await {
            Ok(broker_epoch) => broker_epoch,
            Err(refused) => {
                let now = shared.host.now();
                if refused != Some(ErrorCode::DuplicateBrokerRegistration) {
                    duplicate = None;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                if now.since(*duplicate.get_or_insert(now)) > shared.options.timings.duplicate_after() {
                    // The control plane may have ended.
                    let _ = gives_up.send(in_use(&shared.image(), shared.options.node_id));
                    // Whoever waits for a registration is told why there is none, not that its sender is gone.
                    return std::future::pending().await;
                }
                tokio::time::sleep(PAUSE_IN_USE).await;
                continue;
            }
        };
        duplicate = None;
        // ◆ Nothing is served, led or followed before the own registration record is applied here.
        let mine = |image: &Image| registered_as(image, shared.options.node_id, broker_epoch, incarnation);
        if image
            .wait_for(|image| {
                image
                    .broker(shared.options.node_id)
                    .is_some_and(|broker| broker.broker_epoch >= broker_epoch)
            })
            .await
            .is_err()
        {
            return;
        }
        if !mine(&shared.image()) {
            continue;
        }
        start.told = true;
        // Before anything is copied into them: the copies must not be taken for lost too.
        if let Err(error) = start.old_copies.take_back(&*shared.host.disk(), start.stamp) {
            // The control plane may have ended.
            let _ = gives_up.send(error.to_string());
            return std::future::pending().await;
        }
        tracing::info!(node_id = %shared.options.node_id, %broker_epoch, "registered");
        registration.send_replace(Some(broker_epoch));
        tokio::select! {
            () = sessions(&shared, broker_epoch, incarnation) => {}
            replaced = image.wait_for(|image| !mine(image)) => {
                if replaced.is_err() {
                    return;
                }
            }
        }
        tracing::warn!(node_id = %shared.options.node_id, %broker_epoch, "the registration was replaced; registering again");
    }
}

fn registered_as(image: &Image, node: NodeId, broker_epoch: BrokerEpoch, incarnation: u128) -> bool {
    image
        .broker(node)
        .is_some_and(|broker| broker.broker_epoch == broker_epoch && broker.incarnation == incarnation)
}

/// # Errors
/// What the controller refused with; `None` where there was no answer.
async fn register(shared: &Shared, start: &Start) -> Result<BrokerEpoch, Option<ErrorCode>> {
    let options = &shared.options;
    let request = pb::RegisterBrokerRequest {
        node_id: options.node_id.0,
        raft_id: shared.membership().1,
        incarnation: start.incarnation.to_be_bytes().to_vec(),
        rack: options.rack.clone().unwrap_or_default(),
        kafka: Some(envelope::address(&options.kafka_advertised)),
        replica: Some(envelope::address(&options.replica)),
        control: Some(envelope::address(&options.control_advertised)),
        shards: u32::from(options.shards),
        directories: options
            .directories
            .iter()
            .map(|directory| recovery(directory, start))
            .collect(),
    };
    match ask_controller(shared, Request::RegisterBroker(request), DEADLINE).await {
        Ok(Reply::RegisterBroker(reply)) => Ok(BrokerEpoch(reply.broker_epoch)),
        Ok(_) => Err(None),
        Err(error) => {
            tracing::warn!(node_id = %options.node_id, %error, "the controller does not register this broker yet");
            Err(Some(error))
        }
    }
}

fn recovery(directory: &LogDirectory, start: &Start) -> pb::DirectoryRecovery {
    let outcome = match directory.report.outcome {
        DirectoryOutcome::Intact if start.old_copies.contains(directory.report.id) => DirectoryOutcome::Missing,
        DirectoryOutcome::Missing if start.told => DirectoryOutcome::Intact,
        outcome => outcome,
    };
    let damaged = if start.told { &[][..] } else { &directory.damaged };
    let replica = |tp: &TopicPartition| pb::DamagedReplica {
        topic_id: bytes_of(tp.topic.0),
        partition: tp.partition,
    };
    pb::DirectoryRecovery {
        directory_id: bytes_of(directory.report.id.0),
        outcome: match outcome {
            DirectoryOutcome::Intact => 0,
            DirectoryOutcome::Missing => 1,
            DirectoryOutcome::Failed => 2,
        },
        clean: directory.report.clean,
        damaged: damaged.iter().map(replica).collect(),
    }
}

/// One session after the other, each with who leads then. Returns when the registration is stale.
async fn sessions(shared: &Shared, broker_epoch: BrokerEpoch, incarnation: u128) {
    let mut leadership = shared.leadership.subscribe();
    loop {
        let leader = leadership.borrow_and_update().leader.clone();
        if let Some((_, at)) = leader {
            let hello = pb::BrokerHello {
                node_id: shared.options.node_id.0,
                broker_epoch: broker_epoch.0,
                incarnation: incarnation.to_be_bytes().to_vec(),
            };
            let mut hello = message(Message::Hello(hello));
            let (cluster_id, raft_id) = shared.membership();
            hello.envelope = Some(pb::Envelope {
                cluster_id,
                sender_node: shared.options.node_id.0,
                sender_raft_id: raft_id,
                target_raft_id: 0,
            });
            let opened = tokio::select! {
                opened = shared.transport.open_session(&at, hello) => opened.ok(),
                _ = leadership.changed() => None,
            };
            if let Some(session) = opened
                && heartbeats(shared, session, broker_epoch, &mut leadership).await
            {
                return;
            }
        }
        // A change of leadership ends the pause.
        let _ = tokio::time::timeout(PAUSE, leadership.changed()).await;
    }
}

/// Heartbeats until the session ends, or nothing has come back for as long as fences a broker: what is sent on a connection
/// that a broken network has lost fails late, if at all, and a new one stands as soon as the network does. Whether the
/// registration is stale.
async fn heartbeats(
    shared: &Shared,
    mut session: Session,
    broker_epoch: BrokerEpoch,
    leadership: &mut watch::Receiver<raft::Leadership>,
) -> bool {
    let mut image = shared.image.subscribe();
    let mut timer = tokio::time::interval(shared.options.timings.broker_heartbeat);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let at = leadership.borrow_and_update().leader.clone();
    let mut fenced = true;
    let mut heard = shared.host.now();
    let mut hung = false;
    loop {
        tokio::select! {
            _ = timer.tick() => {
                let silence = shared.data_plane.get().map(|data_plane| data_plane.silence()).unwrap_or_default();
                let hangs = silence > shared.options.timings.flush_stall;
                if hangs && !hung {
                    tracing::error!(node_id = %shared.options.node_id, silence_ms = silence.as_millis(),
                        "a shard hangs, on a disk as it seems: the controller is asked to let others lead. What was acknowledged is safe");
                    if !heartbeat(shared, &session, broker_epoch, true).await {
                        return false;
                    }
                }
                hung = hangs;
                if hangs {
                    continue;
                }
                if shared.host.now().since(heard) >= shared.options.timings.broker_session
                    || !heartbeat(shared, &session, broker_epoch, false).await
                {
                    return false;
                }
            }
            // A fenced broker says at once how far it has come.
            changed = image.changed(), if fenced && !hung => {
                if changed.is_err() || !heartbeat(shared, &session, broker_epoch, false).await {
                    return false;
                }
            }
            next = session.recv.recv() => match next.map(broker_message) {
                Some(Some(Message::HeartbeatReply(reply))) => {
                    fenced = reply.fenced;
                    heard = shared.host.now();
                }
                Some(Some(Message::Stale(stale))) => {
                    tracing::debug!(reason = stale.reason, "the controller ends the session");
                    return stale.register_again;
                }
                Some(_) => {}
                None => return false,
            },
            changed = leadership.changed() => {
                if changed.is_err() || leadership.borrow_and_update().leader != at {
                    return false;
                }
            }
        }
    }
}

async fn heartbeat(shared: &Shared, session: &Session, broker_epoch: BrokerEpoch, want_fence: bool) -> bool {
    let applied = shared.image().index.0;
    let heartbeat = pb::BrokerHeartbeat {
        broker_epoch: broker_epoch.0,
        applied,
        want_fence,
    };
    session.send.send(message(Message::Heartbeat(heartbeat))).await.is_ok()
}
