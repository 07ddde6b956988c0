//! What a node that is started wrong says, and that it leaves everything as it was: the real binary, one start per row.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use types::limits;

/// A node that has not ended by then has started, or hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// `nobody`.
const NOBODY: u32 = 65534;

/// Path → content of every file below.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            // An empty directory counts too.
            found.insert(path.clone(), Vec::new());
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn free_ports() -> [u16; 4] {
    let free = [0; 4].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    free.map(|port| port.local_addr().unwrap().port())
}

/// One node: its directories below `root`, and what it is started with.
#[derive(Clone)]
struct Node {
    root: PathBuf,
    ports: [u16; 4],
    settings: BTreeMap<&'static str, String>,
    /// Lines of a `server.properties`.
    file: Option<String>,
    user: Option<u32>,
    /// Runs before the node in the same process: its `exec "$@"` starts it.
    shell: Option<String>,
}

impl Node {
    fn new(root: &Path, id: i32) -> Self {
        let ports = free_ports();
        let settings = BTreeMap::from([
            ("node.id", id.to_string()),
            ("num.shards", "1".to_owned()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{}", ports[0])),
            ("control.listener", format!("127.0.0.1:{}", ports[1])),
            ("replica.listener", format!("127.0.0.1:{}", ports[2])),
            ("admin.listener", format!("127.0.0.1:{}", ports[3])),
            ("log.dirs", root.join("data").display().to_string()),
            ("metadata.log.dir", root.join("raft").display().to_string()),
        ]);
        Self {
            root: root.to_owned(),
            ports,
            settings,
            file: None,
            user: None,
            shell: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.insert(name, value.to_string());
        self
    }

    fn command(&self, binary: &Path) -> Command {
        let mut command = match &self.shell {
            None => Command::new(binary),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script, "sh"]).arg(binary);
                shell
            }
        };
        command.args(["start", "--announce-ready"]);
        if let Some(text) = &self.file {
            let path = self.root.join("server.properties");
            fs::write(&path, text).unwrap();
            command.arg("--config").arg(path);
        }
        for (name, value) in &self.settings {
            command.args(["--set", &format!("{name}={value}")]);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the node, waits until it is ready, and stops it in order.
    fn live(&self) {
        let mut child = self
            .command(Path::new(env!("CARGO_BIN_EXE_ottla")))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Starts the node, which must end by itself.
    fn output(&self, binary: &Path) -> Output {
        let mut child = self.command(binary).spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the node did not end: {:?}", child.wait_with_output().unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait_with_output().unwrap()
    }
}

/// Fails unless the node ends with an error that says all of `says`, and left `root` as it was but for `may_change`.
fn refuses(name: &str, node: &Node, binary: &Path, may_change: &[&str], says: &[&str]) {
    let kept = |root: &Path| -> Tree {
        let named = |path: &Path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            may_change.iter().any(|prefix| name.starts_with(prefix)) || name == "server.properties"
        };
        let mut tree = tree(root);
        tree.retain(|path, _| !path.ancestors().any(named));
        tree
    };
    let before = kept(&node.root);
    let output = node.output(binary);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{name}: {error}");
    assert!(output.stdout.is_empty(), "{name}: it was ready");
    let message = error.lines().last().unwrap_or_default();
    assert!(
        message.starts_with("ottla: ") && !error.contains("panicked"),
        "{name}: {error}"
    );
    for part in says {
        assert!(message.contains(part), "{name}: {part:?} is not in: {error}");
    }
    let after = kept(&node.root);
    let names: Vec<_> = before
        .iter()
        .chain(&after)
        .filter(|(path, content)| before.get(*path) != Some(content) || after.get(*path) != Some(content))
        .map(|(path, _)| path)
        .collect();
    assert!(names.is_empty(), "{name}: changed, made or removed: {names:?}");
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ottla"))
}

#[test]
fn a_wrong_setting_is_named_with_its_place_and_what_is_allowed() {
    let root = tempfile::tempdir().unwrap();
    let node = |lines: &str| {
        let mut node = Node::new(root.path(), 1);
        node.file = Some(lines.to_owned());
        node
    };
    let bare = |left_out: &str| {
        let mut node = node("");
        node.settings.remove(left_out);
        node
    };
    let ports = free_ports();
    for (name, node, says) in [
        (
            "a name",
            node("# first\nlog.retention.hour=1\n"),
            &[
                "server.properties, line 2",
                "\"log.retention.hour\"",
                "did you mean \"log.retention.hours\"",
            ][..],
        ),
        (
            "no pair",
            node("log.retention.hours\n"),
            &["line 1", "\"log.retention.hours\" is not name=value"],
        ),
        (
            "a type",
            node("\n\nnum.partitions=many\n"),
            &["server.properties, line 3: num.partitions=many: wants a number from 1 to 10000"],
        ),
        (
            "a range",
            node("num.partitions=0\n"),
            &["line 1: num.partitions=0: wants a number from 1"],
        ),
        (
            "a word",
            node("compression.type=zip\n"),
            &["compression.type=zip: wants one of producer, uncompressed, gzip"],
        ),
        ("a flag", node("found=yes\n"), &["found=yes: wants true or false"]),
        (
            "a protocol",
            node("").with("listeners", "SSL://127.0.0.1:1"),
            &["--set: listeners=SSL://127.0.0.1:1", "PLAINTEXT is"],
        ),
        (
            "no node.id",
            bare("node.id"),
            &["node.id is not set", "OTTLA_NODE_ID=0"],
        ),
        ("no log.dirs", bare("log.dirs"), &["log.dirs is not set"]),
        (
            "an empty directory",
            node("").with("log.dirs", "/a,,/b"),
            &["log.dirs=/a,,/b", "one of them is empty"],
        ),
        (
            "a directory twice",
            node("").with("log.dirs", "/a,/b,/a"),
            &["log.dirs=/a,/b,/a", "names /a twice"],
        ),
        (
            "a port twice",
            node("")
                .with("listeners", format!("127.0.0.1:{}", ports[0]))
                .with("control.listener", format!("127.0.0.1:{}", ports[0])),
            &[
                "control.listener",
                &ports[0].to_string(),
                "is the port of listeners too",
            ],
        ),
        (
            "open to strangers",
            node("").with("replica.listener", "0.0.0.0:1"),
            &[
                "replica.listener (0.0.0.0:1) can be reached from other machines",
                "127.0.0.1:PORT",
            ],
        ),
    ] {
        refuses(name, &node, binary(), &[], says);
    }
    let mut missing = Node::new(root.path(), 1);
    missing.shell = Some(format!("exec \"$@\" --config {}", root.path().join("none").display()));
    refuses(
        "no file",
        &missing,
        binary(),
        &[],
        &["--config", "none", "No such file"],
    );
}

#[test]
fn a_port_that_cannot_be_had_is_named_and_who_has_it() {
    let root = tempfile::tempdir().unwrap();
    for (index, property) in ["listeners", "control.listener", "replica.listener", "admin.listener"]
        .into_iter()
        .enumerate()
    {
        let node = Node::new(root.path(), 1);
        let taken = TcpListener::bind(("127.0.0.1", node.ports[index])).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let me = format!("process {} (", std::process::id());
        let says = [
            address.as_str(),
            &format!("({property})"),
            "is in use by",
            &me,
            "choose another port",
        ];
        refuses(property, &node, binary(), &[], &says);
    }
    let elsewhere = Node::new(root.path(), 1).with("listeners", "PLAINTEXT://192.0.2.1:9092");
    refuses(
        "an address of another machine",
        &elsewhere,
        binary(),
        &[],
        &[
            "192.0.2.1:9092 (listeners)",
            "no address of this machine",
            "advertised.listeners",
        ],
    );
}

#[test]
fn a_place_where_nothing_can_be_kept_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = root.path().join("file");
    fs::write(&file, "mine").unwrap();
    let at = |property, path: &Path| Node::new(root.path(), 1).with(property, path.display());
    let is_file = ["file is a file, not a directory", "Name a directory"];
    for property in ["log.dirs", "metadata.log.dir"] {
        refuses(property, &at(property, &file), binary(), &[], &is_file);
        refuses(property, &at(property, &file.join("below")), binary(), &[], &is_file);
    }

    // As root everything may be written: then somebody else starts the node.
    let mine = root.path().join("mine");
    fs::create_dir(&mine).unwrap();
    let mut stranger = at("log.dirs", &mine).with("metadata.log.dir", mine.join("raft").display());
    let elsewhere = root.path().join("ottla");
    if rustix::process::geteuid().is_root() {
        stranger.user = Some(NOBODY);
        fs::hard_link(binary(), &elsewhere)
            .or_else(|_| fs::copy(binary(), &elsewhere).map(|_| ()))
            .unwrap();
    } else {
        fs::set_permissions(&mine, fs::Permissions::from_mode(0o555)).unwrap();
        std::os::unix::fs::symlink(binary(), &elsewhere).unwrap();
    }
    refuses(
        "not mine",
        &stranger,
        &elsewhere,
        &["ottla"],
        &["may not write", "mine (", "chown -R"],
    );
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o755)).unwrap();

    let mut few = Node::new(root.path(), 1);
    let needed = limits::OPEN_FILES_MAX as u64 + limits::FILE_HANDLES_BESIDE + 1;
    few.shell = Some("ulimit -n 300 && exec \"$@\"".to_owned());
    refuses(
        "few handles",
        &few,
        binary(),
        &["ottla"],
        &["may open 300 files", &format!("needs {needed}"), "LimitNOFILE="],
    );

    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    // A file system of its own, in a namespace of its own.
    let mount = format!("mount -t tmpfs -o size=4m none '{}'", full.display());
    let may = |script: &str| {
        let status = Command::new("unshare").args(["-m", "sh", "-c", script]).status();
        status.is_ok_and(|status| status.success())
    };
    if may(&mount) {
        let mut node = at("log.dirs", &full);
        node.shell = Some(format!(
            "exec unshare -m sh -c \"{mount} && exec \\\"\\$@\\\"\" sh \"$@\""
        ));
        let says = ["full: the file system has", "bytes left", "needs 8388608", "Make room"];
        refuses("full", &node, binary(), &["ottla"], &says);
    } else {
        eprintln!("skipped: this user may not mount a file system that is full");
    }
}

#[test]
fn a_foreign_or_damaged_directory_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    // Two nodes of two clusters, one of the same number.
    let mut founded = Vec::new();
    for (name, id) in [("one", 1), ("two", 2), ("other", 1)] {
        fs::create_dir(path(name)).unwrap();
        let node = Node::new(&path(name), id).with("default.replication.factor", 1);
        node.live();
        // What a topic's partition looks like.
        let segment = path(name).join("data/orders-0/00000000000000000000.log");
        fs::create_dir_all(segment.parent().unwrap()).unwrap();
        fs::write(segment, name).unwrap();
        founded.push(node);
    }
    let cluster = |name: &str| {
        let text = fs::read_to_string(path(name).join("data/meta.properties")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
        line.to_owned()
    };
    let (one, other) = (cluster("one"), cluster("other"));
    let damage = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len().min(64) / 2;
        // One of the two journal files may be empty.
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
            fs::write(file, bytes).unwrap();
        }
    };
    // Each row has a copy of node one to itself.
    let mut rows = 0;
    let mut copied = || {
        rows += 1;
        let to = path(&format!("copy-{rows}"));
        copy(&path("one"), &to);
        to
    };
    type Arrange<'a> = Box<dyn Fn(&Path, Node) -> Node + 'a>;
    let swap = |at: &Path, dir: &str, from: &str| {
        fs::remove_dir_all(at.join(dir)).unwrap();
        copy(&path(from).join(dir), &at.join(dir));
    };
    let metadata = ["marks-", ".lock", ".ottla_cleanshutdown", "raft"];
    let rows: Vec<(&str, Arrange, &[&str], Vec<&str>)> = vec![
        (
            "another number",
            Box::new(|_, node| node.with("node.id", 3)),
            &[],
            vec!["identity.properties belongs to node.id=1", "configured with node.id=3"],
        ),
        (
            "a log directory of another node",
            Box::new(|at, node| {
                swap(at, "data", "two");
                node
            }),
            &[],
            vec!["data belongs to node.id=2", "node.id=1", "swapped"],
        ),
        (
            "a log directory of another cluster",
            Box::new(|at, node| {
                swap(at, "data", "other");
                node
            }),
            &[],
            vec!["data belongs to cluster", &other, &one, "raft to cluster"],
        ),
        (
            "a metadata directory of another cluster",
            Box::new(|at, node| {
                swap(at, "raft", "other");
                node
            }),
            &[],
            vec!["data belongs to cluster", &other, &one],
        ),
        (
            "a copy of a log directory beside it",
            Box::new(|at, node| {
                copy(&at.join("data"), &at.join("data-2"));
                node.with("log.dirs", format!("{0}/data,{0}/data-2", at.display()))
            }),
            &[],
            vec!["are the same log directory", "data-2"],
        ),
        (
            "meta.properties is damaged",
            Box::new(|at, node| {
                fs::write(at.join("data/meta.properties"), "version=1\nnonsense").unwrap();
                node
            }),
            &[],
            vec!["meta.properties: no '='", "restore the file"],
        ),
        (
            "meta.properties is gone",
            Box::new(|at, node| {
                fs::remove_file(at.join("data/meta.properties")).unwrap();
                node
            }),
            &[],
            vec!["meta.properties: missing", "orders-0"],
        ),
        (
            "both files of the marks journal are damaged",
            Box::new(|at, node| {
                for name in ["marks-0", "marks-1"] {
                    let file = at.join("data").join(name);
                    if file.exists() {
                        damage(&file);
                    }
                }
                node
            }),
            &[],
            vec!["the marks journal", "cannot be used"],
        ),
        (
            "the data directory of Apache Kafka",
            Box::new(|at, node| {
                for name in ["marks-0", "marks-1"] {
                    let _ = fs::remove_file(at.join("data").join(name));
                }
                node
            }),
            &[],
            vec!["the marks journal", "no valid round is left"],
        ),
        (
            "the identity is damaged",
            Box::new(|at, node| {
                fs::write(at.join("raft/identity.properties"), "version=1\n").unwrap();
                node
            }),
            &[],
            vec!["identity.properties cannot be read", "joins as a new member"],
        ),
        (
            "the metadata is lost",
            Box::new(|at, node| {
                fs::remove_dir_all(at.join("raft")).unwrap();
                node
            }),
            &[],
            vec![&one, "metadata.log.dir=", "would found another"],
        ),
        (
            "the metadata is lost, and the only founder would found again",
            Box::new(|at, node| {
                fs::remove_dir_all(at.join("raft")).unwrap();
                let me = format!("localhost:{}", node.ports[1]);
                node.with("join", me)
            }),
            &metadata,
            vec!["log.dirs", &one, "would found a new one"],
        ),
        (
            "the identity is gone, the vote is there",
            Box::new(|at, node| {
                fs::remove_file(at.join("raft/identity.properties")).unwrap();
                let me = format!("localhost:{}", node.ports[1]);
                node.with("join", me)
            }),
            &metadata,
            vec!["holds a Raft log", "identity.properties", "joins as a new member"],
        ),
        (
            "RocksDB is damaged",
            Box::new(|at, node| {
                fs::write(at.join("raft/CURRENT"), "MANIFEST-nonsense\n").unwrap();
                node
            }),
            // Its own log of what it does.
            &["LOG"],
            vec!["metadata.log.dir=", "cannot be opened", "move"],
        ),
    ];
    for (name, arrange, may_change, says) in rows {
        let at = copied();
        let node = arrange(&at, Node::new(&at, 1));
        refuses(name, &node, binary(), may_change, &says);
    }

    // Locked by a process: this one.
    let at = copied();
    let me = format!("is in use by process {} (", std::process::id());
    let lock = fs::File::open(at.join("data/.lock")).unwrap();
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&lock, exclusive).unwrap();
    refuses(
        "locked",
        &Node::new(&at, 1),
        binary(),
        &[],
        &["log.dirs=", &me, "Only one node"],
    );
    drop(lock);
    let lock = fs::OpenOptions::new().write(true).open(at.join("raft/LOCK")).unwrap();
    rustix::fs::fcntl_lock(&lock, exclusive).unwrap();
    // RocksDB's lock may not be read here: reading it would give it up.
    let node = Node::new(&at, 1);
    let output = node.output(binary());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("metadata.log.dir=") && error.contains(&me), "{error}");
    drop(lock);

    // None of that has harmed it; its ports are those that its cluster knows.
    founded[0].live();
}
