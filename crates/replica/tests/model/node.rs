//! One broker's shell around the cores: a log in memory with a durable mark, and a role.

use records::BatchHeader;
use replica::{EpochCache, Follower, FollowerAction, HelloAnswer, Leader, LogBounds, PartitionView, first_generation};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{
    Broken, BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, ProducerEpoch, ProducerId, StreamGeneration, TopicId,
    TopicPartition, broken,
};

/// A record, alone in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub epoch: LeaderEpoch,
    pub id: u32,
}

/// Where the leader is in sending to one follower.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    pub generation: StreamGeneration,
    pub next: usize,
    /// Epoch of what stands before `next` at the follower.
    pub previous: LeaderEpoch,
}

pub enum Role {
    Leader {
        core: Box<Leader>,
        sending: BTreeMap<NodeId, Sending>,
    },
    Follower(Box<Follower>),
}

/// In the place of what was deleted before a log came there.
const DELETED: Entry = Entry {
    epoch: LeaderEpoch::NONE,
    id: u32::MAX,
};

pub struct Node {
    pub id: NodeId,
    pub up: bool,
    pub broker_epoch: BrokerEpoch,
    /// From offset 0; what lies below `log_start` counts for nothing.
    pub log: Vec<Entry>,
    /// Durable.
    pub log_start: usize,
    /// Where the log is to start as soon as the disk has done it.
    pub start_wanted: usize,
    pub durable: usize,
    /// Durable.
    pub epochs: EpochCache,
    /// High watermark as last checkpointed.
    pub checkpoint: i64,
    pub role: Option<Role>,
    pub view: Option<PartitionView>,
    generation: StreamGeneration,
}

pub fn offset(index: usize) -> Offset {
    Offset(i64::try_from(index).expect("small"))
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset.0).expect("positive")
}

pub fn header(at: usize, entry: Entry) -> BatchHeader {
    BatchHeader {
        base_offset: offset(at),
        batch_length: 49,
        leader_epoch: entry.epoch,
        magic: 2,
        crc: entry.id,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: -1,
        record_count: 1,
    }
}

impl Node {
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            up: true,
            broker_epoch: BrokerEpoch(1),
            log: Vec::new(),
            log_start: 0,
            start_wanted: 0,
            durable: 0,
            epochs: EpochCache::new(),
            checkpoint: 0,
            role: None,
            view: None,
            generation: first_generation(BrokerEpoch(1)),
        }
    }

    pub fn last_epoch(&self) -> LeaderEpoch {
        let left = &self.log[self.log_start..];
        left.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
    }

    /// Whether it has everything that was committed and not deleted, as far as `end`.
    pub fn holds(&self, committed: &[Entry], end: usize) -> bool {
        end >= committed.len() && self.log.get(self.log_start..committed.len()) == committed.get(self.log_start..)
    }

    /// Power is lost, and `kept` records are left.
    pub fn lose_tail(&mut self, kept: usize) {
        self.up = false;
        self.role = None;
        self.log.truncate(kept);
        self.log.resize(self.log.len().max(self.log_start), DELETED);
        self.durable = self.durable.max(self.log_start);
        // One that starts where the log ends stays.
        self.epochs.truncate_from_end(offset(self.log.len() + 1));
    }

    /// The disk has moved the log's start; true if it did.
    pub fn move_start(&mut self) -> bool {
        let to = self.high_watermark().map_or(0, index).min(self.start_wanted);
        if to <= self.log_start {
            return false;
        }
        self.log_start = to;
        self.epochs.truncate_from_start(offset(to));
        match &mut self.role {
            Some(Role::Leader { core, .. }) => core.on_log_start(offset(to)),
            Some(Role::Follower(core)) => core.on_log_start(offset(to)),
            None => {}
        }
        true
    }

    pub fn high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Some(Role::Leader { core, .. }) => Some(core.high_watermark()),
            Some(Role::Follower(core)) => Some(core.high_watermark()),
            None => None,
        }
    }

    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        match &self.role {
            Some(Role::Leader { core, .. }) => Some(core.leader_epoch()),
            Some(Role::Follower(core)) => Some(core.leader_epoch()),
            None => None,
        }
    }

    /// Takes the role that the view gives, in a new leader epoch.
    pub fn take_role(&mut self, view: PartitionView, now: Monotonic) {
        let high_watermark = self.high_watermark().unwrap_or_else(|| {
            let bounds = LogBounds::recovered(
                offset(self.log_start),
                Offset(self.checkpoint),
                offset(self.durable),
                offset(self.log.len()),
            );
            bounds.high_watermark
        });
        if let Some(Role::Follower(core)) = &self.role {
            self.generation = core.generation();
        }
        self.generation = StreamGeneration(self.generation.0 + 1);
        self.start_wanted = self.log_start;
        let bounds = LogBounds {
            log_start: offset(self.log_start),
            high_watermark,
            durable: offset(self.durable),
            log_end: offset(self.log.len()),
        };
        let tp = TopicPartition {
            topic: TopicId::default(),
            partition: 0,
        };
        self.role = Some(if view.leader == Some(self.id) {
            self.epochs.assign(view.leader_epoch, offset(self.log.len()));
            let core = Leader::new(tp, self.id, view.clone(), bounds, Duration::from_millis(200), now);
            Role::Leader {
                core: Box::new(core),
                sending: BTreeMap::new(),
            }
        } else {
            // As `Log::forget_empty_epochs`.
            if !broken(Broken::KeepEmptyEpochs) {
                self.epochs.truncate_from_end(offset(self.log.len()));
            }
            let last = self.last_epoch();
            Role::Follower(Box::new(Follower::new(
                tp,
                self.id,
                &view,
                bounds,
                last,
                self.generation,
                now,
            )))
        });
        self.view = Some(view);
    }

    /// The process starts again: what it knew is gone, its generations begin above all earlier ones.
    pub fn restart(&mut self, broker_epoch: BrokerEpoch) {
        self.up = true;
        self.broker_epoch = broker_epoch;
        self.generation = first_generation(broker_epoch);
    }

    pub fn flushed(&mut self, durable: usize, now: Monotonic) -> Vec<replica::Action> {
        self.durable = durable;
        match &mut self.role {
            Some(Role::Leader { core, .. }) => core.on_durable(offset(durable), now),
            Some(Role::Follower(core)) => {
                core.on_durable(offset(durable));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// An answer to this follower's hello; true if a new hello is due.
    pub fn answered(&mut self, generation: StreamGeneration, answer: &HelloAnswer) -> bool {
        let cache = self.epochs.clone();
        let end = offset(self.log.len());
        let Some(Role::Follower(core)) = &mut self.role else {
            return false;
        };
        if core.generation() != generation {
            return false;
        }
        let actions = core.on_answer(answer, &cache.of_log(end));
        self.perform(actions, &[])
    }

    /// Performs a follower's actions; true if a new hello is due.
    pub fn perform(&mut self, actions: Vec<FollowerAction>, batches: &[BatchHeader]) -> bool {
        let mut hello = false;
        for action in actions {
            match action {
                FollowerAction::Truncate { to } => {
                    self.log.truncate(index(to));
                    self.durable = self.durable.min(self.log.len());
                    self.epochs.truncate_from_end(to);
                    let last = self.last_epoch();
                    let Some(Role::Follower(core)) = &mut self.role else {
                        return false;
                    };
                    core.on_truncated(to, last);
                    hello = true;
                }
                FollowerAction::StartOver { at } => {
                    self.log.clear();
                    self.log.resize(index(at), DELETED);
                    self.epochs = EpochCache::new();
                    (self.durable, self.log_start, self.start_wanted) = (index(at), index(at), index(at));
                    let Some(Role::Follower(core)) = &mut self.role else {
                        return false;
                    };
                    core.on_truncated(at, LeaderEpoch::NONE);
                    hello = true;
                }
                FollowerAction::Append { next, last_epoch, .. } => {
                    self.log.extend(batches.iter().map(|b| Entry {
                        epoch: b.leader_epoch,
                        id: b.crc,
                    }));
                    let Some(Role::Follower(core)) = &mut self.role else {
                        return false;
                    };
                    let more = core.on_appended(next, last_epoch);
                    self.perform(more, &[]);
                }
                FollowerAction::Restate => hello = true,
                FollowerAction::AssignEpoch { epoch, start } => {
                    self.epochs.assign(epoch, start);
                }
                FollowerAction::AdvanceLogStart { to } => self.start_wanted = self.start_wanted.max(index(to)),
                FollowerAction::Ready | FollowerAction::AdvanceHighWatermark { .. } => {}
            }
        }
        hello
    }
}
