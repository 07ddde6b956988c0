/// One name that a node understands.
#[derive(Debug)]
pub struct Property {
    pub name: &'static str,
    /// `None`: computed, or must be given.
    pub default: Option<&'static str>,
    pub kind: Kind,
    /// A sentence for `ottla start --properties` and DescribeConfigs.
    pub meaning: &'static str,
}

/// What values a property takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    /// A whole number in this range, both ends included.
    Number(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Property {
    /// # Errors
    /// What is wrong with the value, as the end of a sentence.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text => Ok(()),
            Kind::Flag if matches!(value, "true" | "false") => Ok(()),
            Kind::Flag => Err("wants true or false".to_owned()),
            Kind::Number(low, high) => match value.parse::<i64>() {
                Ok(number) if (low..=high).contains(&number) => Ok(()),
                _ if high == MAX => Err(format!("wants a number, at least {low}")),
                _ => Err(format!("wants a number from {low} to {high}")),
            },
            Kind::Word(words) if words.contains(&value) => Ok(()),
            Kind::Word(words) => Err(format!("wants one of {}", words.join(", "))),
        }
    }
}

const MAX: i64 = i64::MAX;
const INT: i64 = i32::MAX as i64;

const fn property(name: &'static str, default: Option<&'static str>, kind: Kind, meaning: &'static str) -> Property {
    Property {
        name,
        default,
        kind,
        meaning,
    }
}

/// Every property that has an effect. Kafka's names where Kafka has one.
pub const PROPERTIES: &[Property] = &[
    property(
        "node.id",
        None,
        Kind::Number(0, INT),
        "Number of this node, what Kafka clients see as the broker id.",
    ),
    property(
        "broker.rack",
        None,
        Kind::Text,
        "Rack or zone of this node; replicas and voters are spread over racks.",
    ),
    property(
        "listeners",
        Some("PLAINTEXT://127.0.0.1:9092"),
        Kind::Text,
        "Where Kafka clients connect.",
    ),
    property(
        "advertised.listeners",
        None,
        Kind::Text,
        "Name and port told to Kafka clients, if not those of listeners.",
    ),
    property(
        "control.listener",
        None,
        Kind::Text,
        "gRPC between nodes; by default the Kafka host and port + 10000.",
    ),
    property(
        "control.advertised.listener",
        None,
        Kind::Text,
        "Name and port of control.listener told to other nodes.",
    ),
    property(
        "replica.listener",
        None,
        Kind::Text,
        "Replica streams; by default the Kafka host and port + 20000.",
    ),
    property(
        "replica.advertised.listener",
        None,
        Kind::Text,
        "Name and port of replica.listener told to other nodes.",
    ),
    property(
        "admin.listener",
        None,
        Kind::Text,
        "HTTP for /metrics, /livez, /readyz and /startupz; by default on 127.0.0.1 and the Kafka port + 1000.",
    ),
    property(
        "log.dirs",
        None,
        Kind::Text,
        "Directories of the partitions' logs, separated by commas.",
    ),
    property(
        "log.dir",
        None,
        Kind::Text,
        "One directory for the partitions' logs, if log.dirs is not set.",
    ),
    property(
        "log.dir.reserve.bytes",
        None,
        Kind::Number(0, MAX),
        "Free space below which a log directory takes no more records; by default 256 MiB or 1 % of its file system, whichever is more.",
    ),
    property(
        "metadata.log.dir",
        None,
        Kind::Text,
        "Directory of the metadata log (Raft).",
    ),
    property(
        "cluster.secret",
        None,
        Kind::Text,
        "File with the secret that nodes authenticate each other with, the same on every node; needed where inter-node ports are not on loopback.",
    ),
    property(
        "join",
        None,
        Kind::Text,
        "Control addresses of the founders, host:port,…, in the same order on every node.",
    ),
    property(
        "found",
        Some("false"),
        Kind::Flag,
        "Found a new cluster alone although others could reach this node.",
    ),
    property(
        "num.shards",
        None,
        Kind::Number(1, 256),
        "Threads that own partitions; by default one per core, at most 8.",
    ),
    property(
        "timings.profile",
        Some("lan"),
        Kind::Word(&["lan", "wan"]),
        "Which column of the table of timings applies.",
    ),
    property(
        "broker.heartbeat.interval.ms",
        None,
        Kind::Number(1, INT),
        "Interval of a broker's heartbeats to the controller.",
    ),
    property(
        "broker.session.timeout.ms",
        None,
        Kind::Number(1, INT),
        "Silence after which a broker is fenced.",
    ),
    property(
        "replica.lag.time.max.ms",
        None,
        Kind::Number(1, INT),
        "A follower behind for longer leaves the ISR.",
    ),
    property(
        "log.flush.stall.ms",
        None,
        Kind::Number(1, INT),
        "A leader whose flush takes longer gives up leadership.",
    ),
    property(
        "log.flush.strategy",
        Some("journal"),
        Kind::Word(&["journal", "plain"]),
        "How records reach the disk: few new bytes of many segments through one journal, or each segment by itself.",
    ),
    property(
        "voter.replacement.timeout.ms",
        None,
        Kind::Number(1, INT),
        "A voter of the metadata that is silent for longer is replaced by another node, where racks allow it.",
    ),
    property(
        "log.retention.check.interval.ms",
        None,
        Kind::Number(1, i64::MAX / 1_000_000),
        "How often segments are looked for that are beyond retention.ms or retention.bytes.",
    ),
    property(
        "log.format",
        Some("text"),
        Kind::Word(&["text", "json"]),
        "How lines of the node's own log look; --log-format overrides it.",
    ),
    property(
        "num.partitions",
        Some("1"),
        Kind::Number(1, 10_000),
        "Partitions of a topic that does not say.",
    ),
    property(
        "num.recovery.threads.per.data.dir",
        Some("2"),
        Kind::Number(1, 64),
        "Logs of a log directory that are recovered at the same time when the node starts.",
    ),
    property(
        "default.replication.factor",
        Some("3"),
        Kind::Number(1, 100),
        "Replicas of a topic that does not say; fewer while fewer brokers are registered.",
    ),
    property(
        "min.insync.replicas",
        Some("2"),
        Kind::Number(1, 100),
        "Replicas that must have a record before acks=all succeeds.",
    ),
    property(
        "auto.create.topics.enable",
        Some("true"),
        Kind::Flag,
        "Create a topic when a client first names it.",
    ),
    property(
        "delete.topic.enable",
        Some("true"),
        Kind::Flag,
        "Whether topics may be deleted.",
    ),
    property(
        "unclean.leader.election.enable",
        Some("false"),
        Kind::Flag,
        "Let a replica lead that may lack acknowledged records.",
    ),
    property(
        "log.flush.interval.messages",
        Some("1"),
        Kind::Number(1, MAX),
        "1: strict, an acknowledged record is on disk on every in-sync replica.",
    ),
    property(
        "log.flush.interval.ms",
        None,
        Kind::Number(0, MAX),
        "Longest time that a relaxed topic's record stays unflushed.",
    ),
    property(
        "log.flush.scheduler.interval.ms",
        None,
        Kind::Number(0, MAX),
        "The same, where log.flush.interval.ms is not set.",
    ),
    property(
        "log.segment.bytes",
        Some("1073741824"),
        Kind::Number(1_048_576, INT),
        "Size at which a segment file is rolled.",
    ),
    property(
        "log.roll.ms",
        None,
        Kind::Number(1, MAX),
        "Age at which a segment file is rolled.",
    ),
    property(
        "log.roll.hours",
        Some("168"),
        Kind::Number(1, INT),
        "The same in hours.",
    ),
    property(
        "log.scrub.bytes.per.second",
        Some("8388608"),
        Kind::Number(0, MAX),
        "Bytes a second of a log directory that are read again to find damage; 0: none.",
    ),
    property(
        "log.scrub.interval.ms",
        Some("604800000"),
        Kind::Number(1, MAX),
        "Time from one scrub of a log to the next.",
    ),
    property(
        "log.roll.jitter.ms",
        None,
        Kind::Number(0, MAX),
        "Random part taken off log.roll.ms.",
    ),
    property(
        "log.roll.jitter.hours",
        Some("0"),
        Kind::Number(0, INT),
        "The same in hours.",
    ),
    property(
        "log.segment.delete.delay.ms",
        Some("60000"),
        Kind::Number(0, MAX),
        "Wait before a removed file is deleted.",
    ),
    property(
        "log.retention.ms",
        None,
        Kind::Number(-1, MAX),
        "Age at which records may be deleted.",
    ),
    property(
        "log.retention.minutes",
        None,
        Kind::Number(-1, INT),
        "The same in minutes.",
    ),
    property(
        "log.retention.hours",
        Some("168"),
        Kind::Number(-1, INT),
        "The same in hours.",
    ),
    property(
        "log.retention.bytes",
        Some("-1"),
        Kind::Number(-1, MAX),
        "Size of a partition beyond which old segments may be deleted.",
    ),
    property(
        "log.index.interval.bytes",
        Some("4096"),
        Kind::Number(0, INT),
        "Bytes between two entries of a segment's index.",
    ),
    property(
        "log.index.size.max.bytes",
        Some("10485760"),
        Kind::Number(4, INT),
        "Size of an index at which its segment is rolled.",
    ),
    property(
        "log.cleanup.policy",
        Some("delete"),
        Kind::Word(&["delete", "compact", "compact,delete", "delete,compact"]),
        "What becomes of old records.",
    ),
    property(
        "log.message.timestamp.type",
        Some("CreateTime"),
        Kind::Word(&["CreateTime", "LogAppendTime"]),
        "Whose clock stamps records.",
    ),
    property(
        "log.message.timestamp.before.max.ms",
        Some("9223372036854775807"),
        Kind::Number(0, MAX),
        "How far in the past a timestamp may lie.",
    ),
    property(
        "log.message.timestamp.after.max.ms",
        Some("3600000"),
        Kind::Number(0, MAX),
        "How far in the future a timestamp may lie.",
    ),
    property(
        "message.max.bytes",
        Some("1048588"),
        Kind::Number(0, types::limits::BATCH_BYTES_MAX as i64),
        "Largest record batch.",
    ),
    property(
        "compression.type",
        Some("producer"),
        Kind::Word(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "Codec of stored batches.",
    ),
    property(
        "compression.gzip.level",
        Some("-1"),
        Kind::Number(-1, 9),
        "Level if compression.type is gzip.",
    ),
    property(
        "compression.lz4.level",
        Some("9"),
        Kind::Number(1, 17),
        "Level if compression.type is lz4.",
    ),
    property(
        "compression.zstd.level",
        Some("3"),
        Kind::Number(-131_072, 22),
        "Level if compression.type is zstd.",
    ),
    property(
        "producer.id.expiration.ms",
        Some("86400000"),
        Kind::Number(1, INT),
        "Idle time after which a producer's sequence is forgotten.",
    ),
    property(
        "socket.request.max.bytes",
        Some("104857600"),
        Kind::Number(1, INT),
        "Largest request frame.",
    ),
    property(
        "queued.max.request.bytes",
        Some("268435456"),
        Kind::Number(1, MAX),
        "Memory for Produce requests that are being served; a connection waits for it.",
    ),
    property(
        "max.connections",
        Some("15000"),
        Kind::Number(1, INT),
        "Client connections of this node.",
    ),
    property(
        "max.connections.per.ip",
        Some("15000"),
        Kind::Number(1, INT),
        "Client connections from one address.",
    ),
    property(
        "max.connections.per.ip.overrides",
        Some(""),
        Kind::Text,
        "Client connections from these addresses: ADDRESS:COUNT,ADDRESS:COUNT.",
    ),
    property(
        "max.connection.creation.rate",
        Some("2147483647"),
        Kind::Number(0, INT),
        "Client connections a second, on average over 10 s; more wait before they are served.",
    ),
    property(
        "listener.name.plaintext.max.connection.creation.rate",
        None,
        Kind::Number(0, INT),
        "The same for the listener of clients alone.",
    ),
    property(
        "connections.max.idle.ms",
        Some("600000"),
        Kind::Number(1, MAX),
        "An idle client connection is closed after this.",
    ),
    property(
        "fetch.max.bytes",
        Some("57671680"),
        Kind::Number(1024, INT),
        "Most bytes of one fetch answer.",
    ),
    property(
        "auto.leader.rebalance.enable",
        Some("true"),
        Kind::Flag,
        "Whether the controller gives partitions back to their preferred leaders.",
    ),
    property(
        "leader.imbalance.check.interval.seconds",
        Some("300"),
        Kind::Number(1, INT),
        "How often it looks whether that is due.",
    ),
    property(
        "leader.imbalance.per.broker.percentage",
        Some("10"),
        Kind::Number(0, 100),
        "Of the partitions that a broker should lead, so many per cent may be led by others.",
    ),
    property(
        "max.incremental.fetch.session.cache.slots",
        Some("1000"),
        Kind::Number(0, INT),
        "Fetch sessions kept.",
    ),
    property(
        "group.min.session.timeout.ms",
        Some("6000"),
        Kind::Number(1, INT),
        "Shortest session timeout that a member of a group may ask for.",
    ),
    property(
        "group.max.session.timeout.ms",
        Some("1800000"),
        Kind::Number(1, INT),
        "Longest session timeout that a member of a group may ask for.",
    ),
    property(
        "group.initial.rebalance.delay.ms",
        Some("3000"),
        Kind::Number(0, INT),
        "How long an empty group waits for more members after its first.",
    ),
    property(
        "group.max.size",
        Some("10000"),
        Kind::Number(1, INT),
        "Members of one group; at most 10000.",
    ),
    property(
        "offset.metadata.max.bytes",
        Some("4096"),
        Kind::Number(0, INT),
        "Longest text that goes with a committed offset.",
    ),
    property(
        "offsets.retention.minutes",
        Some("10080"),
        Kind::Number(1, INT),
        "How long the offsets of a group without members, or of a topic that it left, are kept.",
    ),
    property(
        "offsets.retention.check.interval.ms",
        Some("600000"),
        Kind::Number(1, MAX),
        "How often offsets are looked for that are beyond it.",
    ),
    property(
        "offsets.topic.num.partitions",
        Some("50"),
        Kind::Number(1, 10_000),
        "Partitions of __consumer_offsets when it is created.",
    ),
    property(
        "offsets.topic.replication.factor",
        Some("3"),
        Kind::Number(1, 100),
        "Replicas of __consumer_offsets when it is created; fewer while fewer brokers are registered.",
    ),
    property(
        "offsets.topic.segment.bytes",
        Some("104857600"),
        Kind::Number(1_048_576, INT),
        "segment.bytes of __consumer_offsets when it is created.",
    ),
];

/// Names of Apache Kafka that change nothing here; a line that ends in `.` or `-` stands for all that begin so.
pub const IGNORED: &[&str] = &[
    "process.roles",
    "controller.",
    "inter.broker.",
    "listener.",
    "num.io.threads",
    "num.network.threads",
    "num.replica.",
    "num.replica.fetchers",
    "background.threads",
    "replica.fetch.",
    "replica.socket.",
    "replica.high.",
    "replica.selector.class",
    "socket.",
    "zookeeper.",
    "offsets.",
    "transaction.",
    "transactional.",
    "group.",
    "share.",
    "log.cleaner.",
    "log.flush.",
    "log.roll.",
    "log.preallocate",
    "log.local.",
    "log.message.",
    "metadata.",
    "metric",
    "metrics.",
    "queued.max.requests",
    "quota.",
    "security.",
    "ssl.",
    "sasl.",
    "super.users",
    "authorizer.",
    "authorizer.class.name",
    "controlled.shutdown.",
    "compression.",
    "connection.",
    "connections.",
    "broker.",
    "remote.",
    "telemetry.",
    "errors.",
    "early.start.listeners",
    "initial.broker.registration.timeout.ms",
    "request.timeout.ms",
    "server.max.startup.time.ms",
    "unstable.",
    "confluent.",
    "cordoned.log.dirs",
    "reserved.broker.max.id",
    "fetch.purgatory.",
    "producer.purgatory.",
    "delete.records.",
    "client.quota.",
    "create.topic.policy.class.name",
    "alter.config.policy.class.name",
    "password.encoder.",
    "principal.builder.class",
];

/// Whether `name` is Apache Kafka's and means nothing here.
#[must_use]
pub fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|known| {
        if known.ends_with('.') {
            name.starts_with(known)
        } else {
            name == *known
        }
    })
}

/// `OTTLA_NODE_ID` → `node.id`, for variables that name a property.
#[must_use]
pub fn name_of_variable(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("OTTLA_")?.to_ascii_lowercase().replace('_', ".");
    PROPERTIES.iter().any(|property| property.name == name).then_some(name)
}

/// The known name with the fewest edits, if it is near enough to be meant; among equals, one of the same length.
#[must_use]
pub fn nearest(name: &str) -> Option<String> {
    let (distance, _, nearest) = PROPERTIES
        .iter()
        .map(|known| {
            (
                edits(name, known.name),
                name.len().abs_diff(known.name.len()),
                known.name,
            )
        })
        .min()?;
    (distance <= name.len() / 3 + 1).then(|| nearest.to_owned())
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        for property in PROPERTIES {
            if let Some(default) = property.default {
                assert_eq!(property.check(default), Ok(()), "{}", property.name);
            }
            assert!(
                !is_ignored(property.name) || property.name.contains('.'),
                "{}",
                property.name
            );
        }
    }

    /// Every default of a topic that a broker's own properties can give is a property, with the same bounds where the
    /// unit is the same; what has no effect is a warning.
    #[test]
    fn synonyms_of_topic_configs_are_properties() {
        use metadata::topic_config::{Effect, TABLE, broker_names, validate};
        for definition in TABLE {
            for (name, factor) in broker_names(definition) {
                let property = PROPERTIES.iter().find(|property| property.name == name);
                if matches!(definition.effect, Effect::None(_)) {
                    assert!(property.is_none() && is_ignored(name), "{name}");
                    continue;
                }
                let property = property.unwrap_or_else(|| panic!("{name} is no property"));
                if let (Some(default), 1) = (property.default, factor) {
                    assert_eq!(default, definition.default, "{name}");
                }
                for value in ["-2", "-1", "0", "1", "22", "1048576", "99999999999"] {
                    if factor == 1 && property.check(value).is_ok() {
                        assert_eq!(validate(definition.name, value), Ok(()), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn distances() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(nearest("log.dirz").as_deref(), Some("log.dirs"));
        assert_eq!(nearest("utterly.different.thing"), None);
        assert_eq!(name_of_variable("OTTLA_LOG_DIRS").as_deref(), Some("log.dirs"));
        assert_eq!(name_of_variable("OTTLA_CACHE"), None);
    }

    #[test]
    fn values() {
        let partitions = PROPERTIES.iter().find(|p| p.name == "num.partitions").unwrap();
        assert_eq!(partitions.check("0").unwrap_err(), "wants a number from 1 to 10000");
        assert!(
            PROPERTIES
                .iter()
                .find(|p| p.name == "delete.topic.enable")
                .unwrap()
                .check("yes")
                .is_err()
        );
    }
}
