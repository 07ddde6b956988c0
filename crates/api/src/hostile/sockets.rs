//! Clients that mean harm, or know no better, on real sockets: each is answered or cut off, with one line that says who
//! and why, others are served, and memory stays where it was.

use crate::test_image::cluster;
use crate::test_node::TestNode;
use crate::{Api, ApiSettings, MemoryBudget};
use bytes::Bytes;
use host::{Host, RealHost};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;
use wire::client::{decode_response, encode_request};
use wire::messages::{ApiVersionsRequest, MetadataRequest, RequestKind, ResponseKind};
use wire::{ApiKey, FrameReader};

/// Memory that a connection may cost which says nothing that makes sense: a read buffer, a task, and what tokio and the
/// test's own end of it take.
const CONNECTION_BYTES: u64 = 128 * 1024;

/// What was logged at WARN and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Serves connections as long as `clients` runs, in this thread; what was logged.
fn serving<F: Future<Output = ()>>(settings: ApiSettings, clients: impl FnOnce(SocketAddr) -> F) -> Vec<String> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let api = Api::new(settings.clone());
        let node = Rc::new(TestNode::with(cluster(), settings, MemoryBudget::default()));
        let mut listener = RealHost::new().net().listen("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::task::spawn_local(async move {
            loop {
                let incoming = listener.accept().await.unwrap();
                let (api, node) = (Arc::clone(&api), Rc::clone(&node));
                tokio::task::spawn_local(async move { api.serve(Rc::clone(&node.services), incoming).await });
            }
        });
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, clients(address))
            .await
            .expect("the test hangs");
        accepting.abort();
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Whether the server ends the connection, with whatever it still answers before.
async fn is_closed(client: &mut TcpStream) {
    let mut answers = vec![0; 64 * 1024];
    // A reset is an end too: what we sent was not all read.
    while !matches!(client.read(&mut answers).await, Ok(0) | Err(_)) {}
}

/// That an honest client is served, and at once.
async fn others_are_served(address: SocketAddr) {
    let mut client = connect(address).await;
    assert_eq!(asked(&mut client, 7).await, 7);
}

fn api_versions(correlation: i32) -> Bytes {
    let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
    encode_request(ApiKey::ApiVersions, 2, correlation, "honest", &request).unwrap()
}

async fn asked(client: &mut TcpStream, correlation: i32) -> i32 {
    client.write_all(&api_versions(correlation)).await.unwrap();
    let frame = FrameReader::new(1 << 20).next(client).await.unwrap().unwrap();
    let (correlation, response) = decode_response(ApiKey::ApiVersions, 2, frame).unwrap();
    assert!(matches!(response, ResponseKind::ApiVersions(r) if r.error_code == 0));
    correlation
}

/// A frame of this content.
fn frame(content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    [&u32::try_from(content.len()).unwrap().to_be_bytes()[..], &content].concat()
}

/// Header of key and version, correlation id 9, client id "bad".
fn header(key: ApiKey, version: i16) -> Vec<u8> {
    let numbers = [key as i16, version].map(i16::to_be_bytes).concat();
    [&numbers[..], &[0, 0, 0, 9, 0, 3], b"bad"].concat()
}

#[test]
fn who_is_cut_off_is_told_once_with_the_reason() {
    let metadata = |version| header(ApiKey::Metadata, version);
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "2 GiB",
            vec![0x7f, 0xff, 0xff, 0xff, 0, 3],
            "frame length 2147483647 is outside",
        ),
        ("a negative length", vec![0xff; 8], "frame length -1 is outside"),
        ("a long Metadata", vec![2, 0, 0, 0, 0, 3], "only a Produce may be above"),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            "frame length 1195725856 is outside",
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            "frame length 369295618 is outside",
        ),
        ("no header", frame(&[&[0, 3, 0]]), "malformed header: cut short"),
        (
            "a negative client id",
            frame(&[&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xf0]]),
            "negative client id",
        ),
        (
            "an unknown key",
            frame(&[&[0x7f, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff]]),
            "unknown API key 32512",
        ),
        (
            "an unknown version",
            frame(&[&metadata(99), &[0]]),
            "API key 3 is not served in version 99",
        ),
        (
            "a negative version",
            frame(&[&metadata(-1)]),
            "API key 3 is not served in version -1",
        ),
        // Metadata 12 has tagged fields behind the client id; what follows here is the body of version 1.
        ("an old header", frame(&[&metadata(12), &[0xff; 4]]), "malformed"),
        // And the other way round: version 1, and a flexible body.
        ("a new header", frame(&[&metadata(1), &[0, 0, 1, 0, 0, 0]]), "malformed"),
        (
            "2^32 - 2 topics",
            frame(&[&metadata(12), &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]]),
            "malformed topics",
        ),
        (
            "2^31 - 1 topics",
            frame(&[&metadata(1), &[0x7f, 0xff, 0xff, 0xff]]),
            "malformed topics",
        ),
        (
            "text that is none",
            frame(&[&metadata(1), &[0, 0, 0, 1, 0, 2, 0xff, 0xfe]]),
            "cannot decode",
        ),
        (
            "acks 0 and no batch",
            frame(&[
                &header(ApiKey::Produce, 3),
                &[0xff, 0xff, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 6],
                b"orders",
                &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            ]),
            "a produce that cannot be answered failed",
        ),
    ];
    for (what, bytes, reason) in rows {
        let port = Rc::new(std::cell::Cell::new(0));
        let known = Rc::clone(&port);
        let lines = serving(ApiSettings::default(), |address| async move {
            let mut bad = connect(address).await;
            known.set(bad.local_addr().unwrap().port());
            bad.write_all(&bytes).await.unwrap();
            is_closed(&mut bad).await;
            others_are_served(address).await;
        });
        let who = format!("peer=127.0.0.1:{}", port.get());
        assert_eq!(lines.len(), 1, "{what}: {lines:#?}");
        assert!(
            lines[0].contains(reason) && lines[0].contains(&who),
            "{what}: {}",
            lines[0]
        );
    }
}

#[test]
fn a_frame_that_is_cut_off_is_told() {
    let lines = serving(ApiSettings::default(), |address| async move {
        let mut bad = connect(address).await;
        bad.write_all(&[0, 0, 0, 50, 0, 3, 0, 1]).await.unwrap();
        bad.shutdown().await.unwrap();
        is_closed(&mut bad).await;
    });
    assert!(
        lines.len() == 1 && lines[0].contains("closed inside a frame"),
        "{lines:?}"
    );
}

#[test]
fn who_comes_and_goes_in_peace_is_not_told() {
    let lines = serving(ApiSettings::default(), |address| async move {
        for _ in 0..3 {
            others_are_served(address).await;
        }
        drop(connect(address).await);
        others_are_served(address).await;
    });
    assert_eq!(lines, [""; 0]);
}

#[test]
fn an_address_that_goes_on_is_told_once() {
    let lines = serving(ApiSettings::default(), |address| async move {
        for _ in 0..50 {
            let mut bad = connect(address).await;
            bad.write_all(&[0xff; 8]).await.unwrap();
            is_closed(&mut bad).await;
        }
        others_are_served(address).await;
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

/// Noise, and requests of which a bit is wrong, on many connections one after the other.
#[test]
fn noise_harms_nobody() {
    let used = allocation_counter::measure(|| {
        serving(ApiSettings::default(), |address| async move {
            let mut rng = StdRng::seed_from_u64(3);
            for round in 0..400 {
                let mut bytes = api_versions(1).to_vec();
                if round % 2 == 0 {
                    bytes = vec![0; rng.random_range(1..2_000)];
                    rng.fill_bytes(&mut bytes);
                    // Half of it with a length that leads on to the rest.
                    if round % 4 == 0 {
                        bytes.splice(0..1, frame(&[&vec![0; 600]])[..4].iter().copied());
                    }
                } else {
                    let bit = rng.random_range(0..bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                let mut bad = connect(address).await;
                // It may be cut off before it has said all.
                let _ = bad.write_all(&bytes).await;
                let _ = bad.shutdown().await;
                is_closed(&mut bad).await;
            }
            others_are_served(address).await;
        });
    });
    let most = 16 * CONNECTION_BYTES;
    assert!(used.bytes_max < most, "{} bytes", used.bytes_max);
}

/// What a length announces is no reason to hold memory, however many announce it.
#[test]
fn announcing_costs_nothing() {
    const CONNECTIONS: u64 = 200;
    let used = allocation_counter::measure(|| {
        serving(ApiSettings::default(), |address| async move {
            let mut waiting = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut bad = connect(address).await;
                // A Produce of 100 MiB, and not a byte of its body.
                bad.write_all(&[6, 0x3f, 0xff, 0xff, 0, 0]).await.unwrap();
                waiting.push(bad);
            }
            tokio::task::yield_now().await;
            others_are_served(address).await;
        });
    });
    assert!(
        used.bytes_max < CONNECTIONS * CONNECTION_BYTES,
        "{} bytes",
        used.bytes_max
    );
}

/// A client that sends requests without end and reads no answer is no longer read; when it reads, nothing is missing.
#[test]
fn deep_pipelining_is_held_back() {
    let mut sent = 0;
    let counted = &mut sent;
    let used = allocation_counter::measure(|| {
        serving(ApiSettings::default(), |address| async move {
            let request = RequestKind::Metadata(MetadataRequest::default().with_topics(None));
            let mut client = connect(address).await;
            // Until the server takes no more, and the kernel neither.
            loop {
                let bytes = encode_request(ApiKey::Metadata, 9, *counted, "deep", &request).unwrap();
                let writing = client.write_all(&bytes);
                if tokio::time::timeout(Duration::from_millis(500), writing).await.is_err() {
                    break;
                }
                *counted += 1;
                assert!(*counted < 1_000_000, "it takes everything");
            }
            others_are_served(address).await;
            let mut reader = FrameReader::new(1 << 20);
            for correlation in 0..*counted {
                let answer = reader.next(&mut client).await.unwrap().unwrap();
                assert_eq!(answer[..4], correlation.to_be_bytes());
            }
        });
    });
    assert!(sent > 100);
    assert!(
        used.bytes_max < 4 << 20,
        "{} bytes after {sent} requests",
        used.bytes_max
    );
}

#[test]
fn connections_over_the_limit_of_their_address_are_closed() {
    let settings = ApiSettings {
        max_connections_per_ip: 20,
        ..ApiSettings::default()
    };
    let lines = serving(settings, |address| async move {
        let mut open = Vec::new();
        for correlation in 0..20 {
            let mut client = connect(address).await;
            assert_eq!(asked(&mut client, correlation).await, correlation);
            open.push(client);
        }
        for _ in 0..10 {
            is_closed(&mut connect(address).await).await;
        }
        for (correlation, client) in (0..).zip(&mut open) {
            assert_eq!(
                asked(client, correlation).await,
                correlation,
                "those before are still served"
            );
        }
        open.clear();
        // As soon as the server has noticed.
        loop {
            let mut client = connect(address).await;
            client.write_all(&api_versions(1)).await.unwrap();
            if let Ok(Some(_)) = FrameReader::new(1 << 20).next(&mut client).await {
                break;
            }
        }
    });
    assert!(
        lines.len() == 1 && lines[0].contains("max.connections.per.ip is reached"),
        "{lines:#?}"
    );
}

#[test]
fn who_says_nothing_is_closed_after_the_idle_time() {
    let settings = ApiSettings {
        connections_max_idle: Duration::from_millis(100),
        ..ApiSettings::default()
    };
    let lines = serving(settings, |address| async move {
        let mut silent = connect(address).await;
        let mut half = connect(address).await;
        half.write_all(&api_versions(1)[..9]).await.unwrap();
        is_closed(&mut silent).await;
        is_closed(&mut half).await;
        others_are_served(address).await;
    });
    assert_eq!(lines, [""; 0], "that happens every day");
}

#[test]
fn a_frame_may_be_as_long_as_the_setting_says() {
    let settings = ApiSettings {
        socket_request_max_bytes: 1_000,
        ..ApiSettings::default()
    };
    let lines = serving(settings, |address| async move {
        let mut client = connect(address).await;
        client.write_all(&[0, 0, 3, 0xe9, 0, 0]).await.unwrap();
        is_closed(&mut client).await;
        others_are_served(address).await;
    });
    assert!(lines.len() == 1 && lines[0].contains("0..=1000"), "{lines:?}");
}
