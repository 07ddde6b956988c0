//! What the handlers ask of the data plane.

use crate::memory_budget::Fetched;
use broker::LogDirDescription;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use records::BatchHeader;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

/// Data operations of the node, callable from the shard that serves the connection.
pub trait Data {
    /// Appends one checked client batch; `header` is what the check answered, so its `max_timestamp` is the true one
    /// and the owner writes it, or the time of the append where the topic wants that. The append starts when this is called, so that two calls in order
    /// append in order; the future resolves when `acks` is satisfied. Dropping it takes nothing back.
    fn append(
        &self,
        tp: TopicPartition,
        batch: Bytes,
        header: BatchHeader,
        acks: i16,
    ) -> LocalBoxFuture<'static, Result<Appended, DataError>>;

    /// Reads; waits until `min_bytes` are there or `max_wait` is over. One answer per partition, in order. `memory` is
    /// asked before each round of reading and comes back with what the answer holds.
    fn fetch(&self, plan: FetchPlan, memory: Fetched) -> LocalBoxFuture<'static, (Vec<FetchedPartition>, Fetched)>;

    /// The first offset whose timestamp is at least `timestamp`, or one of the special timestamps −1 latest,
    /// −2 earliest, −3 of the largest timestamp. Offset −1: none.
    fn list_offset(
        &self,
        tp: TopicPartition,
        timestamp: i64,
        current_leader_epoch: LeaderEpoch,
        read_committed: bool,
    ) -> LocalBoxFuture<'static, Result<(Offset, i64, LeaderEpoch), DataError>>;

    /// Deletes the records below `offset`, or below the high watermark if it is −1. Resolves with the low watermark
    /// when every live replica's log starts there, or with `REQUEST_TIMED_OUT`: the records are deleted all the same.
    fn delete_records(
        &self,
        tp: TopicPartition,
        offset: Offset,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Offset, DataError>>;

    /// Every log directory of this node in the order of `log.dirs`, and what is in it.
    fn describe_log_dirs(&self) -> LocalBoxFuture<'static, Vec<LogDirDescription>>;

    /// The end of an epoch (KIP-101, KIP-279).
    fn epoch_end_offset(
        &self,
        tp: TopicPartition,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> LocalBoxFuture<'static, Result<(LeaderEpoch, Offset), DataError>>;
}

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// Milliseconds since 1970 on a topic with LogAppendTime, else −1.
    pub log_append_time: i64,
    pub log_start: Offset,
}

/// Why an operation failed, and who leads instead where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataError {
    pub code: ErrorCode,
    pub leader: Option<(NodeId, LeaderEpoch)>,
}

/// A consumer's fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    pub partitions: Vec<FetchPartition>,
    pub max_bytes: usize,
    pub min_bytes: usize,
    pub max_wait: Duration,
    pub read_committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    pub tp: TopicPartition,
    pub fetch_offset: Offset,
    pub current_leader_epoch: LeaderEpoch,
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
    pub diverging: Option<(LeaderEpoch, Offset)>,
    pub records: Bytes,
    pub current_leader: Option<(NodeId, LeaderEpoch)>,
}
