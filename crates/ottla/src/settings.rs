//! What a node is told: a `server.properties` file with Kafka's own names, overridden by the environment
//! (`OTTLA_NODE_ID` for `node.id`) and by `--set name=value`.

mod groups;
mod listener;
mod property;

pub use listener::{Listener, host_port};
pub use property::{IGNORED, PROPERTIES, Property};

use group::GroupConfig;
use logstore::JournalSize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use types::{NodeId, Timings};

/// Why the settings cannot be used. Each says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    #[error("{place}: \"{line}\" is not name=value")]
    NotAPair { place: String, line: String },
    #[error("{place}: unknown property \"{name}\"{}", suggestion(.nearest))]
    Unknown {
        place: String,
        name: String,
        nearest: Option<String>,
    },
    #[error("{place}: {name}={value}: {problem}")]
    Value {
        place: String,
        name: String,
        value: String,
        problem: String,
    },
    #[error("{name} is not set. {remedy}")]
    Missing { name: &'static str, remedy: &'static str },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

/// Everything a node needs to start, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_id: NodeId,
    pub rack: Option<String>,
    /// Where Kafka clients connect: the socket, and the name and port that Metadata tells them.
    pub kafka: Listener,
    /// gRPC between control planes.
    pub control: Listener,
    /// Replica streams.
    pub replica: Listener,
    /// HTTP for metrics and health.
    pub admin: Listener,
    pub log_dirs: Vec<PathBuf>,
    /// What each log directory's file system keeps free of records; `None`: by its size.
    pub reserve_bytes: Option<u64>,
    /// Records go through the journal of their log directory, rather than each segment be synced by itself.
    pub journal_flush: bool,
    /// Of each log directory's journal. No property: only who runs many small nodes has a reason for another one.
    pub journal_size: JournalSize,
    /// Logs of a directory that are recovered at the same time when the node starts.
    pub recovery_threads: usize,
    pub metadata_dir: PathBuf,
    /// The file that holds what nodes authenticate each other with; `None` on loopback only.
    pub cluster_secret: Option<PathBuf>,
    /// Control addresses of the founders, in the same order on every node; empty: alone.
    pub join: Vec<(String, u16)>,
    /// May found a cluster alone although it listens on more than loopback.
    pub found: bool,
    pub shards: u16,
    pub timings: Timings,
    /// What coordinators of groups need.
    pub groups: GroupConfig,
    /// Every property as it stands after all overrides, defaults included: what DescribeConfigs shows and the
    /// planners use as defaults of topics.
    pub properties: BTreeMap<String, String>,
    /// The names that were set by file, environment or flag, not by default.
    pub given: BTreeMap<String, String>,
    /// Things a person should know, one line each (Kafka names that mean nothing here).
    pub warnings: Vec<String>,
}

/// Name and value, and where they came from, for messages.
#[derive(Debug, Clone)]
struct Given {
    place: String,
    value: String,
}

impl Settings {
    /// Reads `file` (its name is for messages), then the environment, then the flags; later ones win.
    ///
    /// # Errors
    /// [`SettingsError`]: an unknown name with the nearest known one, a value out of range, a missing `node.id`.
    pub fn read(
        file: Option<(&str, &str)>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, SettingsError> {
        let mut given: BTreeMap<String, Given> = BTreeMap::new();
        let mut warnings = Vec::new();
        if let Some((name, text)) = file {
            for (number, line) in text.lines().enumerate() {
                let place = format!("{name}, line {}", number + 1);
                let line = line.trim();
                if line.is_empty() || line.starts_with(['#', '!']) {
                    continue;
                }
                let (key, value) = line.split_once('=').ok_or_else(|| SettingsError::NotAPair {
                    place: place.clone(),
                    line: line.into(),
                })?;
                accept(&mut given, &mut warnings, place, key.trim(), value.trim())?;
            }
        }
        for (variable, value) in environment {
            let Some(name) = property::name_of_variable(&variable) else {
                continue;
            };
            accept(
                &mut given,
                &mut warnings,
                format!("environment variable {variable}"),
                &name,
                &value,
            )?;
        }
        for flag in flags {
            let place = "--set".to_owned();
            let (key, value) = flag.split_once('=').ok_or_else(|| SettingsError::NotAPair {
                place: place.clone(),
                line: flag.clone(),
            })?;
            accept(&mut given, &mut warnings, place, key.trim(), value.trim())?;
        }
        Self::from_given(&given, warnings)
    }

    fn from_given(given: &BTreeMap<String, Given>, warnings: Vec<String>) -> Result<Self, SettingsError> {
        let mut properties: BTreeMap<String, String> = PROPERTIES
            .iter()
            .filter_map(|p| p.default.map(|d| (p.name.to_owned(), d.to_owned())))
            .collect();
        for (name, value) in given {
            properties.insert(name.clone(), value.value.clone());
        }
        let read = Reader {
            given,
            properties: &properties,
        };
        let node_id = match properties.get("node.id") {
            Some(text) => read.parse::<i32>("node.id", text, "a number from 0 to 2147483647", |n| *n >= 0)?,
            None => {
                return Err(SettingsError::Missing {
                    name: "node.id",
                    remedy: "Give every node its own number: node.id=0 in server.properties, --set node.id=0 or OTTLA_NODE_ID=0.",
                });
            }
        };
        let kafka = read.listener("listeners", Some("advertised.listeners"), "", 9092)?;
        let beside = |distance: u16| format!("{}:{}", kafka.host, kafka.port.saturating_add(distance));
        let control = read.listener(
            "control.listener",
            Some("control.advertised.listener"),
            &beside(10_000),
            0,
        )?;
        let replica = read.listener(
            "replica.listener",
            Some("replica.advertised.listener"),
            &beside(20_000),
            0,
        )?;
        // Loopback only, unless a person says otherwise: whoever reaches it reads what the node does.
        let beside_kafka = kafka.port.checked_add(1_000).filter(|_| kafka.port > 0).unwrap_or(0);
        let admin = read.listener("admin.listener", None, &format!("127.0.0.1:{beside_kafka}"), 0)?;
        for (name, listener, before) in [
            ("control.listener", &control, &[("listeners", &kafka)][..]),
            (
                "replica.listener",
                &replica,
                &[("listeners", &kafka), ("control.listener", &control)][..],
            ),
            (
                "admin.listener",
                &admin,
                &[
                    ("listeners", &kafka),
                    ("control.listener", &control),
                    ("replica.listener", &replica),
                ][..],
            ),
        ] {
            if let Some((other, _)) = before.iter().find(|(_, other)| listener.collides_with(other)) {
                let text = format!("{}:{}", listener.host, listener.port);
                let problem = format!(
                    "is the port of {other} too; every listener wants its own (if not set, it lies 1000, 10000 or 20000 above that of listeners)"
                );
                return Err(read.wrong(name, &text, &problem));
            }
        }
        let log_dirs: Vec<PathBuf> = match properties.get("log.dirs").or_else(|| properties.get("log.dir")) {
            Some(list) => list.split(',').map(|part| PathBuf::from(part.trim())).collect(),
            None => {
                return Err(SettingsError::Missing {
                    name: "log.dirs",
                    remedy: "Say where the data lives: log.dirs=/var/lib/ottla in server.properties or --set log.dirs=DIR.",
                });
            }
        };
        let name = if properties.contains_key("log.dirs") {
            "log.dirs"
        } else {
            "log.dir"
        };
        for (index, path) in log_dirs.iter().enumerate() {
            let list = &properties[name];
            if path.as_os_str().is_empty() {
                return Err(read.wrong(
                    name,
                    list,
                    "wants directories separated by commas, and one of them is empty",
                ));
            }
            if log_dirs[..index].contains(path) {
                let problem = format!("names {} twice; every directory is used once", path.display());
                return Err(read.wrong(name, list, &problem));
            }
        }
        let metadata_dir = properties
            .get("metadata.log.dir")
            .map_or_else(|| log_dirs[0].join("__cluster_metadata-0"), PathBuf::from);
        let reserve_bytes = match properties.get("log.dir.reserve.bytes") {
            Some(text) => Some(read.parse::<u64>("log.dir.reserve.bytes", text, "a number of bytes", |_| true)?),
            None => None,
        };
        let journal_flush = match properties.get("log.flush.strategy").map(String::as_str) {
            None | Some("journal") => true,
            Some("plain") => false,
            Some(other) => return Err(read.wrong("log.flush.strategy", other, "is journal or plain")),
        };
        let recovery_threads = match properties.get("num.recovery.threads.per.data.dir") {
            Some(text) => read.parse::<usize>(
                "num.recovery.threads.per.data.dir",
                text,
                "a number from 1 to 64",
                |threads| (1..=64).contains(threads),
            )?,
            None => 2,
        };
        let cluster_secret = properties
            .get("cluster.secret")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let mut join = Vec::new();
        for part in properties
            .get("join")
            .map(String::as_str)
            .unwrap_or_default()
            .split(',')
        {
            let part = part.trim();
            if !part.is_empty() {
                join.push(
                    listener::host_port(part).ok_or_else(|| read.wrong("join", part, "wants host:port,host:port,…"))?,
                );
            }
        }
        let profile = properties.get("timings.profile").map_or("lan", String::as_str);
        let mut timings = match profile {
            "lan" => Timings::LAN,
            "wan" => Timings::WAN,
            other => return Err(read.wrong("timings.profile", other, "is lan or wan")),
        };
        for (name, field) in [
            ("broker.heartbeat.interval.ms", &mut timings.broker_heartbeat),
            ("broker.session.timeout.ms", &mut timings.broker_session),
            ("replica.lag.time.max.ms", &mut timings.replica_lag),
            ("log.flush.stall.ms", &mut timings.flush_stall),
            ("log.retention.check.interval.ms", &mut timings.retention_check),
            ("voter.replacement.timeout.ms", &mut timings.voter_replacement),
        ] {
            if let Some(text) = properties.get(name) {
                let millis = read.parse::<u64>(name, text, "milliseconds, at least 1", |ms| *ms > 0)?;
                *field = Duration::from_millis(millis);
            }
        }
        let shards = match properties.get("num.shards") {
            Some(text) => read.parse::<u16>("num.shards", text, "a number from 1 to 256", |n| (1..=256).contains(n))?,
            None => default_shards(),
        };
        for property in PROPERTIES {
            if let Some(text) = properties.get(property.name) {
                property
                    .check(text)
                    .map_err(|problem| read.wrong(property.name, text, &problem))?;
            }
        }
        let groups = groups::read(&read)?;
        properties.insert("num.shards".into(), shards.to_string());
        properties.insert("control.advertised.listener".into(), control.advertised());
        properties.insert("replica.advertised.listener".into(), replica.advertised());
        properties.insert(
            "advertised.listeners".into(),
            format!("PLAINTEXT://{}", kafka.advertised()),
        );
        let rack = properties.get("broker.rack").filter(|rack| !rack.is_empty()).cloned();
        let found = properties.get("found").is_some_and(|found| found == "true");
        let given = given
            .iter()
            .map(|(name, given)| (name.clone(), given.value.clone()))
            .collect();
        Ok(Self {
            node_id: NodeId(node_id),
            rack,
            kafka,
            control,
            replica,
            admin,
            log_dirs,
            reserve_bytes,
            journal_flush,
            journal_size: JournalSize::default(),
            recovery_threads,
            metadata_dir,
            cluster_secret,
            join,
            found,
            shards,
            timings,
            groups,
            properties,
            given,
            warnings,
        })
    }

    /// ◆ Whether the node may found a cluster by itself: only where that was asked for, or where there is no list of
    /// founders and no other machine can reach it, not even as a client, so that a forgotten flag never makes a second
    /// cluster that somebody writes to.
    #[must_use]
    pub fn found_alone(&self) -> bool {
        self.found || (self.join.is_empty() && self.kafka.is_loopback() && self.inter_node_on_loopback())
    }

    /// Whether every socket between nodes is bound to loopback, so that no stranger can acknowledge or vote.
    #[must_use]
    pub fn inter_node_on_loopback(&self) -> bool {
        self.control.is_loopback() && self.replica.is_loopback()
    }
}

/// One shard for every core but at most eight: beyond that, and on machines that run several nodes, it is set.
fn default_shards() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores.clamp(1, 8)).unwrap_or(1)
}

fn accept(
    given: &mut BTreeMap<String, Given>,
    warnings: &mut Vec<String>,
    place: String,
    name: &str,
    value: &str,
) -> Result<(), SettingsError> {
    let name = if name == "broker.id" { "node.id" } else { name };
    if PROPERTIES.iter().any(|property| property.name == name) {
        given.insert(
            name.to_owned(),
            Given {
                place,
                value: value.to_owned(),
            },
        );
        return Ok(());
    }
    if property::is_ignored(name) {
        warnings.push(format!(
            "{place}: {name} is a property of Apache Kafka that has no effect here"
        ));
        return Ok(());
    }
    Err(SettingsError::Unknown {
        place,
        name: name.to_owned(),
        nearest: property::nearest(name),
    })
}

struct Reader<'a> {
    given: &'a BTreeMap<String, Given>,
    properties: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn wrong(&self, name: &str, value: &str, problem: &str) -> SettingsError {
        let place = self
            .given
            .get(name)
            .map_or_else(|| "default".to_owned(), |given| given.place.clone());
        SettingsError::Value {
            place,
            name: name.to_owned(),
            value: value.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        text: &str,
        wanted: &str,
        valid: impl Fn(&T) -> bool,
    ) -> Result<T, SettingsError> {
        text.trim()
            .parse()
            .ok()
            .filter(valid)
            .ok_or_else(|| self.wrong(name, text, &format!("wants {wanted}")))
    }

    fn listener(
        &self,
        name: &str,
        advertised: Option<&str>,
        default: &str,
        port: u16,
    ) -> Result<Listener, SettingsError> {
        let text = self.properties.get(name).map_or(default, String::as_str);
        let mut listener = Listener::parse(text, port).map_err(|problem| self.wrong(name, text, &problem))?;
        if let Some((name, text)) = advertised.and_then(|name| Some((name, self.properties.get(name)?)))
            && !text.is_empty()
        {
            listener
                .advertise(text)
                .map_err(|problem| self.wrong(name, text, &problem))?;
        }
        Ok(listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Settings, SettingsError> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment: Vec<(String, String)> = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Settings::read(Some(("server.properties", file)), environment.into_iter(), &flags)
    }

    const SMALL: &str = "node.id=1\nlog.dirs=/d\nlisteners=PLAINTEXT://127.0.0.1:9092\n";

    #[test]
    fn later_sources_win() {
        let settings = read(
            SMALL,
            &[("OTTLA_NODE_ID", "2"), ("PATH", "/bin")],
            &["node.id=3", "num.partitions=7"],
        )
        .unwrap();
        assert_eq!(settings.node_id, NodeId(3));
        assert_eq!(settings.properties["num.partitions"], "7");
        assert_eq!(settings.properties["min.insync.replicas"], "2");
        assert_eq!((settings.control.port, settings.replica.port), (19092, 29092));
        assert_eq!(
            (settings.admin.host.as_str(), settings.admin.port),
            ("127.0.0.1", 10092)
        );
        assert!(settings.inter_node_on_loopback());
        let settings = read(SMALL, &[("OTTLA_NODE_ID", "2")], &[]).unwrap();
        assert_eq!(settings.node_id, NodeId(2));
    }

    #[test]
    fn a_wrong_name_gets_the_nearest() {
        let error = read("node.id=1\nnum.partitons=3\n", &[], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server.properties, line 2: unknown property \"num.partitons\"; did you mean \"num.partitions\"?"
        );
    }

    #[test]
    fn a_wrong_value_says_where() {
        let error = read(SMALL, &[], &["num.partitions=many"]).unwrap_err();
        assert!(error.to_string().starts_with("--set: num.partitions=many:"), "{error}");
        let error = read("log.dirs=/d\n", &[], &[]).unwrap_err();
        assert!(error.to_string().contains("node.id is not set"), "{error}");
        assert!(matches!(
            read("node.id\n", &[], &[]),
            Err(SettingsError::NotAPair { .. })
        ));
    }

    #[test]
    fn a_kafka_name_without_meaning_is_a_warning() {
        let settings = read(
            &format!("{SMALL}num.io.threads=8\nprocess.roles=broker,controller\n"),
            &[],
            &[],
        )
        .unwrap();
        assert_eq!(settings.warnings.len(), 2);
    }

    #[test]
    fn what_groups_are_told() {
        let lines = "group.max.size=2147483647\noffsets.retention.minutes=5\ngroup.initial.rebalance.delay.ms=0\n";
        let settings = read(&format!("{SMALL}{lines}offsets.load.buffer.size=1\n"), &[], &[]).unwrap();
        let expected = GroupConfig {
            group_initial_rebalance_delay: Duration::ZERO,
            offsets_retention: Duration::from_secs(300),
            ..GroupConfig::default()
        };
        assert_eq!((settings.groups, settings.warnings.len()), (expected, 1));
        assert_eq!(read(SMALL, &[], &[]).unwrap().groups, GroupConfig::default());
        let flags = ["group.min.session.timeout.ms=6001", "group.max.session.timeout.ms=6000"];
        let error = read(SMALL, &[], &flags).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--set: group.min.session.timeout.ms=6001: must not be above group.max.session.timeout.ms=6000"
        );
        assert!(read(SMALL, &[], &["offsets.topic.num.partitions=0"]).is_err());
    }

    #[test]
    fn founders_keep_their_order() {
        let settings = read(&format!("{SMALL}join=b:1,a:2\n"), &[], &[]).unwrap();
        assert_eq!(settings.join, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        assert!(read(&format!("{SMALL}join=b\n"), &[], &[]).is_err());
    }

    /// ◆ A forgotten `join` never makes a second cluster.
    #[test]
    fn who_may_found_alone() {
        let open_control = "control.listener=0.0.0.0:19092\n";
        let open_replica = "replica.listener=0.0.0.0:29092\n";
        let open_kafka = "listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://a:9092\n\
                          control.listener=127.0.0.1:19092\nreplica.listener=127.0.0.1:29092\n";
        let cases = [
            ("", true),
            (open_control, false),
            (open_replica, false),
            (open_kafka, false),
            ("join=127.0.0.1:1,127.0.0.1:2\n", false),
            ("found=false\ncontrol.listener=0.0.0.0:19092\n", false),
            ("found=true\ncontrol.listener=0.0.0.0:19092\n", true),
            ("found=true\n", true),
        ];
        for (lines, expected) in cases {
            let settings = read(&format!("{SMALL}{lines}"), &[], &[]).unwrap();
            assert_eq!(settings.found_alone(), expected, "{lines:?}");
        }
    }
}
