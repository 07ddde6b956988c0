//! One broker's shell around the cores: a log in memory with a durable mark, and a role.

use records::BatchHeader;
use replica::{EpochCache, Follower, FollowerAction, HelloAnswer, Leader, LogBounds, PartitionView, first_generation};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{
    BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, ProducerEpoch, ProducerId, StreamGeneration, TopicId,
    TopicPartition,
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
}

pub enum Role {
    Leader {
        core: Box<Leader>,
        sending: BTreeMap<NodeId, Sending>,
    },
    Follower(Box<Follower>),
}

pub struct Node {
    pub id: NodeId,
    pub up: bool,
    pub broker_epoch: BrokerEpoch,
    pub log: Vec<Entry>,
    pub durable: usize,
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
            durable: 0,
            checkpoint: 0,
            role: None,
            view: None,
            generation: first_generation(BrokerEpoch(1)),
        }
    }

    pub fn epochs(&self) -> EpochCache {
        let mut cache = EpochCache::new();
        for (at, entry) in self.log.iter().enumerate() {
            cache.assign(entry.epoch, offset(at));
        }
        if let Some(Role::Leader { core, .. }) = &self.role {
            cache.assign(core.leader_epoch(), core.epoch_start());
        }
        cache
    }

    pub fn last_epoch(&self) -> LeaderEpoch {
        self.log.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
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
                Offset(0),
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
        let bounds = LogBounds {
            log_start: Offset(0),
            high_watermark,
            durable: offset(self.durable),
            log_end: offset(self.log.len()),
        };
        let tp = TopicPartition {
            topic: TopicId::default(),
            partition: 0,
        };
        self.role = Some(if view.leader == Some(self.id) {
            let core = Leader::new(tp, self.id, view.clone(), bounds, Duration::from_millis(200), now);
            Role::Leader {
                core: Box::new(core),
                sending: BTreeMap::new(),
            }
        } else {
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
        let cache = self.epochs();
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
                    let last = self.last_epoch();
                    let Some(Role::Follower(core)) = &mut self.role else {
                        return false;
                    };
                    core.on_truncated(to, last);
                    hello = true;
                }
                FollowerAction::StartOver { at } => {
                    assert_eq!(at, Offset(0), "nothing is ever deleted here");
                    self.log.clear();
                    self.durable = 0;
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
                    core.on_appended(next, last_epoch);
                }
                FollowerAction::Restate => hello = true,
                FollowerAction::Ready
                | FollowerAction::AssignEpoch { .. }
                | FollowerAction::AdvanceHighWatermark { .. }
                | FollowerAction::AdvanceLogStart { .. } => {}
            }
        }
        hello
    }
}
