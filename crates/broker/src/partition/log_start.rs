//! Where the log starts: retention and DeleteRecords on the leader; followers do as the leader did.

use super::errand::LogWork;
use super::{Partition, Role};
use crate::data::AppendError;
use crate::links::mark_all;
use logstore::{LogError, LogStartMove};
use tokio::sync::oneshot;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// Where the answer to one DeleteRecords goes: the low watermark.
pub(crate) type DeletionReply = oneshot::Sender<Result<Offset, AppendError>>;

/// A DeleteRecords that waits until every live replica's log starts at `offset` or later.
pub(super) struct Deletion {
    offset: Offset,
    reply: DeletionReply,
}

/// DeleteRecords' name for the high watermark.
const HIGH_WATERMARK: Offset = Offset(-1);

impl Partition {
    /// Deletes what is below `offset`; −1 means the high watermark. The reply comes when every live replica has done so.
    pub fn delete_records(&mut self, offset: Offset, reply: DeletionReply) {
        match self.deletable(offset) {
            Ok(offset) => {
                // Those whose time is over.
                self.deletions.retain(|deletion| !deletion.reply.is_closed());
                self.deletions.push(Deletion { offset, reply });
                self.advance_log_start(offset);
                self.answer_deletions();
            }
            // Nobody listens any more if the connection is gone. The same holds for every reply below.
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Kafka's `Partition.deleteRecordsOnLeader`.
    fn deletable(&self, offset: Offset) -> Result<Offset, AppendError> {
        let high_watermark = self.leader()?.high_watermark();
        let refuse = |code| AppendError {
            code,
            leader: self.leader_hint(),
        };
        if !self.rules.log.delete {
            return Err(refuse(ErrorCode::PolicyViolation));
        }
        match offset {
            HIGH_WATERMARK => Ok(high_watermark),
            offset if offset < Offset::ZERO || offset > high_watermark => Err(refuse(ErrorCode::OffsetOutOfRange)),
            offset => Ok(offset),
        }
    }

    /// Deletes whole segments that are too old or too many by the topic's retention. Only the leader decides.
    pub fn enforce_retention(&mut self) {
        let (Role::Leader(leader), Some(log)) = (&self.role, &self.log) else {
            return;
        };
        let wall_ms = self.links.host.wall_ms();
        if let Some(start) = log.retention_start(leader.high_watermark(), wall_ms) {
            tracing::info!(topic = self.topic, partition = self.tp.partition, log_start = %log.log_start_offset(), new_log_start = %start,
                retention_ms = self.rules.log.retention_ms, retention_bytes = self.rules.log.retention_bytes,
                "deleting segments that are beyond the topic's retention");
            self.advance_log_start(start);
        }
    }

    /// Everything below `to` is to be deleted, as far as it is committed here. One move is under way at a time; the log
    /// stays and works meanwhile.
    pub(super) fn advance_log_start(&mut self, to: Offset) {
        self.log_start_wanted = self.log_start_wanted.max(to);
        if self.moving_log_start || matches!(self.role, Role::Idle) {
            return;
        }
        let to = self.log_start_wanted.min(self.bounds().high_watermark);
        let Some(log) = self.log.as_ref() else { return };
        match log.begin_log_start(to) {
            Ok(None) => {}
            Ok(Some(moved)) => {
                self.moving_log_start = true;
                self.send_errand(LogWork::MoveStart(moved));
            }
            Err(error) => self.log_start_stuck(&error),
        }
    }

    fn log_start_stuck(&mut self, error: &LogError) {
        let code = self.log_failed(error).code;
        self.become_idle(code);
    }

    /// A move is durable: the log follows it.
    pub(super) fn log_start_moved(&mut self, moved: &LogStartMove, outcome: Result<(), LogError>) {
        self.moving_log_start = false;
        let Some(log) = self.log.as_mut() else { return };
        let start = match outcome.and_then(|()| log.finish_log_start(moved)) {
            Ok(()) => log.log_start_offset(),
            Err(error) => return self.log_start_stuck(&error),
        };
        match &mut self.role {
            Role::Leader(leader) => {
                leader.on_log_start(start);
                // Followers learn it with the next frame.
                mark_all(self.streams.values(), self.tp);
                self.answer_deletions();
            }
            Role::Follower { machine } => machine.on_log_start(start),
            Role::Idle => self.bounds = self.log_bounds().unwrap_or(self.bounds),
        }
        // The segment that rolled, if nothing is left.
        self.flush_if_due(self.links.host.wall_ms());
        match self.cut_after_move.take() {
            Some(cut) => self.send_away(cut),
            None => self.advance_log_start(self.log_start_wanted),
        }
    }

    /// Answers each DeleteRecords that every live replica has carried out.
    pub(super) fn answer_deletions(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if self.deletions.is_empty() {
            return;
        }
        let Some(low_watermark) = leader.low_watermark() else {
            return;
        };
        for deletion in std::mem::take(&mut self.deletions) {
            if deletion.offset <= low_watermark {
                let _ = deletion.reply.send(Ok(low_watermark));
            } else {
                self.deletions.push(deletion);
            }
        }
    }

    pub(super) fn fail_deletions(&mut self, code: ErrorCode, leader: Option<(NodeId, LeaderEpoch)>) {
        for deletion in self.deletions.drain(..) {
            let _ = deletion.reply.send(Err(AppendError { code, leader }));
        }
    }
}
