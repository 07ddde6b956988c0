use super::{Partition, Role};
use logstore::{Log, LogError, LogStartMove};
use types::{ErrorCode, LeaderEpoch, Offset, ReplicaIncarnation, TopicPartition};

/// What a log leaves its partition for: its journal entry is durable before a byte of a file changes, and the shard
/// does not wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    TruncateTo(Offset),
    StartOver(Offset),
}

/// Work on a log that waits for the disk, on its way to a pool. Whoever has it gives it back with
/// [`Partition::errand_done`].
pub(crate) struct Errand {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
    pub work: LogWork,
}

pub(crate) enum LogWork {
    /// The partition is without its log meanwhile.
    Cut { cut: Cut, log: Box<Log> },
    /// The partition has its log, and goes on.
    MoveStart(LogStartMove),
}

impl Errand {
    /// Blocking: durable when this returns.
    pub fn run(&mut self) -> Result<(), LogError> {
        match &mut self.work {
            // The log start may have moved since that was decided: then all that is left goes.
            LogWork::Cut {
                cut: Cut::TruncateTo(offset),
                log,
            } => log.truncate_to((*offset).max(log.log_start_offset())),
            LogWork::Cut {
                cut: Cut::StartOver(offset),
                log,
            } => log.truncate_fully_and_start_at(*offset),
            LogWork::MoveStart(moved) => moved.run(),
        }
    }
}

impl Partition {
    /// Sends the log away in the same turn in which its work was decided. ◆ A replica without its log is not promoted:
    /// what a leader said in its epoch is carried out before the next epoch begins here, or never.
    pub(super) fn send_away(&mut self, cut: Cut) {
        if self.moving_log_start {
            self.cut_after_move = Some(cut);
            return;
        }
        let Some(log) = self.log.take() else { return };
        let log = Box::new(log);
        self.size_away_bytes = log.size();
        self.send_errand(LogWork::Cut { cut, log });
    }

    pub(super) fn send_errand(&self, work: LogWork) {
        self.links.send_away(Errand {
            tp: self.tp,
            incarnation: self.incarnation,
            work,
        });
    }

    /// The work is done. The caller looks at the image again, for it may have moved on, and states the position if
    /// [`Partition::take_restate`] says so.
    pub fn errand_done(&mut self, errand: Errand, outcome: Result<(), LogError>) {
        let (cut, mut log) = match errand.work {
            LogWork::MoveStart(moved) => return self.log_start_moved(&moved, outcome),
            LogWork::Cut { cut, log } => (cut, *log),
        };
        for flushed in self.late_flushes.drain(..) {
            log.finish_flush(&flushed);
        }
        log.set_config(self.rules.log);
        self.log = Some(log);
        if let Err(error) = outcome {
            tracing::error!(topic = self.topic, partition = self.tp.partition, ?cut, %error, "the log refuses to be cut");
            self.become_idle(ErrorCode::KafkaStorageError);
            return;
        }
        self.was_cut(cut);
        // A result that came meanwhile was not acted upon, and a cut is made durable like an append.
        self.settle_durable();
    }

    fn was_cut(&mut self, cut: Cut) {
        self.drop_unappended();
        self.log_start_wanted = Offset::ZERO;
        let (log_end, last_epoch) = self.log.as_ref().map_or((Offset::ZERO, LeaderEpoch::NONE), |log| {
            (log.log_end_offset(), log.last_epoch())
        });
        tracing::info!(topic = self.topic, partition = self.tp.partition, ?cut, %log_end, "cut");
        let committed = self.bounds().high_watermark;
        if matches!(cut, Cut::TruncateTo(_)) && log_end < committed {
            tracing::error!(topic = self.topic, partition = self.tp.partition, %log_end, high_watermark = %committed,
                "records that were committed are gone: the leader does not have them. An unclean election does this, or a defect");
        }
        if matches!(cut, Cut::StartOver(_)) {
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
}
