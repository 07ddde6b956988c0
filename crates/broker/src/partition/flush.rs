use super::{Partition, Role};
use crate::links::FlushResult;
use replica::Durability;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, Monotonic};

/// A relaxed topic that sets no `flush.ms` is flushed this often, so that little is read again after a crash.
const BACKGROUND_FLUSH_MS: i64 = 5_000;

impl Partition {
    /// Starts a flush if the topic's rules ask for one now and none is out. All that comes meanwhile rides on the next.
    pub(super) fn flush_if_due(&mut self, wall_ms: i64) {
        let due = match self.rules.durability {
            Durability::Strict => true,
            Durability::Relaxed => {
                let age = wall_ms.saturating_sub(self.unflushed_since_ms);
                self.unflushed_records >= self.rules.flush_messages
                    || (self.unflushed_records > 0 && age >= self.rules.flush_ms.min(BACKGROUND_FLUSH_MS))
            }
        };
        if due {
            self.flush();
        }
    }

    /// Starts a flush of everything that is not durable, unless one is out.
    pub fn flush(&mut self) {
        if let Some(job) = self.log.as_mut().and_then(logstore::Log::begin_flush) {
            self.flush_since = Some(self.links.host.now());
            self.unflushed_records = 0;
            self.links.flush(self.directory, self.incarnation, job);
        }
    }

    /// A flush is done. On followers the caller acknowledges afterwards.
    pub fn flushed(&mut self, result: FlushResult, now: Monotonic) {
        if result.incarnation != self.incarnation {
            return;
        }
        self.flush_since = None;
        self.stood_down = None;
        let flushed = match result.outcome {
            Ok(flushed) => flushed,
            Err(error) => {
                tracing::error!(topic = self.topic, partition = self.tp.partition, leader_epoch = %self.view.leader_epoch, ?error, "a flush failed: this replica leads and acknowledges nothing more");
                self.become_idle(ErrorCode::KafkaStorageError);
                return;
            }
        };
        let Some(log) = self.log.as_mut() else {
            self.late_flushes.push(flushed);
            return;
        };
        log.finish_flush(&flushed);
        let durable = log.durable_offset();
        match &mut self.role {
            Role::Leader(leader) => {
                let actions = leader.on_durable(durable, now);
                self.perform(actions);
                self.drain(now);
            }
            Role::Follower { machine, .. } => {
                machine.on_durable(durable);
                self.resume_entries();
            }
            Role::Idle => self.bounds.durable = durable.min(self.bounds.log_end),
        }
        // What arrived while the flush was under way.
        let epoch_waits = self
            .log
            .as_ref()
            .is_some_and(|log| log.epoch_durable() != log.epochs().last().map(|(epoch, _)| *epoch));
        if self.rules.durability == Durability::Strict || epoch_waits {
            self.flush();
        }
    }

    /// Every half second or so.
    pub fn tick(&mut self, now: Monotonic, wall_ms: i64) {
        if let Role::Leader(leader) = &mut self.role {
            let actions = leader.on_tick(now);
            self.perform(actions);
        }
        if self.is_full() {
            // What is left of a failed append may have to be cut off durably.
            self.flush();
        } else if self.rules.durability == Durability::Relaxed {
            self.flush_if_due(wall_ms);
        }
        self.producers.expire(wall_ms);
    }

    /// Whether ticks change nothing here before somebody does something: everything is written where it should be, known to
    /// everybody, and nothing is asked of the controller. Producers are forgotten later, where all partitions are looked at.
    pub fn is_at_rest(&self) -> bool {
        let acts = match &self.role {
            Role::Leader(leader) => !leader.is_at_rest(),
            Role::Follower { .. } | Role::Idle => false,
        };
        let waits = self.waits_for_room || self.is_full() || self.damage.is_some() || self.log.is_none();
        let flushes = self.flush_since.is_some() || self.unflushed_records > 0;
        !(acts || waits || flushes)
    }

    /// A flush has been out for longer than `limit`, queueing for its round included.
    pub fn flush_stalls(&self, now: Monotonic, limit: Duration) -> bool {
        self.flush_since.is_some_and(|since| now.since(since) > limit)
    }

    /// Takes no records until the flush that is out has ended or another leader epoch has begun, and sends away who waits:
    /// another may lead by now, of which this node cannot hear where its metadata is on the same disk.
    pub fn stand_down(&mut self) {
        self.stood_down = Some(self.view.leader_epoch);
        self.fail_waiting(ErrorCode::KafkaStorageError, None);
    }

    pub(super) fn stands_down(&self) -> bool {
        self.stood_down == Some(self.view.leader_epoch)
    }

    /// Whether this replica leads and has for longer than `limit`, and in which leader epoch.
    pub fn led_for(&self, now: Monotonic, limit: Duration) -> Option<LeaderEpoch> {
        match &self.role {
            Role::Leader(leader) if now.since(leader.since()) > limit => Some(leader.leader_epoch()),
            _ => None,
        }
    }

    /// Bookkeeping of every few seconds: the high watermark's checkpoint, and a producer snapshot if much was written
    /// since the last. Neither is needed for safety. True if files were written that a flush makes count.
    pub fn checkpoint(&mut self, snapshot_bytes: usize) -> bool {
        let high_watermark = self.bounds().high_watermark;
        let Some(log) = self.log.as_mut() else { return false };
        log.checkpoint_high_watermark(high_watermark);
        log.rest();
        if self.unsnapshot_bytes <= snapshot_bytes || log.is_offline() || self.producers_incomplete {
            return false;
        }
        self.unsnapshot_bytes = 0;
        if let Err(error) =
            log.write_producer_snapshot(log.log_end_offset(), &crate::recovered::snapshot(&self.producers))
        {
            tracing::warn!(topic = self.topic, partition = self.tp.partition, %error, "no producer snapshot");
        }
        // A restart reads what comes after these two.
        match log.checkpoint_index() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(topic = self.topic, partition = self.tp.partition, %error, "no index checkpoint");
                false
            }
        }
    }

    /// Everything that this replica took is on disk, and its log is whole.
    pub fn is_clean(&self) -> bool {
        self.flush_since.is_none()
            && self.log.as_ref().is_some_and(|log| {
                !log.is_offline() && log.corrupt_at().is_none() && log.durable_offset() == log.log_end_offset()
            })
    }

    /// Nothing more is to be waited for: clean, or it will not be.
    pub fn is_settled(&self) -> bool {
        self.is_clean()
            || self
                .log
                .as_ref()
                .is_none_or(|log| log.is_offline() || log.corrupt_at().is_some())
    }
}
