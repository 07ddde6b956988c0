use crate::pb;
use crate::pb::call_request::Call;
use crate::pb::node_client::NodeClient;
use crate::pb::node_server::{Node, NodeServer};
use crate::transport::{CallError, Handler, SESSION_MESSAGES, Serving, Session, Transport};
use async_trait::async_trait;
use metadata::Endpoint;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use types::{Timings, limits};

/// What must not wait behind what: a snapshot never holds up a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Append,
    Vote,
    Snapshot,
    Controller,
    Session,
}

/// gRPC between control planes, a lazily made connection per peer and lane.
pub struct TonicTransport {
    timings: Timings,
    channels: Mutex<BTreeMap<(Endpoint, Lane), NodeClient<Channel>>>,
}

impl TonicTransport {
    #[must_use]
    pub fn new(timings: Timings) -> Self {
        Self { timings, channels: Mutex::default() }
    }

    fn client(&self, to: &Endpoint, lane: Lane) -> Result<NodeClient<Channel>, CallError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = channels.get(&(to.clone(), lane)) {
            return Ok(client.clone());
        }
        let host = if to.host.contains(':') { format!("[{}]", to.host) } else { to.host.clone() };
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{host}:{}", to.port))
            .map_err(|error| CallError::Unreachable(error.to_string()))?
            .tcp_nodelay(true)
            .connect_timeout(self.timings.dial_timeout)
            .http2_keep_alive_interval(self.timings.broker_session / 3)
            .keep_alive_timeout(self.timings.broker_session / 3)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let client = NodeClient::new(channel)
            .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX);
        channels.insert((to.clone(), lane), client.clone());
        Ok(client)
    }
}

fn lane(request: &pb::CallRequest) -> Lane {
    match &request.call {
        Some(Call::AppendEntries(_)) => Lane::Append,
        Some(Call::Vote(_) | Call::PreVote(_) | Call::TransferLeader(_)) => Lane::Vote,
        Some(Call::Snapshot(_)) => Lane::Snapshot,
        Some(Call::Controller(_)) | None => Lane::Controller,
    }
}

/// What a failed call means. A refusal to connect is looked for in the chain of causes: it is evidence that nobody
/// listens.
fn call_error(status: &Status) -> CallError {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return CallError::Refused;
        }
        cause = error.source();
    }
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented => CallError::Rejected(status.message().to_owned()),
        Code::DeadlineExceeded => CallError::Timeout,
        _ => CallError::Unreachable(status.to_string()),
    }
}

#[async_trait]
impl Transport for TonicTransport {
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError> {
        let mut client = self.client(to, lane(&request))?;
        match tokio::time::timeout(ttl, client.call(Request::new(request))).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(call_error(&status)),
            Err(_) => Err(CallError::Timeout),
        }
    }

    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError> {
        let mut client = self.client(to, Lane::Session)?;
        let (send, outgoing) = mpsc::channel(SESSION_MESSAGES);
        send.try_send(hello).map_err(|_| CallError::Unreachable("a session without room".to_owned()))?;
        let open = client.session(ReceiverStream::new(outgoing));
        let answer = tokio::time::timeout(self.timings.call_timeout, open).await.map_err(|_| CallError::Timeout)?;
        let mut messages = answer.map_err(|status| call_error(&status))?.into_inner();
        let (incoming, recv) = mpsc::channel(SESSION_MESSAGES);
        tokio::spawn(async move { receive(&mut messages, &incoming).await });
        Ok(Session { send, recv })
    }

    async fn serve(&self, listen: (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving> {
        let address = tokio::net::lookup_host((listen.0.as_str(), listen.1))
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", listen.0)))?;
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        // A restarted node must get its port back while old connections are in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        let port = listener.local_addr()?.port();
        let service = NodeServer::new(Service(handler))
            .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX);
        let server = Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(self.timings.broker_session / 3))
            .http2_keepalive_timeout(Some(self.timings.broker_session / 3))
            .add_service(service);
        let incoming = TcpListenerStream::new(listener).map(|stream| {
            if let Ok(stream) = &stream {
                // Best effort: latency only.
                let _ = stream.set_nodelay(true);
            }
            stream
        });
        let task = tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming(incoming).await {
                tracing::error!(%error, "the control listener ended");
            }
        });
        Ok(Serving { port, task })
    }
}

async fn receive(messages: &mut Streaming<pb::SessionMessage>, incoming: &mpsc::Sender<pb::SessionMessage>) {
    loop {
        tokio::select! {
            message = messages.message() => match message {
                Ok(Some(message)) => {
                    if incoming.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(None) | Err(_) => return,
            },
            () = incoming.closed() => return,
        }
    }
}

struct Service(Arc<dyn Handler>);

fn peer<T>(request: &Request<T>) -> SocketAddr {
    request.remote_addr().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

#[tonic::async_trait]
impl Node for Service {
    async fn call(&self, request: Request<pb::CallRequest>) -> Result<Response<pb::CallReply>, Status> {
        let from = peer(&request);
        self.0.call(from, request.into_inner()).await.map(Response::new).map_err(Status::failed_precondition)
    }

    type SessionStream = std::pin::Pin<Box<dyn futures::Stream<Item = Result<pb::SessionMessage, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<pb::SessionMessage>>) -> Result<Response<Self::SessionStream>, Status> {
        let from = peer(&request);
        let mut messages = request.into_inner();
        let (send, outgoing) = mpsc::channel(SESSION_MESSAGES);
        let (incoming, recv) = mpsc::channel(SESSION_MESSAGES);
        let handler = self.0.clone();
        tokio::spawn(async move {
            let Ok(Some(hello)) = messages.message().await else { return };
            // The session ends for the handler as soon as the stream does.
            tokio::join!(receive_owned(messages, incoming), handler.session(from, hello, Session { send, recv }));
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).map(Ok))))
    }
}

async fn receive_owned(mut messages: Streaming<pb::SessionMessage>, incoming: mpsc::Sender<pb::SessionMessage>) {
    receive(&mut messages, &incoming).await;
}
