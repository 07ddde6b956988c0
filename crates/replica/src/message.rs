use types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, StreamGeneration};

/// A follower's statement of what it holds, at the start of a stream and whenever it lost the thread.
/// Whatever the leader believed of it before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerHello {
    pub node: NodeId,
    pub broker_epoch: BrokerEpoch,
    pub generation: StreamGeneration,
    pub leader_epoch: LeaderEpoch,
    pub log_start: Offset,
    pub log_end: Offset,
    pub durable: Offset,
    /// Of the last batch; [`LeaderEpoch::NONE`] if the log is empty.
    pub last_epoch: LeaderEpoch,
}

/// The leader's answer to a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloAnswer {
    /// The follower's log is a prefix of the leader's; frames from `offset` follow.
    SendFrom {
        offset: Offset,
        high_watermark: Offset,
        log_start: Offset,
    },
    /// The logs part: `epoch` is the leader's largest epoch not above the follower's last, and ends at
    /// `end_offset` (KIP-101, KIP-279).
    Diverging { epoch: LeaderEpoch, end_offset: Offset },
    /// Nothing of the follower's log is of use: empty it and start at `log_start`.
    StartOver { log_start: Offset },
}

/// A follower's cumulative acknowledgement: it holds all records below `log_end`, and would after a
/// power loss still hold those below `durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerAck {
    pub node: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub generation: StreamGeneration,
    pub log_end: Offset,
    pub durable: Offset,
    pub log_start: Offset,
}

/// What stands before the batches of one partition in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    pub leader_epoch: LeaderEpoch,
    /// Where the follower's log must end, and with which epoch, for the batches to continue it.
    pub previous_end: Offset,
    pub previous_epoch: LeaderEpoch,
    pub generation: StreamGeneration,
    pub high_watermark: Offset,
    pub log_start: Offset,
    /// [`crate::digest`] of the batches.
    pub digest: u64,
}

/// The generation that a freshly started broker begins with: above every one of its earlier lives,
/// because broker epochs grow. Leaves room for 2³² reopenings.
#[must_use]
pub fn first_generation(broker_epoch: BrokerEpoch) -> StreamGeneration {
    StreamGeneration(broker_epoch.0 << 32)
}
