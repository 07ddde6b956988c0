//! What both transports promise.

use async_trait::async_trait;
use host::RealHost;
use metadata::Endpoint;
use raft::{CallError, FramedTransport, Handler, Session, TonicTransport, Transport, pb};
use security::ClusterSecret;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use types::Timings;

const TTL: Duration = Duration::from_secs(5);

/// Answers the sender's id plus one, refuses 13, never answers 99. Sessions echo; a hello from 7 ends at once
/// after last words.
struct Echo {
    ended: mpsc::Sender<()>,
}

fn envelope(id: u64) -> Option<pb::Envelope> {
    Some(pb::Envelope {
        sender_raft_id: id,
        ..pb::Envelope::default()
    })
}

fn message(id: u64) -> pb::SessionMessage {
    pb::SessionMessage {
        envelope: envelope(id),
        message: None,
    }
}

fn call(id: u64) -> pb::CallRequest {
    pb::CallRequest {
        envelope: envelope(id),
        call: None,
    }
}

fn id_of(message: &pb::SessionMessage) -> u64 {
    message.envelope.as_ref().map_or(0, |envelope| envelope.sender_raft_id)
}

#[async_trait]
impl Handler for Echo {
    async fn call(&self, from: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        assert!(from.ip().is_loopback());
        match request.envelope.map_or(0, |envelope| envelope.sender_raft_id) {
            13 => Err("unlucky".into()),
            99 => std::future::pending().await,
            id => {
                let vote = pb::Vote {
                    term: id + 1,
                    ..pb::Vote::default()
                };
                let reply = pb::SnapshotReply { vote: Some(vote) };
                Ok(pb::CallReply {
                    reply: Some(pb::call_reply::Reply::Snapshot(reply)),
                })
            }
        }
    }

    async fn session(&self, from: SocketAddr, hello: pb::SessionMessage, mut session: Session) {
        assert!(from.ip().is_loopback());
        if id_of(&hello) == 7 {
            for id in 1..=3 {
                session.send.send(message(id)).await.unwrap();
            }
            return;
        }
        session.send.send(hello).await.unwrap();
        while let Some(message) = session.recv.recv().await {
            if session.send.send(message).await.is_err() {
                break;
            }
        }
        self.ended.send(()).await.unwrap();
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(TTL, future).await.expect("in time")
}

fn answer(reply: pb::CallReply) -> u64 {
    match reply.reply {
        Some(pb::call_reply::Reply::Snapshot(reply)) => reply.vote.unwrap().term,
        other => panic!("{other:?}"),
    }
}

async fn conforms(transport: Arc<dyn Transport>) {
    let (ended, mut endings) = mpsc::channel(8);
    let handler = Arc::new(Echo { ended });
    let serving = transport.serve(("127.0.0.1".into(), 0), handler.clone()).await.unwrap();
    let port = serving.port;
    let at = Endpoint {
        host: "127.0.0.1".into(),
        port,
    };

    for id in 0..100 {
        if ![13, 99].contains(&id) {
            assert_eq!(answer(transport.call(&at, call(id), TTL).await.unwrap()), id + 1);
        }
    }
    let many = (1000..1050).map(|id| transport.call(&at, call(id), TTL));
    let many: Vec<u64> = futures::future::join_all(many)
        .await
        .into_iter()
        .map(|reply| answer(reply.unwrap()))
        .collect();
    assert_eq!(many, (1001..1051).collect::<Vec<_>>());
    assert_eq!(
        transport.call(&at, call(13), TTL).await,
        Err(CallError::Rejected("unlucky".into()))
    );
    assert_eq!(
        transport.call(&at, call(99), Duration::from_millis(20)).await,
        Err(CallError::Timeout)
    );
    assert_eq!(
        answer(transport.call(&at, call(5), TTL).await.unwrap()),
        6,
        "after a timeout"
    );
    let taken = transport.serve(("127.0.0.1".into(), port), handler.clone()).await;
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);

    // A session echoes; its end is seen by the server at once.
    let mut session = transport.open_session(&at, message(1)).await.unwrap();
    for id in 2..300 {
        session.send.send(message(id)).await.unwrap();
        assert_eq!(id_of(&within(session.recv.recv()).await.unwrap()), id - 1);
    }
    drop(session);
    within(endings.recv()).await.unwrap();
    // Dropping one half is enough.
    let session = transport.open_session(&at, message(1)).await.unwrap();
    let Session { send, recv } = session;
    drop(recv);
    within(endings.recv()).await.unwrap();
    within(send.closed()).await;
    // Last words arrive before the end.
    let mut session = transport.open_session(&at, message(7)).await.unwrap();
    for id in 1..=3 {
        assert_eq!(id_of(&within(session.recv.recv()).await.unwrap()), id);
    }
    assert!(within(session.recv.recv()).await.is_none());

    // The server's end breaks sessions and calls under way, and frees the port.
    let mut session = transport.open_session(&at, message(1)).await.unwrap();
    assert_eq!(id_of(&within(session.recv.recv()).await.unwrap()), 1);
    let hanging = transport.call(&at, call(99), TTL * 10);
    let (hung, ()) = within(async {
        tokio::join!(hanging, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            serving.close().await;
        })
    })
    .await;
    assert!(matches!(hung, Err(CallError::Unreachable(_))), "{hung:?}");
    assert!(within(session.recv.recv()).await.is_none());
    assert_eq!(transport.call(&at, call(5), TTL).await, Err(CallError::Refused));
    assert_eq!(
        transport.open_session(&at, message(1)).await.unwrap_err(),
        CallError::Refused
    );

    // And another may take its place.
    let again = transport.serve(("127.0.0.1".into(), port), handler).await.unwrap();
    assert_eq!(answer(transport.call(&at, call(5), TTL).await.unwrap()), 6);
    drop(again);
}

#[tokio::test]
async fn tonic_conforms() {
    conforms(Arc::new(TonicTransport::new(Timings::LAN, None))).await;
}

fn secret(letter: &str) -> Option<Arc<ClusterSecret>> {
    Some(Arc::new(ClusterSecret::parse(&letter.repeat(32)).unwrap()))
}

#[tokio::test]
async fn tonic_conforms_behind_a_gate() {
    conforms(Arc::new(TonicTransport::new(Timings::LAN, secret("a")))).await;
}

/// ◆ Whoever can vote can rule: only who knows the secret is heard, and only by who knows it.
#[tokio::test]
async fn a_stranger_is_not_heard() {
    for (server, client) in [(secret("a"), secret("b")), (secret("a"), None), (None, secret("a"))] {
        let (ended, _endings) = mpsc::channel(8);
        let handler = Arc::new(Echo { ended });
        let serving = TonicTransport::new(Timings::LAN, server);
        let serving = serving.serve(("127.0.0.1".into(), 0), handler).await.unwrap();
        let at = Endpoint {
            host: "127.0.0.1".into(),
            port: serving.port,
        };
        let client = TonicTransport::new(Timings::LAN, client);
        let refused = within(client.call(&at, call(1), Duration::from_secs(2)))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, CallError::Unreachable(_) | CallError::Timeout),
            "{refused:?}"
        );
        assert!(client.open_session(&at, message(1)).await.is_err());
    }
}

#[tokio::test]
async fn framed_conforms() {
    conforms(Arc::new(FramedTransport::new(Arc::new(RealHost::new())))).await;
}

#[tokio::test]
async fn framed_refuses_what_is_no_frame() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let transport = FramedTransport::new(Arc::new(RealHost::new()));
    let (ended, _endings) = mpsc::channel(8);
    let serving = transport
        .serve(("127.0.0.1".into(), 0), Arc::new(Echo { ended }))
        .await
        .unwrap();
    for nonsense in [
        &[0xff; 64][..],
        &[0, 0, 0, 0][..],
        &[0, 0, 0, 1, 77][..],
        &[0, 0, 0, 3, 1, 0xff, 0xff][..],
    ] {
        let mut raw = tokio::net::TcpStream::connect(("127.0.0.1", serving.port))
            .await
            .unwrap();
        raw.write_all(nonsense).await.unwrap();
        // A reset is an end too: the server left bytes unread.
        let read = within(raw.read(&mut [0; 8])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{nonsense:?}: {read:?}");
    }
}
