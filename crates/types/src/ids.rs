//! Newtypes for every id and counter, so that a leader epoch is never passed for a partition epoch.

use std::fmt;
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The all-zero id: "not set" on the wire, as in Kafka.
            pub const ZERO: Self = Self(Uuid::nil());

            /// Whether this is the all-zero id.
            #[must_use]
            pub fn is_zero(self) -> bool {
                self.0.is_nil()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// `node.id`: what Kafka clients see as the broker id. Never negative.
    NodeId(i32)
);
number!(
    /// Identity of one member of the Raft group. Allocated from the metadata log and never reused: a
    /// node that lost its disk comes back as a new member, because a member that forgot its vote must not
    /// vote again.
    RaftId(u64)
);
number!(
    /// Index of an entry in the metadata log.
    LogIndex(u64)
);
number!(
    /// Log index of a broker's registration record: grows with every registration of the same node id
    /// (KIP-631). A request with an older one comes from a dead self.
    BrokerEpoch(u64)
);
number!(
    /// Epoch of a partition's leadership, raised at each election (KIP-101).
    LeaderEpoch(i32)
);
number!(
    /// Version of a partition's record in the metadata, raised by every change of it (KIP-497).
    PartitionEpoch(i32)
);
number!(
    /// Id of an idempotent or transactional producer (KIP-98). −1 on the wire: none.
    ProducerId(i64)
);
number!(
    /// Epoch of a producer id (KIP-98).
    ProducerEpoch(i16)
);
number!(
    /// Which life of a replica on a directory a file or a journal entry belongs to: the same topic
    /// partition, removed and created again, gets a new one.
    ReplicaIncarnation(u64)
);
number!(
    /// Raised by a follower whenever it truncates or reopens its log or its stream. Frames and
    /// acknowledgements of an older generation are dropped.
    StreamGeneration(u64)
);

uuid_id!(
    /// Id of a topic: another one when a topic of the same name is created again (KIP-516).
    TopicId
);
uuid_id!(
    /// Id of a log directory, written in its `meta.properties` (KIP-858).
    DirectoryId
);

/// Position of a record in a partition's log. Ranges are half open: `log_end_offset` is the offset that
/// the next record will get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of an empty log.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl LeaderEpoch {
    /// "Unknown" or "not sent" on the wire.
    pub const NONE: Self = Self(-1);

    /// The epoch of the next election.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The epoch after one more change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ProducerId {
    /// The producer is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// A partition of a topic, by topic *id*: safe across deletion and re-creation under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: i32,
}

impl TopicPartition {
    /// The shard that owns this partition on a node with `shards` shards: FNV-1a over the 16 bytes of the
    /// topic id and the 4 big-endian bytes of the partition, modulo `shards`. Both ends of a replica stream
    /// compute it, so it is part of the inter-node protocol and must not change.
    #[must_use]
    pub fn shard(&self, shards: u16) -> u16 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let partition = self.partition.to_be_bytes();
        for byte in self.topic.0.as_bytes().iter().chain(partition.iter()) {
            hash ^= u64::from(*byte);
            hash = hash.wrapping_mul(0x0100_0000_01b3);
        }
        // The low bits of FNV are its weakest; fold the high half in.
        hash ^= hash >> 32;
        u16::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_spread_and_stable() {
        let topic = TopicId(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff));
        let mut counts = [0u32; 4];
        for partition in 0..400 {
            counts[usize::from(TopicPartition { topic, partition }.shard(4))] += 1;
        }
        assert!(counts.iter().all(|count| *count > 60), "uneven: {counts:?}");
        assert_eq!(TopicPartition { topic, partition: 7 }.shard(1), 0);
    }
}
