use crate::pb;
use crate::runtime::spawn;
use crate::transport::{CallError, Handler, SESSION_MESSAGES, Serving, Session, Transport};
use async_trait::async_trait;
use bytes::Bytes;
use host::{HostRef, Stream};
use metadata::Endpoint;
use prost::Message;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use types::limits;

/// First byte of a connection: calls, one after the other, or one session.
const CALLS: u8 = 1;
const SESSION: u8 = 2;
/// A connection that carries nothing for so long is closed by the server.
const IDLE: Duration = Duration::from_secs(30);
/// Time for a session's first exchange.
const OPEN: Duration = Duration::from_secs(2);
/// Idle connections kept per peer.
const KEPT: usize = 8;

type Idle = Mutex<BTreeMap<Endpoint, Vec<Box<dyn Stream>>>>;

/// Calls and sessions in plain length-prefixed frames over [`host::Net`]: what the simulator has in place of gRPC.
///
/// ```text
///  connection: kind u8, then frames      frame: length u32 │ message (protobuf)
///  answer to a call: length u32 │ 0 │ CallReply    or    length u32 │ 1 │ refusal in UTF-8
/// ```
pub struct FramedTransport {
    host: HostRef,
    idle: Arc<Idle>,
}

impl FramedTransport {
    #[must_use]
    pub fn new(host: HostRef) -> Self {
        Self { host, idle: Arc::default() }
    }

    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn Stream>, CallError> {
        self.host.net().dial(&to.host, to.port).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => CallError::Refused,
            _ => CallError::Unreachable(error.to_string()),
        })
    }
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin + ?Sized), parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_be_bytes());
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    stream.write_all(&frame).await
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Bytes> {
    let length = stream.read_u32().await? as usize;
    if length > limits::CONTROL_MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message over the limit"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(Bytes::from(bytes))
}

fn broken(error: impl std::fmt::Display) -> CallError {
    CallError::Unreachable(error.to_string())
}

#[async_trait]
impl Transport for FramedTransport {
    async fn call(&self, to: &Endpoint, request: pb::CallRequest, ttl: Duration) -> Result<pb::CallReply, CallError> {
        // The connection goes back only after a whole exchange; one that timed out is dropped.
        let exchange = async {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(to).and_then(Vec::pop);
            let mut stream = match kept {
                Some(stream) => stream,
                None => {
                    let mut stream = self.dial(to).await?;
                    stream.write_u8(CALLS).await.map_err(broken)?;
                    stream
                }
            };
            write_frame(&mut stream, &[&request.encode_to_vec()]).await.map_err(broken)?;
            let answer = read_frame(&mut stream).await.map_err(broken)?;
            Ok::<_, CallError>((stream, answer))
        };
        let (stream, answer) = match tokio::time::timeout(ttl, exchange).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                // The others to this peer are likely as old.
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(to);
                return Err(error);
            }
            Err(_) => return Err(CallError::Timeout),
        };
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = idle.entry(to.clone()).or_default();
            if kept.len() < KEPT {
                kept.push(stream);
            }
        }
        match answer.first() {
            Some(0) => pb::CallReply::decode(answer.slice(1..)).map_err(broken),
            Some(_) => Err(CallError::Rejected(String::from_utf8_lossy(&answer[1..]).into_owned())),
            None => Err(broken("an empty answer")),
        }
    }

    async fn open_session(&self, to: &Endpoint, hello: pb::SessionMessage) -> Result<Session, CallError> {
        let open = async {
            let mut stream = self.dial(to).await?;
            stream.write_u8(SESSION).await.map_err(broken)?;
            write_frame(&mut stream, &[&hello.encode_to_vec()]).await.map_err(broken)?;
            Ok(stream)
        };
        let stream = tokio::time::timeout(OPEN, open).await.map_err(|_| CallError::Timeout)??;
        Ok(pump(stream))
    }

    async fn serve(&self, listen: (String, u16), handler: Arc<dyn Handler>) -> io::Result<Serving> {
        let mut listener = self.host.net().listen(&listen.0, listen.1).await?;
        let port = listener.local_addr()?.port();
        let task = spawn(async move {
            loop {
                let Ok(incoming) = listener.accept().await else { return };
                let (peer, handler) = (incoming.peer_addr(), handler.clone());
                let Ok(stream) = incoming.attach() else { continue };
                spawn(async move {
                    if let Err(error) = connection(stream, peer, &*handler).await {
                        tracing::debug!(%peer, %error, "a control connection ended");
                    }
                });
            }
        });
        Ok(Serving { port, task })
    }
}

async fn connection(mut stream: Box<dyn Stream>, peer: SocketAddr, handler: &dyn Handler) -> io::Result<()> {
    match stream.read_u8().await? {
        CALLS => loop {
            let request = tokio::time::timeout(IDLE, read_frame(&mut stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            let request = pb::CallRequest::decode(request).map_err(io::Error::other)?;
            match handler.call(peer, request).await {
                Ok(reply) => write_frame(&mut stream, &[&[0], &reply.encode_to_vec()]).await?,
                Err(refusal) => write_frame(&mut stream, &[&[1], refusal.as_bytes()]).await?,
            }
        },
        SESSION => {
            let hello = tokio::time::timeout(OPEN, read_frame(&mut stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            let hello = pb::SessionMessage::decode(hello).map_err(io::Error::other)?;
            handler.session(peer, hello, pump(stream)).await;
            Ok(())
        }
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("connection kind {other}"))),
    }
}

/// A session over a stream. When either side of it is dropped, or the stream breaks, both tasks end and so does the other
/// side.
fn pump(stream: Box<dyn Stream>) -> Session {
    let (send, mut outgoing) = mpsc::channel::<pb::SessionMessage>(SESSION_MESSAGES);
    let (incoming, recv) = mpsc::channel(SESSION_MESSAGES);
    let (mut read, mut write) = tokio::io::split(stream);
    spawn(async move {
        let receive = async {
            while let Ok(bytes) = read_frame(&mut read).await {
                let Ok(message) = pb::SessionMessage::decode(bytes) else { return };
                if incoming.send(message).await.is_err() {
                    return;
                }
            }
        };
        let transmit = async {
            while let Some(message) = outgoing.recv().await {
                if write_frame(&mut write, &[&message.encode_to_vec()]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = receive => {}
            () = transmit => {}
            () = incoming.closed() => {}
        }
    });
    Session { send, recv }
}
