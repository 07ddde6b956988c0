use crate::frame::Frame;
use crate::pb;
use crate::runtime;
use crate::transport::{CallError, FAREWELL, Handler, Serving, Session, SessionEnds, Transport};
use async_trait::async_trait;
use host::{HostRef, Incoming, Stream};
use metadata::Endpoint;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::{Notify, watch};
use types::Timings;

/// Idle connections kept per endpoint.
const IDLE_MAX: usize = 8;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const DIAL_TIMEOUT: Duration = Timings::LAN.dial_timeout;

type Connection = Box<dyn Stream>;

/// The transport of the simulator: frames over [`host::Net`], one call at a time on a connection. A connection
/// is used again only after a whole exchange; a call that times out takes its connection with it.
pub struct FramedTransport {
    host: HostRef,
    idle: Mutex<BTreeMap<Endpoint, Vec<Connection>>>,
}

fn dial_error(error: &io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CallError::Refused,
        _ => CallError::Unreachable(error.to_string()),
    }
}

fn broken(error: &io::Error) -> CallError {
    CallError::Unreachable(error.to_string())
}

/// Whether an idle connection is still open: nothing can be read from it, not even its end.
async fn open(connection: &mut Connection) -> bool {
    let mut byte = [0];
    std::future::poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut byte);
        Poll::Ready(Pin::new(&mut *connection).poll_read(cx, &mut buffer).is_pending())
    })
    .await
}

impl FramedTransport {
    #[must_use]
    pub fn new(host: HostRef) -> Self {
        Self {
            host,
            idle: Mutex::default(),
        }
    }

    async fn dial(&self, to: &Endpoint) -> Result<Connection, CallError> {
        match tokio::time::timeout(DIAL_TIMEOUT, self.host.net().dial(&to.host, to.port)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(dial_error(&error)),
            Err(_) => Err(CallError::Unreachable("no connection in time".into())),
        }
    }

    fn take_idle(&self, to: &Endpoint) -> Option<Connection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(to)?
            .pop()
    }

    async fn connection(&self, to: &Endpoint) -> Result<Connection, CallError> {
        while let Some(mut connection) = self.take_idle(to) {
            if open(&mut connection).await {
                return Ok(connection);
            }
        }
        self.dial(to).await
    }

    fn put_back(&self, to: &Endpoint, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(to.clone()).or_default();
        if connections.len() < IDLE_MAX {
            connections.push(connection);
        }
    }

    async fn exchange(&self, to: &Endpoint, request: pb::CallRequest) -> Result<pb::CallReply, CallError> {
        let mut connection = self.connection(to).await?;
        Frame::Call(request)
            .write(&mut connection)
            .await
            .map_err(|error| broken(&error))?;
        let result = match Frame::read(&mut connection).await.map_err(|error| broken(&error))? {
            Some(Frame::Reply(reply)) => Ok(reply),
            Some(Frame::Rejected(reason)) => Err(CallError::Rejected(reason)),
            Some(_) => return Err(CallError::Unreachable("a frame of another kind".into())),
            None => return Err(CallError::Unreachable("the connection was closed".into())),
        };
        self.put_back(to, connection);
        result
    }
}

/// Carries messages between a connection and a session until either ends.
async fn carry(connection: Connection, ends: SessionEnds) {
    let SessionEnds { mut sent, received } = ends;
    let (mut reader, mut writer) = tokio::io::split(connection);
    let over = Notify::new();
    {
        let stream = &mut reader;
        // Owns `received`: whoever reads the session learns of the end at once, even while last words go out.
        let inbound = async move {
            loop {
                tokio::select! {
                    frame = Frame::read(&mut *stream) => {
                        let Ok(Some(Frame::Session(message))) = frame else { return };
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
        // Ends when all that was sent is on its way; a frame is never cut.
        let outbound = async {
            loop {
                let message = tokio::select! {
                    biased;
                    message = sent.recv() => message,
                    () = over.notified() => {
                        sent.close();
                        continue;
                    }
                };
                let Some(message) = message else { return };
                if Frame::Session(message).write(&mut writer).await.is_err() {
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
    // To close with bytes unread would reset the connection, and take the last words with it.
    let peer_ends = async {
        writer.shutdown().await?;
        let mut rest = [0; 1024];
        while reader.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, peer_ends).await;
}

/// Serves one connection: calls in turn, or a session if it starts with one.
async fn serve_connection(mut connection: Connection, handler: Arc<dyn Handler>) -> io::Result<()> {
    let from: SocketAddr = connection.peer_addr();
    loop {
        let answer = match Frame::read(&mut connection).await? {
            Some(Frame::Call(request)) => match handler.call(from, request).await {
                Ok(reply) => Frame::Reply(reply),
                Err(reason) => Frame::Rejected(reason),
            },
            Some(Frame::Session(hello)) => {
                let (session, ends) = Session::new();
                tokio::join!(handler.session(from, hello, session), carry(connection, ends));
                return Ok(());
            }
            Some(Frame::Reply(_) | Frame::Rejected(_)) => return Err(io::ErrorKind::InvalidData.into()),
            None => return Ok(()),
        };
        answer.write(&mut connection).await?;
    }
}

async fn stopped(mut stop: watch::Receiver<()>) {
    // An error means that the `Serving` is gone, which is the same.
    let _ = stop.changed().await;
}

#[async_trait]
impl Transport for FramedTransport {
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError> {
        tokio::time::timeout(ttl, self.exchange(to, request))
            .await
            .unwrap_or(Err(CallError::Timeout))
    }

    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError> {
        let mut connection = self.dial(to).await?;
        Frame::Session(hello)
            .write(&mut connection)
            .await
            .map_err(|error| broken(&error))?;
        let (session, ends) = Session::new();
        runtime::spawn(carry(connection, ends));
        Ok(session)
    }

    async fn serve(&self, (host, port): (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving> {
        let mut listener = self.host.net().listen(&host, port).await?;
        let port = listener.local_addr()?.port();
        let (stop, stopping) = watch::channel(());
        runtime::spawn(async move {
            let ended = stopped(stopping.clone());
            let mut ended = std::pin::pin!(ended);
            loop {
                let accepted = tokio::select! {
                    () = &mut ended => return,
                    accepted = listener.accept() => accepted.and_then(Incoming::attach),
                };
                match accepted {
                    Ok(connection) => {
                        let (handler, stop) = (handler.clone(), stopping.clone());
                        runtime::spawn(async move {
                            tokio::select! {
                                () = stopped(stop) => {}
                                served = serve_connection(connection, handler) => {
                                    if let Err(error) = served {
                                        tracing::debug!(%error, "a connection of a control plane broke");
                                    }
                                }
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection of a control plane");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Ok(Serving { port, stop })
    }
}
