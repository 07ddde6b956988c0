use crate::pb;
use crate::pb::call_request::Call;
use crate::pb::node_client::NodeClient;
use crate::tonic_server;
use crate::transport::{CallError, FAREWELL, Handler, SESSION_MESSAGES, Serving, Session, SessionEnds, Transport};
use async_trait::async_trait;
use host::{Net, RealNet};
use hyper_util::rt::TokioIo;
use metadata::Endpoint;
use security::{ClusterSecret, Gate, Purpose};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Status, Streaming};
use tower::Service;
use types::{Timings, limits};

/// Channels kept; more endpoints than this are no cluster, and all are forgotten.
const CHANNELS_MAX: usize = 512;
/// What a peer may have sent on one call, and on one connection, before it is read.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;

/// What a connection is for: a snapshot under way must not delay a heartbeat, nor a vote wait behind entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Heartbeat,
    Append,
    Vote,
    Snapshot,
    Controller,
    Session,
}

impl Lane {
    fn of(request: &pb::CallRequest) -> Self {
        match &request.call {
            Some(Call::AppendEntries(append)) if append.entries.is_empty() => Self::Heartbeat,
            Some(Call::AppendEntries(_)) => Self::Append,
            Some(Call::Vote(_) | Call::PreVote(_) | Call::TransferLeader(_)) => Self::Vote,
            Some(Call::Snapshot(_)) => Self::Snapshot,
            Some(Call::Controller(_)) | None => Self::Controller,
        }
    }
}

/// gRPC over TCP. One lazily dialled connection per endpoint and purpose; tasks run on the runtime of the
/// caller that was first to use it.
#[derive(Debug)]
pub struct TonicTransport {
    timings: Timings,
    gate: Gate,
    channels: Mutex<BTreeMap<(Endpoint, Lane), Channel>>,
}

impl TonicTransport {
    /// With a secret, both ends of every connection prove that they know it before anything is said.
    #[must_use]
    pub fn new(timings: Timings, secret: Option<Arc<ClusterSecret>>) -> Self {
        Self {
            timings,
            gate: Gate::new(secret, Purpose::Control),
            channels: Mutex::default(),
        }
    }

    fn client(&self, to: &Endpoint, lane: Lane) -> Result<NodeClient<Channel>, CallError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (to.clone(), lane);
        let channel = match channels.get(&key) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.channel(to, lane)?;
                if channels.len() >= CHANNELS_MAX {
                    channels.clear();
                }
                channels.insert(key, channel.clone());
                channel
            }
        };
        Ok(NodeClient::new(channel)
            .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX))
    }

    fn channel(&self, to: &Endpoint, lane: Lane) -> Result<Channel, CallError> {
        let host = if to.host.contains(':') {
            format!("[{}]", to.host)
        } else {
            to.host.clone()
        };
        let endpoint = Channel::from_shared(format!("http://{host}:{}", to.port))
            .map_err(|error| CallError::Unreachable(error.to_string()))?;
        // Only a session is silent while it lasts: a call finds out by its own timeout, and for the next one it is
        // enough to know in time that the connection is gone.
        let keep_alive = match lane {
            Lane::Session => self.timings.stream_keep_alive,
            _ => self.timings.stream_silence,
        };
        Ok(endpoint
            .connect_timeout(self.timings.dial_timeout)
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(self.timings.stream_silence)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector_lazy(self.connector(to)))
    }

    /// Dials by name at every attempt, and stands at the gate.
    fn connector(
        &self,
        to: &Endpoint,
    ) -> impl Service<Uri, Response = Connection, Error = io::Error, Future: Send> + use<> {
        let (gate, to) = (self.gate.clone(), to.clone());
        tower::service_fn(move |_: Uri| {
            let (gate, to) = (gate.clone(), to.clone());
            async move {
                let mut stream = RealNet.dial(&to.host, to.port).await?;
                gate.dialled(&mut *stream, rand::random()).await?;
                Ok(TokioIo::new(stream))
            }
        })
    }
}

type Connection = TokioIo<Box<dyn host::Stream>>;

/// Why a call failed, from what gRPC and the system said.
fn call_error(status: &Status) -> CallError {
    if status.code() == Code::FailedPrecondition {
        return CallError::Rejected(status.message().to_owned());
    }
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            return CallError::Refused;
        }
        text = error.to_string();
        source = error.source();
    }
    CallError::Unreachable(text)
}

/// Carries messages between a stream and a session until either ends; `out` feeds the stream's other direction.
pub(crate) async fn carry(
    mut incoming: Streaming<pb::SessionMessage>,
    ends: SessionEnds,
    out: mpsc::Sender<pb::SessionMessage>,
) {
    let SessionEnds { mut sent, received } = ends;
    let over = Notify::new();
    {
        let stream = &mut incoming;
        // Owns `received`: whoever reads the session learns of the end at once, even while last words go out.
        let inbound = async move {
            loop {
                tokio::select! {
                    message = stream.message() => {
                        let Ok(Some(message)) = message else { return };
                        if received.send(message).await.is_err() {
                            return;
                        }
                    }
                    () = received.closed() => return,
                }
            }
        };
        let inbound = async {
            inbound.await;
            over.notify_one();
            std::future::pending::<()>().await;
        };
        // Ends when all that was sent is on its way.
        let outbound = async {
            loop {
                let message = tokio::select! {
                    biased;
                    message = sent.recv() => message,
                    () = over.notified() => {
                        sent.close();
                        continue;
                    }
                    () = out.closed() => break,
                };
                let Some(message) = message else { return };
                if out.send(message).await.is_err() {
                    break;
                }
            }
            // Nothing goes out any more; what has come in is still to be read.
            sent.close();
            over.notified().await;
        };
        tokio::select! {
            () = inbound => {}
            () = outbound => {}
        }
    }
    drop(out);
    // To drop the stream before the peer has ended its half would reset it, and take the last words with it.
    let peer_ends = async { while let Ok(Some(_)) = incoming.message().await {} };
    let _ = tokio::time::timeout(FAREWELL, peer_ends).await;
}

#[async_trait]
impl Transport for TonicTransport {
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError> {
        let mut client = self.client(to, Lane::of(&request))?;
        match tokio::time::timeout(ttl, client.call(request)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(call_error(&status)),
            Err(_) => Err(CallError::Timeout),
        }
    }

    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError> {
        let mut client = self.client(to, Lane::Session)?;
        let (out, outgoing) = mpsc::channel(SESSION_MESSAGES);
        let opened = async {
            // There is room: nothing was sent before.
            let _ = out.send(hello).await;
            client.session(ReceiverStream::new(outgoing)).await
        };
        let incoming = match tokio::time::timeout(self.timings.call_timeout, opened).await {
            Ok(Ok(incoming)) => incoming.into_inner(),
            Ok(Err(status)) => return Err(call_error(&status)),
            Err(_) => return Err(CallError::Timeout),
        };
        let (session, ends) = Session::new();
        tokio::spawn(carry(incoming, ends, out));
        Ok(session)
    }

    async fn serve(&self, listen: (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving> {
        tonic_server::serve(&self.timings, self.gate.clone(), listen, handler).await
    }
}
