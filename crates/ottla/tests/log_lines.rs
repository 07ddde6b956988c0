//! The lines of a real node's log, in text and in JSON.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Starts a node, lets a client send what no client sends and a topic be made, stops it in order, and answers its log.
fn log(more: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |index: usize| free[index].local_addr().unwrap().port();
    let kafka = port(0);
    let settings = [
        "node.id=7".to_owned(),
        "num.shards=1".to_owned(),
        format!("listeners=PLAINTEXT://127.0.0.1:{kafka}"),
        format!("control.listener=127.0.0.1:{}", port(1)),
        format!("replica.listener=127.0.0.1:{}", port(2)),
        "admin.listener=127.0.0.1:0".to_owned(),
        // Means nothing here: a warning.
        "num.io.threads=8".to_owned(),
        format!("log.dirs={}", root.path().join("data").display()),
    ];
    drop(free);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["start", "--announce-ready"]);
    for setting in &settings {
        command.args(["--set", setting]);
    }
    command.args(more);
    let mut node = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut output = BufReader::new(node.stdout.take().unwrap());
    output.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    let created = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["topic", "create", "lines", "-b", &format!("127.0.0.1:{kafka}")])
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    // The shard leads it before it serves a write.
    let mut producer = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", "lines", "-b", &format!("127.0.0.1:{kafka}")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    producer.stdin.take().unwrap().write_all(b"one\n").unwrap();
    assert!(producer.wait().unwrap().success());
    // ApiVersions 0 with correlation id 77, then a key that nobody serves, with 78.
    let mut stream = TcpStream::connect(("127.0.0.1", kafka)).unwrap();
    stream
        .write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff])
        .unwrap();
    stream
        .write_all(&[0, 0, 0, 10, 3, 0xe7, 0, 0, 0, 0, 0, 78, 0xff, 0xff])
        .unwrap();
    // Until it is closed.
    let _ = stream.read_to_end(&mut Vec::new());
    let pid = rustix::process::Pid::from_child(&node);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut log = String::new();
    node.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(node.wait().unwrap().success(), "{log}");
    log
}

#[test]
fn every_line_in_json_has_the_node_a_constant_message_and_typed_fields() {
    for more in [&["--log-format", "json"][..], &["--set", "log.format=json"]] {
        let log = log(more);
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        for line in &lines {
            let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}"));
            assert!(text("timestamp").ends_with('Z'), "{line}");
            assert!(["INFO", "WARN", "ERROR"].contains(&text("level")), "{line}");
            assert_eq!(line["node_id"], 7, "{line}");
            assert!(!text("target").is_empty() && !text("message").is_empty(), "{line}");
        }
        let find = |message: &str| {
            let found = lines.iter().find(|line| line["message"] == message);
            found.unwrap_or_else(|| panic!("no line says {message:?}: {log}"))
        };
        assert!(find("registered")["broker_epoch"].is_u64());
        let leading = find("leading");
        assert_eq!(
            (&leading["topic"], &leading["partition"]),
            (&Value::from("lines"), &Value::from(0))
        );
        assert!(
            leading["leader_epoch"].is_u64() && leading["high_watermark"].is_u64(),
            "{leading}"
        );
        let closed = find("connection closed");
        assert_eq!(
            (&closed["api_key"], &closed["correlation_id"]),
            (&Value::from(999), &Value::from(78))
        );
        assert!(
            find("a setting is not what it seems")["warning"]
                .as_str()
                .unwrap()
                .contains("num.io.threads")
        );
        assert_eq!(find("stopped")["level"], "INFO");
    }
}

#[test]
fn lines_in_text_are_for_people() {
    let log = log(&[]);
    let line = |text: &str| {
        let found = log.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no line says {text:?}: {log}"))
    };
    assert!(line(" INFO controller::registration: registered ").contains("node_id=7 broker_epoch="));
    assert!(line("leading ").contains("topic=\"lines\" partition=0 leader_epoch=0"));
    assert!(
        log.lines()
            .all(|line| !line.starts_with('{') && !line.contains('\u{1b}')),
        "{log}"
    );
}
