//! What comes to the port is a stranger's.

use super::*;
use host::RealHost;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// A server of a node of which nothing has started, in this runtime, whose clock the test drives.
async fn serving(test: impl AsyncFnOnce(SocketAddr)) {
    let host: HostRef = Arc::new(RealHost::new());
    let listener = host.net().listen("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = Rc::new(View::new(host, NodeState::new()));
    LocalSet::new()
        .run_until(async move {
            tokio::task::spawn_local(async move { accept_all(listener, &view).await });
            test(address).await;
        })
        .await;
}

/// Sends all of it, and answers all that comes back until the other end closes.
async fn send(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other end may have closed it before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn paths_are_answered_and_nothing_else() {
    serving(async |address| {
        for (path, status, text) in [
            ("/", "200 OK", "/metrics"),
            ("/livez", "200 OK", "alive"),
            ("/livez?verbose", "200 OK", "alive"),
            (
                "/startupz",
                "503 Service Unavailable",
                "not started: the node is starting\n",
            ),
            (
                "/readyz",
                "503 Service Unavailable",
                "not ready: the node is starting\n",
            ),
            ("/metrics", "200 OK", "process_open_fds"),
            (
                "/metrics",
                "200 OK",
                "content-type: text/plain; version=0.0.4; charset=utf-8",
            ),
            ("/metrics/", "404 Not Found", "nothing here"),
            ("/../etc/passwd", "404 Not Found", "nothing here"),
        ] {
            let answer = send(address, &get(path)).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{path}: {answer}"
            );
            assert!(answer.contains(text), "{path}: {answer}");
        }
        let posted = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123456789";
        let answer = send(address, posted).await;
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"),
            "{answer}"
        );
        let headed = b"HEAD /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = send(address, headed).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    })
    .await;
}

#[tokio::test]
async fn garbage_and_heads_without_end_are_refused_and_the_rest_is_served() {
    serving(async |address| {
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "a: b\r\n".repeat(limits::ADMIN_HEADERS_MAX + 1)
        );
        let long = format!(
            "GET / HTTP/1.1\r\na: {}\r\n\r\n",
            "b".repeat(limits::ADMIN_HEAD_BYTES_MAX)
        );
        let path = format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(1024 * 1024));
        for (what, request) in [
            ("no HTTP", &b"\x00\x00\x00\x10\x00\x12\x00\x04garbage\r\n\r\n"[..]),
            ("too many headers", many.as_bytes()),
            ("too long a header", long.as_bytes()),
            ("too long a path", path.as_bytes()),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ] {
            let answer = send(address, request).await;
            let refused = ["", "HTTP/1.1 400 ", "HTTP/1.1 431 ", "HTTP/1.1 414 ", "HTTP/1.1 505 "];
            let refused = refused
                .iter()
                .any(|start| answer.starts_with(start) && answer.is_empty() == start.is_empty());
            assert!(refused, "{what}: {answer}");
        }
        assert!(send(address, &get("/livez")).await.contains("alive"));
    })
    .await;
}

/// Whoever holds every place and says nothing loses them; until then others are turned away at once.
#[tokio::test(start_paused = true)]
async fn silent_connections_have_a_limit_in_number_and_time() {
    serving(async |address| {
        let mut silent = Vec::new();
        for number in 0..limits::ADMIN_CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.unwrap();
            silent.push((number, stream));
        }
        assert_eq!(send(address, &get("/livez")).await, "", "no place is left");
        let before = tokio::time::Instant::now();
        for (number, stream) in &mut silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!String::from_utf8_lossy(&rest).contains("200 OK"), "{number}");
        }
        let waited = before.elapsed();
        assert!(
            waited <= limits::ADMIN_HEAD_TIMEOUT + Duration::from_secs(1),
            "{waited:?}"
        );
        assert!(
            send(address, &get("/livez")).await.contains("alive"),
            "the places are free again"
        );
    })
    .await;
}

/// Also one that asks again and again, and one that never takes its answer.
#[tokio::test(start_paused = true)]
async fn no_connection_lives_for_ever() {
    serving(async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let before = tokio::time::Instant::now();
        let mut answered = 0;
        loop {
            let sent = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut answer = [0; 1024];
            match stream.read(&mut answer).await {
                Ok(read) if read > 0 && sent.is_ok() => answered += 1,
                _ => break,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(answered < 1_000);
        }
        let lived = before.elapsed();
        assert!(answered > 10, "{answered}");
        assert!(
            lived <= limits::ADMIN_CONNECTION_LIFE + Duration::from_secs(2),
            "{lived:?}"
        );
    })
    .await;
}
