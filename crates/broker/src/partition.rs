//! One replica on this node: its log, its role, and who waits for it. Owned by one shard; nothing here awaits.

mod append;
mod damage;
mod errand;
mod flush;
mod follow;
mod log_start;
mod read;
mod role;
mod waiters;

pub(crate) use damage::unnoticed_ms;
pub(crate) use errand::{Errand, LogWork};
pub(crate) use follow::Followed;
pub(crate) use read::{ListOffset, ReadRequest, ReadResult};
pub(crate) use role::RoleChange;
pub(crate) use waiters::PollId;

use crate::data::AppendError;
use crate::links::Links;
use crate::replica_stream::StreamOut;
use crate::tenants::Leadership;
use append::{Parked, Waiting};
use bytes::Bytes;
use damage::Damage;
use errand::Cut;
use follow::Held;
use log_start::Deletion;
use logstore::{Flushed, Log};
use replica::{Durability, EntryHeader, EpochCache, Follower, Leader, LogBounds, PartitionView, ProducerStates};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use types::{
    DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, ReplicaIncarnation, StreamGeneration, TopicPartition,
};
use waiters::Waiters;

/// What the topic's configuration means to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicRules {
    pub durability: Durability,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    /// Of a relaxed topic: unflushed records and milliseconds before a flush in the background.
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub log: logstore::LogConfig,
}

/// What this node is for the partition in its leader epoch.
pub(crate) enum Role {
    /// Not yet told, or nobody leads.
    Idle,
    Leader(Box<Leader>),
    Follower {
        machine: Box<Follower>,
    },
}

pub(crate) struct Partition {
    pub tp: TopicPartition,
    pub topic: String,
    pub incarnation: ReplicaIncarnation,
    pub directory: DirectoryId,
    links: Rc<Links>,
    /// `None` while it is away on an errand.
    log: Option<Log>,
    /// Of a log that is away, before it went.
    size_away_bytes: u64,
    /// Results of flushes that came while the log was away.
    late_flushes: Vec<Flushed>,
    pub role: Role,
    pub view: PartitionView,
    pub rules: TopicRules,
    /// ◆ The highest leader epoch ever seen, in the image or the log: older ones are refused.
    highest_epoch: LeaderEpoch,
    generation: StreamGeneration,
    producers: ProducerStates,
    /// What producer states must be rebuilt from the log before the next append.
    producers_incomplete: bool,
    /// Last known bounds, for the time between roles.
    bounds: LogBounds,
    /// By the offset that the high watermark must reach, then by arrival.
    waiting: BTreeMap<(Offset, u64), Waiting>,
    waited: u64,
    /// Produces that came since the last drain, or before the epoch's start was durable.
    parked: VecDeque<Parked>,
    /// As a follower: an append that waits for its epoch's start to be durable, and what came after it. Bounded by
    /// the leader's window.
    held: Option<Held>,
    inbox: VecDeque<(EntryHeader, Bytes)>,
    inbox_bytes: usize,
    /// Where the log is to start: by the leader's word, on the leader by retention and DeleteRecords.
    log_start_wanted: Offset,
    /// The journal is about to know a new log start. ◆ The log is not cut meanwhile: the two could contradict.
    moving_log_start: bool,
    cut_after_move: Option<Cut>,
    /// DeleteRecords that wait for the followers; as many as there are requests in service.
    deletions: Vec<Deletion>,
    restate_due: bool,
    /// Follows nobody until its directory has room.
    waits_for_room: bool,
    /// An invariant of ours broke: this replica does nothing any more, the node goes on.
    broken: bool,
    /// Damage below the durable mark, until the replica is whole again.
    damage: Option<Damage>,
    /// Where a read met damage that is being looked at.
    suspected: Option<Offset>,
    /// Bytes since the last producer snapshot.
    unsnapshot_bytes: usize,
    /// Long polls, each once.
    waiters: Waiters,
    /// Streams of the followers that have stated their position in this leader epoch.
    pub streams: BTreeMap<NodeId, Rc<StreamOut>>,
    /// A flush job is at the flusher since then.
    flush_since: Option<types::Monotonic>,
    /// The leader epoch in which its disk stalls and another was asked to lead.
    stood_down: Option<LeaderEpoch>,
    unflushed_records: i64,
    unflushed_since_ms: i64,
}

/// A replica as it comes from recovery or creation.
pub(crate) struct NewReplica {
    pub log: Log,
    pub producers: ProducerStates,
    pub high_watermark: Offset,
}

impl Partition {
    pub fn new(
        links: Rc<Links>,
        replica: NewReplica,
        view: PartitionView,
        rules: TopicRules,
        generation: StreamGeneration,
    ) -> Self {
        let NewReplica {
            log,
            producers,
            high_watermark,
        } = replica;
        let bounds = LogBounds::recovered(
            log.log_start_offset(),
            high_watermark,
            log.durable_offset(),
            log.log_end_offset(),
        );
        let highest_epoch = log.epochs().last().map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch);
        Self {
            tp: log.topic_partition(),
            topic: log.topic_name().to_owned(),
            incarnation: log.incarnation(),
            directory: log.directory_id(),
            links,
            log: Some(log),
            size_away_bytes: 0,
            late_flushes: Vec::new(),
            role: Role::Idle,
            view,
            rules,
            highest_epoch,
            generation,
            producers,
            producers_incomplete: false,
            bounds,
            waiting: BTreeMap::new(),
            waited: 0,
            parked: VecDeque::new(),
            held: None,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            log_start_wanted: Offset::ZERO,
            moving_log_start: false,
            cut_after_move: None,
            deletions: Vec::new(),
            restate_due: false,
            waits_for_room: false,
            broken: false,
            damage: None,
            suspected: None,
            unsnapshot_bytes: 0,
            waiters: Waiters::default(),
            streams: BTreeMap::new(),
            flush_since: None,
            stood_down: None,
            unflushed_records: 0,
            unflushed_since_ms: 0,
        }
    }

    /// The bounds that everyone may see now.
    pub fn bounds(&self) -> LogBounds {
        match &self.role {
            Role::Leader(leader) => leader.bounds(),
            Role::Follower { machine, .. } => machine.bounds(),
            Role::Idle => self.bounds,
        }
    }

    /// Of an idle replica: the last that it stated a position in.
    pub fn generation(&self) -> StreamGeneration {
        self.generation
    }

    /// ◆ Above every generation that this broker used before, in earlier registrations too.
    pub fn raise_generation(&mut self, least: StreamGeneration) {
        self.generation = self.generation.max(least);
    }

    /// Takes the log for good: the replica is deleted, or the shard ends.
    pub fn take_log(&mut self) -> Option<Log> {
        self.log.take()
    }

    /// Bytes in the log's segments.
    pub fn size_bytes(&self) -> u64 {
        self.log.as_ref().map_or(self.size_away_bytes, Log::size)
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.view.leader_epoch
    }

    /// Who leads, for an error's hint.
    pub fn leader_hint(&self) -> Option<(NodeId, LeaderEpoch)> {
        self.view.leader.map(|leader| (leader, self.view.leader_epoch))
    }

    fn not_leader(&self) -> AppendError {
        AppendError {
            code: ErrorCode::NotLeaderOrFollower,
            leader: self.leader_hint(),
        }
    }

    /// KIP-320: `theirs` against our leader epoch; not sent is fine.
    fn check_epoch(&self, theirs: LeaderEpoch) -> Result<(), AppendError> {
        let ours = self.view.leader_epoch;
        let code = match theirs {
            LeaderEpoch::NONE => return Ok(()),
            theirs if theirs < ours => ErrorCode::FencedLeaderEpoch,
            theirs if theirs > ours => ErrorCode::UnknownLeaderEpoch,
            _ => return Ok(()),
        };
        Err(AppendError {
            code,
            leader: self.leader_hint(),
        })
    }

    fn leader(&self) -> Result<&Leader, AppendError> {
        match &self.role {
            Role::Leader(leader) => Ok(leader),
            _ => Err(self.not_leader()),
        }
    }

    /// Of a replica that leads.
    pub fn leadership(&self) -> Option<Leadership> {
        let bounds = self.leader().ok()?.bounds();
        Some(Leadership {
            epoch: self.view.leader_epoch,
            log_end: bounds.log_end,
        })
    }

    /// Whether this replica leads, and nobody else can have committed anything after it; `silence` is how long a follower may
    /// not have been heard.
    pub fn leads_surely(&self, now: types::Monotonic, silence: std::time::Duration) -> bool {
        let hears = |node| {
            let stream = self.streams.get(&node);
            stream.is_some_and(|stream| now.since(stream.heard()) <= silence)
        };
        self.leader().is_ok_and(|leader| leader.is_confirmed(hears))
    }

    /// Whether its log is with a pool.
    #[cfg(feature = "inspect")]
    pub fn is_away(&self) -> bool {
        self.log.is_none()
    }

    /// Whether this replica is a follower now.
    pub fn follows(&self) -> bool {
        matches!(self.role, Role::Follower { .. })
    }

    /// It waited for room in its directory, and there is some: the newest image is to be looked at again.
    pub fn may_resume(&mut self) -> bool {
        self.waits_for_room && self.log.as_mut().is_some_and(Log::has_room)
    }

    /// A log that is away takes no append, which says why.
    fn has_room(&mut self) -> bool {
        self.log.as_mut().is_none_or(Log::has_room)
    }

    fn is_full(&self) -> bool {
        self.log.as_ref().is_some_and(Log::is_full)
    }

    /// The epochs in the log, for comparing with a peer's.
    fn epochs(&self) -> EpochCache {
        self.log
            .as_ref()
            .map_or_else(EpochCache::new, |log| EpochCache::from(log.epochs()))
    }

    /// Wakes the long poll once, when there may be more to read.
    pub fn wait(&mut self, poll: PollId, waiter: &Arc<Notify>) {
        self.waiters.add(poll, waiter);
    }

    fn wake(&mut self) {
        self.waiters.wake();
    }
}

#[cfg(test)]
mod tests;
