use crate::boot_stamp::{BootStamp, OldCopies};
use crate::envelope;
use crate::forwarding::ask_controller;
use crate::messages::bytes_of;
use crate::options::LogDirectory;
use crate::sessions::{broker_message, message};
use crate::shared::Shared;
use metadata::{DirectoryOutcome, Image};
use raft::pb::broker_message::Message;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{Session, pb};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use types::{BrokerEpoch, NodeId, TopicPartition};

/// How long one registration looks for a controller before it is tried anew.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a refusal or a lost session, unless leadership changes first.
const PAUSE: Duration = Duration::from_millis(20);

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
) {
    let incarnation = start.incarnation;
    let mut image = shared.image.subscribe();
    loop {
        registration.send_replace(None);
        let Some(broker_epoch) = register(&shared, &start).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
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
            tracing::error!(node_id = %shared.options.node_id, %error,
                "a log directory cannot be written: the node does not serve");
            return;
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

async fn register(shared: &Shared, start: &Start) -> Option<BrokerEpoch> {
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
        Ok(Reply::RegisterBroker(reply)) => Some(BrokerEpoch(reply.broker_epoch)),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(node_id = %options.node_id, %error, "the controller does not register this broker yet");
            None
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

/// Heartbeats until the session ends, or nobody answers on it any more: a connection that lost something on the way may
/// stay open and silent for minutes, and this broker fenced. Whether the registration is stale.
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
    let silence = shared.options.timings.stream_silence;
    let mut answered = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(answered + silence) => {
                tracing::debug!("the controller is silent on this session: it is opened anew");
                return false;
            }
            _ = timer.tick() => {
                if !heartbeat(shared, &session, broker_epoch, answered + silence).await {
                    return false;
                }
            }
            // A fenced broker says at once how far it has come.
            changed = image.changed(), if fenced => {
                if changed.is_err() || !heartbeat(shared, &session, broker_epoch, answered + silence).await {
                    return false;
                }
            }
            next = session.recv.recv() => match next.map(broker_message) {
                Some(Some(Message::HeartbeatReply(reply))) => {
                    fenced = reply.fenced;
                    answered = tokio::time::Instant::now();
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

/// False if the session has ended, or takes nothing more until `by`.
async fn heartbeat(shared: &Shared, session: &Session, broker_epoch: BrokerEpoch, by: tokio::time::Instant) -> bool {
    let applied = shared.image().index.0;
    let heartbeat = pb::BrokerHeartbeat {
        broker_epoch: broker_epoch.0,
        applied,
    };
    let sent = session.send.send(message(Message::Heartbeat(heartbeat)));
    matches!(tokio::time::timeout_at(by, sent).await, Ok(Ok(())))
}
