use crate::pb;
use async_trait::async_trait;
use metadata::Endpoint;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The machine is there and nobody listens.
    #[error("connection refused")]
    Refused,
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("no answer in time")]
    Timeout,
    /// The peer answered that it will not: the wrong cluster, the wrong member, nonsense.
    #[error("rejected: {0}")]
    Rejected(String),
}

/// Messages waiting in one direction of a session.
pub(crate) const SESSION_MESSAGES: usize = 64;

/// A long-lived exchange. It ends, for both sides, when either drops its half or the connection breaks: `recv` then
/// yields `None` at once.
#[derive(Debug)]
pub struct Session {
    pub send: mpsc::Sender<pb::SessionMessage>,
    pub recv: mpsc::Receiver<pb::SessionMessage>,
}

/// What a control plane answers.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// # Errors
    /// Why the call is refused; the caller sees [`CallError::Rejected`].
    async fn call(&self, from: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String>;

    /// Serves a session; returns when it is over.
    async fn session(&self, from: SocketAddr, hello: pb::SessionMessage, session: Session);
}

/// A listening transport; it stops when this is dropped.
pub struct Serving {
    pub port: u16,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How control planes reach each other.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// One request, one answer.
    ///
    /// # Errors
    /// [`CallError`]; what the peer did is unknown unless it is `Refused` or `Rejected`.
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError>;

    /// Opens a session with `hello` as its first message.
    ///
    /// # Errors
    /// [`CallError`].
    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError>;

    /// Listens on (host, port), port 0 picks one, until the result is dropped.
    ///
    /// # Errors
    /// The port is in use, or whatever the system says.
    async fn serve(&self, listen: (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving>;
}
