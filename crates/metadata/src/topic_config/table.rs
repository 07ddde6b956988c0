use super::{Definition, Kind, Range};

const INT_MAX: i32 = i32::MAX;
/// ◆ What cannot be replicated must not be promised: a longer batch would not fit into a replica frame.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "far below")]
const BATCH_BYTES_MAX: i32 = types::limits::BATCH_BYTES_MAX as i32;

/// Every topic config, by name. `min.insync.replicas=2` and `flush.messages=1` are Ottla's own defaults, the
/// others are Kafka's.
pub const TABLE: &[Definition] = &[
    Definition {
        name: "cleanup.policy",
        synonym: Some("log.cleanup.policy"),
        kind: Kind::ListOf(&["compact", "delete"]),
        default: "delete",
        doc: "What becomes of old segments: deleted, compacted, or both.",
    },
    Definition {
        name: "compression.type",
        synonym: Some("compression.type"),
        kind: Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        default: "producer",
        doc: "Compression of stored batches; producer keeps what was sent.",
    },
    Definition {
        name: "compression.gzip.level",
        synonym: Some("compression.gzip.level"),
        kind: int(-1, 9),
        default: "-1",
        doc: "Level if compression.type is gzip.",
    },
    Definition {
        name: "compression.lz4.level",
        synonym: Some("compression.lz4.level"),
        kind: int(1, 17),
        default: "9",
        doc: "Level if compression.type is lz4.",
    },
    Definition {
        name: "compression.zstd.level",
        synonym: Some("compression.zstd.level"),
        kind: int(-131_072, 22),
        default: "3",
        doc: "Level if compression.type is zstd.",
    },
    Definition {
        name: "delete.retention.ms",
        synonym: Some("log.cleaner.delete.retention.ms"),
        kind: long(0),
        default: "86400000",
        doc: "How long tombstones of compacted topics are kept.",
    },
    Definition {
        name: "file.delete.delay.ms",
        synonym: Some("log.segment.delete.delay.ms"),
        kind: long(0),
        default: "60000",
        doc: "Wait before a removed file is deleted.",
    },
    Definition {
        name: "flush.messages",
        synonym: Some("log.flush.interval.messages"),
        kind: long(1),
        default: "1",
        doc: "1: a record is acknowledged when it is on disk on every in-sync replica (strict). Anything else: flushed in the background after so many records (relaxed).",
    },
    Definition {
        name: "flush.ms",
        synonym: Some("log.flush.interval.ms"),
        kind: long(0),
        default: "9223372036854775807",
        doc: "Relaxed topics: flushed in the background after this time.",
    },
    Definition {
        name: "follower.replication.throttled.replicas",
        synonym: None,
        kind: Kind::ThrottledReplicas,
        default: "",
        doc: "Replicas whose replication is throttled on the follower.",
    },
    Definition {
        name: "index.interval.bytes",
        synonym: Some("log.index.interval.bytes"),
        kind: int(0, INT_MAX),
        default: "4096",
        doc: "Bytes between entries of the offset index.",
    },
    Definition {
        name: "leader.replication.throttled.replicas",
        synonym: None,
        kind: Kind::ThrottledReplicas,
        default: "",
        doc: "Replicas whose replication is throttled on the leader.",
    },
    Definition {
        name: "local.retention.bytes",
        synonym: Some("log.local.retention.bytes"),
        kind: long(-2),
        default: "-2",
        doc: "Tiered storage: bytes kept locally; -2: retention.bytes.",
    },
    Definition {
        name: "local.retention.ms",
        synonym: Some("log.local.retention.ms"),
        kind: long(-2),
        default: "-2",
        doc: "Tiered storage: time kept locally; -2: retention.ms.",
    },
    Definition {
        name: "max.compaction.lag.ms",
        synonym: Some("log.cleaner.max.compaction.lag.ms"),
        kind: long(1),
        default: "9223372036854775807",
        doc: "Longest time that a record may stay uncompacted.",
    },
    Definition {
        name: "max.message.bytes",
        synonym: Some("message.max.bytes"),
        kind: int(0, BATCH_BYTES_MAX),
        default: "1048588",
        doc: "Largest record batch, after compression.",
    },
    Definition {
        name: "message.timestamp.after.max.ms",
        synonym: Some("log.message.timestamp.after.max.ms"),
        kind: long(0),
        default: "3600000",
        doc: "How far a record's timestamp may lie after the broker's.",
    },
    Definition {
        name: "message.timestamp.before.max.ms",
        synonym: Some("log.message.timestamp.before.max.ms"),
        kind: long(0),
        default: "9223372036854775807",
        doc: "How far a record's timestamp may lie before the broker's.",
    },
    Definition {
        name: "message.timestamp.type",
        synonym: Some("log.message.timestamp.type"),
        kind: Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        default: "CreateTime",
        doc: "Whether a record bears the producer's or the broker's time.",
    },
    Definition {
        name: "min.cleanable.dirty.ratio",
        synonym: Some("log.cleaner.min.cleanable.ratio"),
        kind: Kind::Ratio,
        default: "0.5",
        doc: "Share of uncompacted bytes from which a log is compacted.",
    },
    Definition {
        name: "min.compaction.lag.ms",
        synonym: Some("log.cleaner.min.compaction.lag.ms"),
        kind: long(0),
        default: "0",
        doc: "Shortest time that a record stays uncompacted.",
    },
    Definition {
        name: "min.insync.replicas",
        synonym: Some("min.insync.replicas"),
        kind: int(1, INT_MAX),
        default: "2",
        doc: "In-sync replicas without which acks=all fails; at most the replication factor counts.",
    },
    Definition {
        name: "preallocate",
        synonym: Some("log.preallocate"),
        kind: Kind::Boolean,
        default: "false",
        doc: "Whether new segment files are allocated in full.",
    },
    Definition {
        name: "remote.log.copy.disable",
        synonym: None,
        kind: Kind::Boolean,
        default: "false",
        doc: "Tiered storage: copies nothing more.",
    },
    Definition {
        name: "remote.log.delete.on.disable",
        synonym: None,
        kind: Kind::Boolean,
        default: "false",
        doc: "Tiered storage: deletes remote data when disabled.",
    },
    Definition {
        name: "remote.storage.enable",
        synonym: None,
        kind: Kind::Boolean,
        default: "false",
        doc: "Tiered storage.",
    },
    Definition {
        name: "retention.bytes",
        synonym: Some("log.retention.bytes"),
        kind: long(-1),
        default: "-1",
        doc: "Bytes per partition above which old segments go; -1: any.",
    },
    Definition {
        name: "retention.ms",
        synonym: Some("log.retention.ms"),
        kind: long(-1),
        default: "604800000",
        doc: "Time after which old segments go; -1: never.",
    },
    Definition {
        name: "segment.bytes",
        synonym: Some("log.segment.bytes"),
        kind: int(1_048_576, INT_MAX),
        default: "1073741824",
        doc: "Size at which a segment rolls.",
    },
    Definition {
        name: "segment.index.bytes",
        synonym: Some("log.index.size.max.bytes"),
        kind: int(4, INT_MAX),
        default: "10485760",
        doc: "Largest index of a segment.",
    },
    Definition {
        name: "segment.jitter.ms",
        synonym: Some("log.roll.jitter.ms"),
        kind: long(0),
        default: "0",
        doc: "Random part taken off segment.ms.",
    },
    Definition {
        name: "segment.ms",
        synonym: Some("log.roll.ms"),
        kind: long(1),
        default: "604800000",
        doc: "Age at which a segment rolls.",
    },
    Definition {
        name: "unclean.leader.election.enable",
        synonym: Some("unclean.leader.election.enable"),
        kind: Kind::Boolean,
        default: "false",
        doc: "Whether a replica outside ISR and ELR may lead, losing acknowledged records.",
    },
];

const fn int(min: i32, max: i32) -> Kind {
    Kind::Int(Range {
        min: min as i64,
        max: max as i64,
    })
}

const fn long(min: i64) -> Kind {
    Kind::Long(Range { min, max: i64::MAX })
}
