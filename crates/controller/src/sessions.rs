use crate::envelope;
use crate::liveness::SessionId;
use crate::shared::{SessionEvent, Shared};
use async_trait::async_trait;
use raft::pb::broker_message::Message;
use raft::pb::controller_request::Request;
use raft::{Handler, Session, pb};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::{BrokerEpoch, LogIndex, NodeId};

/// What other control planes reach on this node.
pub(crate) struct Answering {
    pub shared: Arc<Shared>,
    next_session: AtomicU64,
}

impl Answering {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            next_session: AtomicU64::new(1),
        }
    }

    /// ◆ Whoever names another cluster is refused. Without one come only a node that looks for a cluster, and a person who
    /// asks how it is.
    fn admit(&self, envelope: &pb::Envelope, request: &Request) -> Result<(), String> {
        let (ours, _) = self.shared.membership();
        let anonymous = matches!(
            request,
            Request::Probe(_) | Request::Join(_) | Request::ClusterStatus(_) | Request::Diagnose(_)
        );
        if envelope.cluster_id == ours || (envelope.cluster_id.is_empty() && anonymous) {
            return Ok(());
        }
        Err(format!("this is cluster \"{ours}\", not \"{}\"", envelope.cluster_id))
    }
}

pub(crate) fn message(message: Message) -> pb::SessionMessage {
    pb::SessionMessage {
        envelope: None,
        message: Some(pb::session_message::Message::Broker(pb::BrokerMessage {
            message: Some(message),
        })),
    }
}

pub(crate) fn broker_message(message: pb::SessionMessage) -> Option<Message> {
    match message.message {
        Some(pb::session_message::Message::Broker(broker)) => broker.message,
        None => None,
    }
}

#[async_trait]
impl Handler for Answering {
    async fn call(&self, _from: SocketAddr, call: pb::CallRequest) -> Result<pb::CallReply, String> {
        match call.call {
            Some(pb::call_request::Call::Controller(pb::ControllerRequest { request: Some(request) })) => {
                self.admit(&call.envelope.unwrap_or_default(), &request)?;
                Ok(envelope::wrap(self.shared.ask_here(request).await))
            }
            Some(pb::call_request::Call::Controller(_)) => Err("an empty request".to_owned()),
            _ => match self.shared.raft.get() {
                Some(raft) => raft.handle(call).await,
                None => Err("this node is no member of a Raft group yet".to_owned()),
            },
        }
    }

    async fn session(&self, from: SocketAddr, hello: pb::SessionMessage, mut session: Session) {
        let (ours, _) = self.shared.membership();
        let theirs = hello
            .envelope
            .as_ref()
            .map(|envelope| envelope.cluster_id.clone())
            .unwrap_or_default();
        let Some(Message::Hello(hello)) = broker_message(hello) else {
            return;
        };
        let mut leadership = self.shared.leadership.subscribe();
        let registered = self
            .shared
            .image()
            .broker(NodeId(hello.node_id))
            .map(|broker| broker.broker_epoch.0);
        let refused = if ours != theirs || ours.is_empty() {
            Some((false, format!("this is cluster \"{ours}\", not \"{theirs}\"")))
        } else if !leadership.borrow_and_update().i_lead {
            Some((false, "this node is not the controller".to_owned()))
        } else if registered != Some(hello.broker_epoch) {
            Some((
                true,
                format!("registered with epoch {registered:?}, not {}", hello.broker_epoch),
            ))
        } else {
            None
        };
        if let Some((register_again, reason)) = refused {
            // The other side sees the end in any case.
            let _ = session
                .send
                .send(message(Message::Stale(pb::StaleSession { register_again, reason })))
                .await;
            return;
        }
        let node = NodeId(hello.node_id);
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let opened = SessionEvent::Opened {
            node,
            broker_epoch: BrokerEpoch(hello.broker_epoch),
            session: id,
            from,
        };
        if self.shared.sessions.send(opened).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                next = session.recv.recv() => match next.map(broker_message) {
                    Some(Some(Message::Heartbeat(heartbeat))) => {
                        let event = if heartbeat.want_fence {
                            SessionEvent::Hangs { node, session: id }
                        } else {
                            SessionEvent::Heartbeat { node, session: id, applied: LogIndex(heartbeat.applied) }
                        };
                        if self.shared.sessions.send(event).await.is_err() {
                            return;
                        }
                        let broker = self.shared.image().broker(node).cloned();
                        let answer = match broker {
                            Some(broker) if broker.broker_epoch.0 == heartbeat.broker_epoch => {
                                Message::HeartbeatReply(pb::HeartbeatReply { fenced: broker.fenced })
                            }
                            _ => Message::Stale(pb::StaleSession { register_again: true, reason: "another registration took its place".into() }),
                        };
                        if session.send.send(message(answer)).await.is_err() {
                            break;
                        }
                    }
                    Some(_) => {}
                    None => break,
                },
                changed = leadership.changed() => {
                    // Brokers look for the new controller as soon as their session with the old one ends.
                    if changed.is_err() || !leadership.borrow_and_update().i_lead {
                        break;
                    }
                }
            }
        }
        // The leader's loop may have ended with the node.
        let _ = self
            .shared
            .sessions
            .send(SessionEvent::Broken { node, session: id })
            .await;
    }
}
