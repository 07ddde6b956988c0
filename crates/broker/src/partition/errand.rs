use super::{Partition, Role};
use logstore::{Log, LogError};
use types::{ErrorCode, LeaderEpoch, Offset, ReplicaIncarnation, TopicPartition};

/// What a log leaves its partition for: its journal entry is durable before a byte of a file changes, and the shard
/// does not wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogWork {
    TruncateTo(Offset),
    StartOver(Offset),
    LogStart(Offset),
}

/// A log on its way to a pool. Whoever has it gives it back with [`Partition::errand_done`].
pub(crate) struct Errand {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
    pub work: LogWork,
    pub log: Log,
}

impl Errand {
    /// Blocking: durable when this returns.
    pub fn run(&mut self) -> Result<(), LogError> {
        match self.work {
            LogWork::TruncateTo(offset) => self.log.truncate_to(offset),
            LogWork::StartOver(offset) => self.log.truncate_fully_and_start_at(offset),
            LogWork::LogStart(offset) => self.log.increment_log_start(offset),
        }
    }
}

impl Partition {
    /// Sends the log away in the same turn in which its work was decided. ◆ A replica without its log is not promoted:
    /// what a leader said in its epoch is carried out before the next epoch begins here, or never.
    pub(super) fn send_away(&mut self, work: LogWork) {
        let Some(log) = self.log.take() else { return };
        self.links.send_away(Errand {
            tp: self.tp,
            incarnation: self.incarnation,
            work,
            log,
        });
    }

    /// The log is back. The caller looks at the image again, for it may have moved on, and states the position if
    /// [`Partition::take_restate`] says so.
    pub fn errand_done(&mut self, errand: Errand, outcome: Result<(), LogError>) {
        let Errand { work, mut log, .. } = errand;
        for flushed in self.late_flushes.drain(..) {
            log.finish_flush(&flushed);
        }
        log.set_config(self.rules.log);
        self.log = Some(log);
        if let Err(error) = outcome {
            tracing::error!(topic = self.topic, partition = self.tp.partition, ?work, %error, "the log refuses to be cut");
            self.become_idle(ErrorCode::KafkaStorageError);
            return;
        }
        match work {
            LogWork::TruncateTo(_) | LogWork::StartOver(_) => self.was_cut(work),
            LogWork::LogStart(_) => self.log_start_moved(),
        }
        // A result that came meanwhile was not acted upon, and a cut is made durable like an append.
        self.settle_durable();
    }

    fn was_cut(&mut self, work: LogWork) {
        self.drop_unappended();
        self.log_start_wanted = Offset::ZERO;
        let (log_end, last_epoch) = self.log.as_ref().map_or((Offset::ZERO, LeaderEpoch::NONE), |log| {
            (log.log_end_offset(), log.last_epoch())
        });
        tracing::info!(topic = self.topic, partition = self.tp.partition, ?work, %log_end, "cut");
        if matches!(work, LogWork::StartOver(_)) {
            self.producers.clear();
            self.producers_incomplete = false;
        } else if !self.producers.truncate(log_end) {
            self.producers_incomplete = true;
            self.rebuild_producers_if_needed();
        }
        if let Role::Follower { machine, .. } = &mut self.role {
            machine.on_truncated(log_end, last_epoch);
            self.restate_due = true;
        }
        self.bounds = match self.role {
            Role::Idle => self.log_bounds().unwrap_or(self.bounds),
            _ => self.bounds(),
        };
    }

    fn log_start_moved(&mut self) {
        let Some(start) = self.log.as_ref().map(Log::log_start_offset) else {
            return;
        };
        if let Role::Follower { machine, .. } = &mut self.role {
            machine.on_log_start(start);
            // What came while the log was away.
            self.resume_entries();
        }
        self.advance_log_start(self.log_start_wanted);
    }

    fn settle_durable(&mut self) {
        let Some(durable) = self.log.as_ref().map(Log::durable_offset) else {
            return;
        };
        match &mut self.role {
            Role::Follower { machine, .. } => machine.on_durable(durable),
            Role::Idle => self.bounds.durable = durable.min(self.bounds.log_end),
            Role::Leader(_) => {}
        }
        self.flush_if_due(self.links.host.wall_ms());
    }

    /// The leader deleted everything below `to`; so do we, as far as that is committed here.
    pub(super) fn advance_log_start(&mut self, to: Offset) {
        self.log_start_wanted = self.log_start_wanted.max(to);
        let Role::Follower { machine, .. } = &self.role else {
            return;
        };
        let to = self.log_start_wanted.min(machine.high_watermark());
        if self.log.as_ref().is_some_and(|log| log.log_start_offset() < to) {
            self.send_away(LogWork::LogStart(to));
        }
    }
}
