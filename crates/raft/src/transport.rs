use crate::pb;
use async_trait::async_trait;
use metadata::Endpoint;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The machine answered that nobody listens there (ECONNREFUSED): the process is gone.
    #[error("connection refused")]
    Refused,
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// No answer in time; the call may have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// The receiver refused it.
    #[error("rejected: {0}")]
    Rejected(String),
}

/// Messages that wait in one direction of a session.
pub(crate) const SESSION_MESSAGES: usize = 64;
/// Time for the peer to end its half of a session that has ended here.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// Messages in both directions until either side drops one of its halves or the connection breaks: then `recv`
/// ends and `send` fails on both. What was sent before a half was dropped still arrives.
#[derive(Debug)]
pub struct Session {
    pub send: mpsc::Sender<pb::SessionMessage>,
    pub recv: mpsc::Receiver<pb::SessionMessage>,
}

/// The other ends of a [`Session`]'s halves, for the transport.
pub(crate) struct SessionEnds {
    pub sent: mpsc::Receiver<pb::SessionMessage>,
    pub received: mpsc::Sender<pb::SessionMessage>,
}

impl Session {
    pub(crate) fn new() -> (Self, SessionEnds) {
        let (send, sent) = mpsc::channel(SESSION_MESSAGES);
        let (received, recv) = mpsc::channel(SESSION_MESSAGES);
        (Self { send, recv }, SessionEnds { sent, received })
    }
}

/// A server; it stops when dropped, and its open connections break.
#[derive(Debug)]
pub struct Serving {
    pub port: u16,
    /// Closed by the drop: the server's tasks watch the other end.
    pub(crate) stop: watch::Sender<()>,
}

impl Serving {
    /// Stops, and returns when the port is free again.
    pub async fn close(self) {
        self.stop.send_replace(());
        self.stop.closed().await;
    }
}

/// Carries all that control planes say to each other.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// One call, one reply, within `ttl`.
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError>;
    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError>;
    async fn serve(&self, listen: (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving>;
}

/// Answers what arrives. `from` is the peer's socket address.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn call(&self, from: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String>;
    /// Runs as long as the session is served.
    async fn session(&self, from: SocketAddr, hello: pb::SessionMessage, session: Session);
}
