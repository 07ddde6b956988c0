//! A node as those see it who watch it: the metrics that it serves are those that `docs/metrics.md` lists, and they move.

use host::{HostRef, RealHost};
use metrics::Exposition;
use ottla::Node;
use ottla::client::{Cluster, Consumer, EARLIEST, Outgoing, Producer};
use ottla::settings::Settings;
use raft::{FramedTransport, SimStore};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn page(address: SocketAddr) -> Exposition {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    if let Some(path) = std::env::var_os("OTTLA_TEST_METRICS") {
        std::fs::write(path, &text).unwrap();
    }
    metrics::parse(&text).unwrap()
}

async fn start(root: &Path) -> (Node, String) {
    let free: Vec<_> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let port = |index: usize| free[index].local_addr().unwrap().port();
    let flags = [
        "node.id=1".to_owned(),
        "num.shards=2".to_owned(),
        format!("listeners=PLAINTEXT://127.0.0.1:{}", port(0)),
        format!("control.listener=127.0.0.1:{}", port(1)),
        format!("replica.listener=127.0.0.1:{}", port(2)),
        "admin.listener=127.0.0.1:0".to_owned(),
        format!("log.dirs={}", root.join("data").display()),
        format!("metadata.log.dir={}", root.join("raft").display()),
    ];
    let bootstrap = format!("127.0.0.1:{}", port(0));
    drop(free);
    let settings = Settings::read(None, std::iter::empty(), &flags).unwrap();
    let host: HostRef = Arc::new(RealHost::new());
    let transport = Arc::new(FramedTransport::new(host.clone()));
    let mut node = Node::start(host, settings, None, SimStore::new(1).reopen(), transport)
        .await
        .unwrap();
    let started = get(node.admin_address(), "/startupz").await;
    assert_eq!(started, (200, "started\n".to_owned()), "before it has a cluster");
    node.ready().await.unwrap();
    (node, bootstrap)
}

/// Names and kinds in the tables of `docs/metrics.md`: rows that begin with a name in backticks.
fn documented() -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[tokio::test]
async fn what_a_node_serves_is_what_the_docs_list_and_it_counts_what_happens() {
    let root = tempfile::tempdir().unwrap();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (node, bootstrap) = start(root.path()).await;
            let admin = node.admin_address();
            assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
            assert_eq!(get(admin, "/livez").await, (200, "alive\n".to_owned()));
            let before = page(admin).await;
            let families: BTreeSet<_> = before
                .families
                .iter()
                .map(|(name, kind, _)| (name.clone(), kind.clone()))
                .collect();
            let documented = documented();
            let undocumented: Vec<_> = families.difference(&documented).collect();
            let unserved: Vec<_> = documented.difference(&families).collect();
            assert!(undocumented.is_empty(), "not in docs/metrics.md: {undocumented:#?}");
            assert!(unserved.is_empty(), "in docs/metrics.md, and not served: {unserved:#?}");

            let mut cluster = Cluster::new(&bootstrap);
            let mut producer = Producer::new(&mut cluster, "watched").await.unwrap();
            let records: Vec<Outgoing> = (0..100)
                .map(|_| Outgoing {
                    partition: Some(0),
                    timestamp: 0,
                    key: None,
                    value: Some(vec![7; 1_000].into()),
                    headers: Vec::new(),
                })
                .collect();
            producer.send(&mut cluster, &records).await.unwrap();
            let mut consumer = Consumer::new(&mut cluster, "watched", None, EARLIEST).await.unwrap();
            let mut read = 0;
            while read < 100 {
                read += consumer.poll(&mut cluster, Duration::from_secs(1)).await.unwrap().len();
            }
            let after = page(admin).await;
            let value = |name: &str, labels: &[(&str, &str)]| after.value(name, labels).unwrap_or(-1.0);
            let directory = root.path().join("data").display().to_string();
            let directory: &[(&str, &str)] = &[("directory", &directory)];
            for (name, labels, least, most) in [
                ("ottla_ready", &[][..], 1.0, 1.0),
                ("ottla_produced_records_total", &[], 100.0, 100.0),
                ("ottla_produced_bytes_total", &[], 100_000.0, 110_000.0),
                ("ottla_fetched_bytes_total", &[], 100_000.0, 110_000.0),
                ("ottla_received_bytes_total", &[], 100_000.0, 200_000.0),
                ("ottla_sent_bytes_total", &[], 100_000.0, 200_000.0),
                ("ottla_requests_total", &[("api", "Produce")], 1.0, 100.0),
                ("ottla_requests_total", &[("api", "DeleteTopics")], 0.0, 0.0),
                (
                    "ottla_request_duration_seconds_count",
                    &[("api", "Produce"), ("phase", "total")],
                    1.0,
                    100.0,
                ),
                (
                    "ottla_request_duration_seconds_count",
                    &[("api", "Fetch"), ("phase", "send")],
                    1.0,
                    1_000.0,
                ),
                ("ottla_connections", &[], 1.0, 10.0),
                ("ottla_connections_accepted_total", &[], 1.0, 10.0),
                ("ottla_memory_budget_limit_bytes", &[("class", "produce")], 1e6, 1e9),
                ("ottla_partitions", &[], 1.0, 1.0),
                ("ottla_leader_partitions", &[], 1.0, 1.0),
                ("ottla_offline_partitions", &[], 0.0, 0.0),
                ("ottla_under_replicated_partitions", &[], 0.0, 0.0),
                ("ottla_brokers", &[("state", "alive")], 1.0, 1.0),
                ("ottla_raft_is_leader", &[], 1.0, 1.0),
                ("ottla_raft_has_leader", &[], 1.0, 1.0),
                ("ottla_raft_term", &[], 1.0, 100.0),
                ("ottla_raft_applied_index", &[], 2.0, 1_000.0),
                ("ottla_log_directory_online", directory, 1.0, 1.0),
                ("ottla_log_directory_free_bytes", directory, 1.0, 1e18),
                ("ottla_log_directory_reserve_bytes", directory, 1.0, 1e18),
                ("ottla_journal_bytes", directory, 1.0, 1e9),
                ("ottla_journal_capacity_bytes", directory, 1.0, 1e9),
                ("ottla_journal_segments", directory, 0.0, 1_000.0),
                ("ottla_journal_direct_rounds_total", directory, 0.0, 0.0),
                ("ottla_journal_waits_total", directory, 0.0, 0.0),
                ("ottla_log_flush_duration_seconds_count", directory, 1.0, 1_000.0),
                ("process_open_fds", &[], 10.0, 10_000.0),
                ("process_resident_memory_bytes", &[], 1e6, 1e11),
            ] {
                let found = value(name, labels);
                assert!(
                    (least..=most).contains(&found),
                    "{name}{labels:?} is {found}, not {least} to {most}"
                );
            }
            for counter in ["ottla_received_bytes_total", "process_cpu_seconds_total"] {
                assert!(after.sum(counter) >= before.sum(counter), "{counter} went down");
            }
            node.stop().await;
            assert!(
                TcpStream::connect(admin).await.is_err(),
                "the listener ends with the node"
            );
        })
        .await;
}
