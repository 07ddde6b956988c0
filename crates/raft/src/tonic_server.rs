use crate::pb;
use crate::pb::node_server::{Node, NodeServer};
use crate::tonic_transport::{CONNECTION_WINDOW, STREAM_WINDOW, carry};
use crate::transport::{Handler, SESSION_MESSAGES, Serving, Session};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use host::{Listener, Net, RealNet};
use security::{AuthError, Complaints, Gate};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use types::{Timings, limits};

/// Calls and sessions under way on one connection.
const STREAMS_MAX: u32 = 1_024;
/// Pause after a failed accept: out of file descriptors, most likely, and nothing tells when there are some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Connections that stand at the gate. More than that are no cluster's: the newest is dropped.
const AT_THE_GATE_MAX: usize = 256;

/// A connection that breaks when the server stops.
struct Served {
    stream: Box<dyn host::Stream>,
    stopped: BoxFuture<'static, ()>,
}

#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl Connected for Served {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.stream.peer_addr())
    }
}

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            // A finished future must not be polled again.
            self.stopped = std::future::ready(()).boxed();
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Service {
    handler: Arc<dyn Handler>,
    hello_timeout: Duration,
}

/// The peer's address, which every connection of this server carries.
fn peer<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.0)
        .ok_or_else(|| Status::internal("no peer address"))
}

#[async_trait]
impl Node for Service {
    type SessionStream = stream::BoxStream<'static, Result<pb::SessionMessage, Status>>;

    async fn call(&self, request: Request<pb::CallRequest>) -> Result<Response<pb::CallReply>, Status> {
        let from = peer(&request)?;
        // This code is used for nothing else: the caller reads it as `CallError::Rejected`.
        self.handler
            .call(from, request.into_inner())
            .await
            .map(Response::new)
            .map_err(Status::failed_precondition)
    }

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let from = peer(&request)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(self.hello_timeout, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello"))??
            .ok_or_else(|| Status::failed_precondition("a session without a hello"))?;
        let (session, ends) = Session::new();
        let (out, outgoing) = mpsc::channel(SESSION_MESSAGES);
        tokio::spawn(carry(incoming, ends, out));
        let handler = self.handler.clone();
        tokio::spawn(async move { handler.session(from, hello, session).await });
        Ok(Response::new(ReceiverStream::new(outgoing).map(Ok).boxed()))
    }
}

async fn stopped(mut stop: watch::Receiver<()>) {
    // An error means that the `Serving` is gone, which is the same.
    let _ = stop.changed().await;
}

/// Accepts connections and passes on those that come through the gate, until nobody takes them any more.
async fn accept(
    mut listener: Box<dyn Listener>,
    gate: Gate,
    limit: Duration,
    stop: watch::Receiver<()>,
    admitted: mpsc::Sender<Served>,
) {
    let at_the_gate = Arc::new(Semaphore::new(AT_THE_GATE_MAX));
    let (complaints, began) = (Arc::new(Mutex::new(Complaints::default())), Instant::now());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.and_then(host::Incoming::attach),
            () = stopped(stop.clone()) => return,
            () = admitted.closed() => return,
        };
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a control plane");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = at_the_gate.clone().try_acquire_owned() else {
            continue;
        };
        let (gate, stop, admitted) = (gate.clone(), stop.clone(), admitted.clone());
        let complaints = complaints.clone();
        tokio::spawn(async move {
            let peer = stream.peer_addr();
            let passed = tokio::select! {
                passed = tokio::time::timeout(limit, gate.accepted(&mut *stream, rand::random())) => passed,
                () = stopped(stop.clone()) => return,
            };
            drop(permit);
            match passed {
                Ok(Ok(())) => {
                    let stopped = stopped(stop).boxed();
                    // The server may have ended.
                    let _ = admitted.send(Served { stream, stopped }).await;
                }
                Ok(Err(AuthError::Nothing)) => {}
                refused => {
                    let why = match refused {
                        Ok(Err(error)) => error.to_string(),
                        _ => "it did not authenticate itself in time".to_owned(),
                    };
                    let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
                    if complaints.due(peer.ip(), began.elapsed()) {
                        tracing::warn!(%peer, why, "connections to the control plane are refused");
                    }
                }
            }
        });
    }
}

/// Listens and serves on the current runtime until the result is dropped.
pub(crate) async fn serve(
    timings: &Timings,
    gate: Gate,
    (host, port): (String, u16),
    handler: Arc<dyn Handler>,
) -> io::Result<Serving> {
    let listener = RealNet.listen(&host, port).await?;
    let port = listener.local_addr()?.port();
    let (stop, stopping) = watch::channel(());
    let service = NodeServer::new(Service {
        handler,
        hello_timeout: timings.call_timeout,
    })
    .max_decoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX)
    .max_encoding_message_size(limits::CONTROL_MESSAGE_BYTES_MAX);
    let server = Server::builder()
        // Clients ping; this one only clears away connections of machines that are gone.
        .http2_keepalive_interval(Some(timings.stream_silence * 4))
        .http2_keepalive_timeout(Some(timings.stream_silence))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service);
    let shutdown = stopped(stopping.clone());
    let (admitted, admissions) = mpsc::channel(1);
    tokio::spawn(accept(listener, gate, timings.call_timeout, stopping, admitted));
    let incoming = ReceiverStream::new(admissions).map(Ok::<_, io::Error>);
    tokio::spawn(async move {
        if let Err(error) = server.serve_with_incoming_shutdown(incoming, shutdown).await {
            tracing::error!(%error, "the server of the control plane has ended");
        }
    });
    Ok(Serving { port, stop })
}
