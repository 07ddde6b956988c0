use bytes::Bytes;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

/// A batch that is in the log, acknowledged as its producer asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// Milliseconds since 1970 on a topic with LogAppendTime, else −1.
    pub log_append_time: i64,
    pub log_start: Offset,
}

/// Why an operation on a partition failed, and who leads it instead, where that is known (KIP-951).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}")]
pub struct AppendError {
    pub code: ErrorCode,
    pub leader: Option<(NodeId, LeaderEpoch)>,
}

impl From<ErrorCode> for AppendError {
    fn from(code: ErrorCode) -> Self {
        Self { code, leader: None }
    }
}

/// A consumer's fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    pub partitions: Vec<FetchPartition>,
    /// Over all partitions; the first batch of the first partition that has one goes out in any case (KIP-74).
    pub max_bytes: usize,
    pub min_bytes: usize,
    pub max_wait: Duration,
    /// Only below the last stable offset.
    pub read_committed: bool,
    /// A follower may answer too, up to its own high watermark (KIP-392).
    pub from_follower: bool,
}

/// One partition of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    pub tp: TopicPartition,
    pub fetch_offset: Offset,
    /// [`LeaderEpoch::NONE`]: not sent.
    pub current_leader_epoch: LeaderEpoch,
    /// [`LeaderEpoch::NONE`]: not sent.
    pub last_fetched_epoch: LeaderEpoch,
    pub max_bytes: usize,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    pub tp: TopicPartition,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start: Offset,
    /// The consumer's log parts from ours: our end of its epoch (KIP-320, KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    pub records: Bytes,
    pub current_leader: Option<(NodeId, LeaderEpoch)>,
}

impl FetchedPartition {
    /// An answer without records.
    #[must_use]
    pub fn failed(tp: TopicPartition, error: AppendError) -> Self {
        Self {
            tp,
            error: error.code,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start: Offset(-1),
            diverging: None,
            records: Bytes::new(),
            current_leader: error.leader,
        }
    }
}
