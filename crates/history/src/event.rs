use std::borrow::Cow;

/// Something that one worker did or was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Nanoseconds of the monotonic clock that all workers share.
    pub at: u64,
    /// One client. A client that was closed and made anew is another worker.
    pub worker: Cow<'a, str>,
    pub body: Body<'a>,
}

/// How an operation ended, where it did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Certainly not done, now or later.
    Fail,
    /// Nobody knows.
    Info,
}

/// A record as a consumer got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    /// Nothing where the record does not hold what a load writes: foreign or damaged bytes.
    pub value: Option<u64>,
    /// Of the batch, where the client tells it.
    pub leader_epoch: Option<i32>,
}

/// What happened. `partition` is topic and partition as one name; a topic that was deleted and made again has another name.
/// `operation` joins the beginning of an operation with its end and is unique in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A record is about to be sent with acks=all. `value` is unique in the history. The partition may become known later.
    Send {
        operation: u64,
        partition: Option<Cow<'a, str>>,
        value: u64,
    },
    /// The record is there; `offset` is missing where the client was not told (KIP-98: the answer to a duplicate).
    Sent {
        operation: u64,
        partition: Option<Cow<'a, str>>,
        offset: Option<i64>,
        leader_epoch: Option<i32>,
    },
    NotSent {
        operation: u64,
        outcome: Outcome,
        error: Cow<'a, str>,
    },
    /// Records of one partition in the order in which one poll returned them.
    Poll {
        partition: Cow<'a, str>,
        records: Vec<Read>,
    },
    /// The worker reads these partitions from now on and no others, from wherever it was told to.
    Assign {
        partitions: Vec<Cow<'a, str>>,
        group: Option<Cow<'a, str>>,
        generation: Option<i32>,
    },
    /// The worker goes to another place of a partition.
    Seek {
        partition: Cow<'a, str>,
        offset: Option<i64>,
    },
    /// The next offset that the group is to read is about to be committed.
    Commit {
        operation: u64,
        group: Cow<'a, str>,
        partition: Cow<'a, str>,
        offset: i64,
    },
    Committed {
        operation: u64,
    },
    NotCommitted {
        operation: u64,
        outcome: Outcome,
        error: Cow<'a, str>,
    },
    /// A group's offset as OffsetFetch gave it, −1 for none. `asked_at`: when the question left.
    GroupOffset {
        asked_at: u64,
        group: Cow<'a, str>,
        partition: Cow<'a, str>,
        offset: i64,
    },
    /// Log start and high watermark as ListOffsets gave them. `asked_at`: when the question left.
    Offsets {
        asked_at: u64,
        partition: Cow<'a, str>,
        log_start: Option<i64>,
        high_watermark: Option<i64>,
    },
    /// Who leads a partition, as a client was told.
    Leader {
        partition: Cow<'a, str>,
        leader_epoch: i32,
        node: i32,
    },
    /// Part of the scan after the load. With `bounds`, (log start, high watermark), this partition's scan is complete.
    Final {
        partition: Cow<'a, str>,
        records: Vec<Read>,
        bounds: Option<(i64, i64)>,
    },
    /// Something is done to the cluster, to a node where `on` says so.
    FaultBegin {
        operation: u64,
        name: Cow<'a, str>,
        on: Option<Cow<'a, str>>,
    },
    /// It is undone.
    FaultEnd {
        operation: u64,
    },
}
