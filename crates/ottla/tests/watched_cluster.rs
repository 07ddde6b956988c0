//! Three real nodes, as those see them who watch: health while one dies and comes back, `ottla why`, `ottla cluster
//! roll-check`.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");
const PATIENCE: Duration = Duration::from_secs(60);

/// Three Kafka ports whose companions (HTTP, control, replica streams) are free too.
fn ports() -> Vec<u16> {
    let free = |port: u16| {
        let taken = [0, 1_000, 10_000, 20_000].map(|above| TcpListener::bind(("127.0.0.1", port + above)));
        taken.iter().all(Result::is_ok)
    };
    // Elsewhere than tests that run beside this one, as far as can be.
    let first = 14_000 + u16::try_from(std::process::id() % 300).unwrap() * 3;
    (first..).filter(|port| free(*port)).take(3).collect()
}

/// Status and body; 0 where nobody answers.
fn get(port: u16, path: &str) -> (u16, String) {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port + 1_000))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match answer() {
        Ok(answer) if answer.len() > 12 => {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head[9..12].parse().unwrap(), body.to_owned())
        }
        _ => (0, String::new()),
    }
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Cluster {
    demo: Child,
    root: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Cluster {
    fn start() -> Self {
        let (root, ports) = (tempfile::tempdir().unwrap(), ports());
        let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let mut demo = Command::new(OTTLA)
            .args(["demo", "--format", "json", "--ports", &list.join(","), "--data-dir"])
            .arg(root.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(demo.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let ready: Value = serde_json::from_str(&ready).unwrap();
        for (node, port) in ready["nodes"].as_array().unwrap().iter().zip(&ports) {
            assert_eq!(node["http_port"], *port + 1_000);
        }
        Self { demo, root, ports }
    }

    fn home(&self, node: usize) -> std::path::PathBuf {
        self.root.path().join(format!("node-{node}"))
    }

    fn ask(&self, words: &[&str]) -> Output {
        // Of the two that live on.
        let bootstrap = format!("localhost:{},localhost:{}", self.ports[0], self.ports[1]);
        Command::new(OTTLA)
            .args(words)
            .args(["-b", &bootstrap])
            .output()
            .unwrap()
    }

    /// The answer in JSON, and whether the command said yes.
    fn json(&self, words: &[&str]) -> (Value, bool) {
        let output = self.ask(&[words, &["--format", "json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"));
        (value, output.status.success())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.demo);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.demo.wait();
    }
}

fn kill(home: &Path) {
    let pid = std::fs::read_to_string(home.join("ottla.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_node_that_dies_is_told_of_and_makes_no_other_unready() {
    let cluster = Cluster::start();
    let created = cluster.ask(&["topic", "create", "orders", "--partitions", "3"]);
    assert!(created.status.success(), "{created:?}");
    until("all in sync", || cluster.json(&["why", "orders/0"]).0["well"] == true);
    let (answer, yes) = cluster.json(&["cluster", "roll-check", "1"]);
    assert_eq!(
        (yes, &answer["safe"], answer["blockers"].as_array().map(Vec::len)),
        (true, &Value::Bool(true), Some(0))
    );

    kill(&cluster.home(2));
    // ◆ While it is fenced, leaves the ISRs, and comes back, the others are ready at every moment.
    let others_are_ready = || {
        for port in &cluster.ports[..2] {
            assert_eq!(get(*port, "/readyz"), (200, "ready\n".to_owned()));
        }
    };
    until("out of the ISR", || {
        others_are_ready();
        let (answer, _) = cluster.json(&["why", "orders/0"]);
        answer["summary"].as_str().unwrap().contains("under-replicated") && answer["well"] == false
    });
    until("silent", || {
        others_are_ready();
        cluster.json(&["why", "node", "2"]).0["summary"]
            .to_string()
            .contains("silent")
    });
    let (answer, yes) = cluster.json(&["why", "node", "2"]);
    assert!(
        yes && answer["summary"]
            .as_str()
            .unwrap()
            .starts_with("node 2 is fenced and has been silent for "),
        "{answer}"
    );
    let findings = answer["findings"].to_string();
    assert!(
        findings.contains("it does not answer") && findings.contains("orders/0"),
        "{answer}"
    );
    let (answer, yes) = cluster.json(&["cluster", "roll-check", "1"]);
    assert_eq!((yes, &answer["safe"]), (false, &Value::Bool(false)), "{answer}");
    let kinds: Vec<_> = answer["blockers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|blocker| &blocker["kind"])
        .collect();
    assert_eq!(
        kinds,
        ["quorum", "under-min-isr", "under-min-isr", "under-min-isr"],
        "{answer}"
    );
    let page = metrics::parse(&get(cluster.ports[0], "/metrics").1).unwrap();
    assert_eq!(page.value("ottla_brokers", &[("state", "fenced")]), Some(1.0));
    let other = metrics::parse(&get(cluster.ports[1], "/metrics").1).unwrap();
    let both = |name: &str| page.sum(name) + other.sum(name);
    assert_eq!(both("ottla_leader_partitions"), 3.0);
    assert_eq!(both("ottla_under_replicated_partitions"), 3.0);
    assert_eq!(
        (both("ottla_isr_shrinks_total"), both("ottla_leader_elections_total")),
        (3.0, 1.0)
    );

    let mut back = Command::new(OTTLA)
        .args(["start", "--die-with-parent", "--config"])
        .arg(cluster.home(2).join("server.properties"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("ready", || {
        others_are_ready();
        get(cluster.ports[2], "/readyz").0 == 200
    });
    // Ready means back in the ISR, so nothing is to be waited for any more.
    let (answer, yes) = cluster.json(&["cluster", "roll-check", "1"]);
    assert!(yes, "{answer}");
    back.kill().unwrap();
    back.wait().unwrap();
}

#[test]
fn what_is_not_there_is_an_error() {
    let output = Command::new(OTTLA).args(["why", "orders"]).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("wants TOPIC/PARTITION like orders/3"), "{error}");
}
