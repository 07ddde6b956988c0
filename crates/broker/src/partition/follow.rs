use super::{Partition, Role};
use bytes::Bytes;
use logstore::{Log, LogError};
use records::{BatchHeader, split_batches, verify_crc};
use replica::{EntryHeader, FollowerAck, FollowerAction, FollowerHello, HelloAnswer};
use std::collections::VecDeque;
use types::{BrokerEpoch, LeaderEpoch, Offset, StreamGeneration};

/// What a message of the leader asks of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    Nothing,
    /// Acknowledge now.
    Ack,
    /// State the position anew.
    Restate,
    /// Take the log to a pool and cut it there, then call [`Partition::cut_done`] and state the position.
    Cut(Cut),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    To(Offset),
    StartAt(Offset),
}

/// An append that waits for its epoch's start to be durable.
pub(super) struct Held {
    actions: VecDeque<FollowerAction>,
    batches: Bytes,
}

impl Cut {
    /// Blocking: the truncation is durable when this returns.
    pub fn run(self, log: &mut Log) -> Result<(), LogError> {
        match self {
            Self::To(offset) => log.truncate_to(offset),
            Self::StartAt(offset) => log.truncate_fully_and_start_at(offset),
        }
    }
}

impl Partition {
    /// What to tell the leader first, if this replica follows and its log is here.
    pub fn hello(&self, broker_epoch: BrokerEpoch) -> Option<FollowerHello> {
        match &self.role {
            Role::Follower { machine, .. } if self.log.is_some() => Some(machine.hello(broker_epoch)),
            _ => None,
        }
    }

    /// The stream broke: frames of the old one count no more.
    pub fn reopen(&mut self) {
        if let Role::Follower { machine, .. } = &mut self.role {
            machine.reopen();
        }
        self.drop_unappended();
    }

    pub fn ack(&self) -> Option<FollowerAck> {
        match &self.role {
            Role::Follower { machine, .. } if machine.is_following() => Some(machine.ack()),
            _ => None,
        }
    }

    /// The leader answered our position.
    pub fn answered(&mut self, generation: StreamGeneration, answer: &HelloAnswer) -> Followed {
        let epochs = self.epochs();
        let Some(log_end) = self.log.as_ref().map(Log::log_end_offset) else {
            return Followed::Nothing;
        };
        let Role::Follower { machine, .. } = &mut self.role else {
            return Followed::Nothing;
        };
        // An answer to what we no longer say.
        if generation != machine.generation() {
            return Followed::Nothing;
        }
        let actions = machine.on_answer(answer, &epochs.of_log(log_end));
        self.perform_follower(actions.into(), Bytes::new())
    }

    /// An entry of a frame: ◆ continuity, digest, every CRC and every epoch are checked before a byte is written.
    pub fn entry(&mut self, header: EntryHeader, batches: Bytes) -> Followed {
        if self.log.is_none() || !matches!(self.role, Role::Follower { .. }) {
            return Followed::Nothing;
        }
        self.inbox.push_back((header, batches));
        self.take_entries()
    }

    /// Takes entries until one must wait for the disk.
    fn take_entries(&mut self) -> Followed {
        let mut outcome = Followed::Nothing;
        while self.held.is_none()
            && let Some((header, batches)) = self.inbox.pop_front()
        {
            match self.take_entry(&header, batches) {
                Followed::Nothing => {}
                Followed::Ack => outcome = Followed::Ack,
                other => return other,
            }
        }
        outcome
    }

    fn take_entry(&mut self, header: &EntryHeader, batches: Bytes) -> Followed {
        let mut headers: Vec<BatchHeader> = Vec::new();
        for batch in split_batches(&batches) {
            match batch {
                Ok(batch) if verify_crc(&batch.bytes) => headers.push(batch.header),
                _ => {
                    tracing::error!(
                        topic = self.topic,
                        partition = self.tp.partition,
                        "a batch from the leader is damaged: asking for it again"
                    );
                    self.reopen();
                    return Followed::Restate;
                }
            }
        }
        let Role::Follower { machine, .. } = &mut self.role else {
            return Followed::Nothing;
        };
        match machine.on_entry(header, &headers) {
            Ok(actions) => self.perform_follower(actions.into(), batches),
            Err(error) => {
                tracing::warn!(topic = self.topic, partition = self.tp.partition, %error, "an entry from the leader is refused");
                self.reopen();
                Followed::Restate
            }
        }
    }

    /// A flush ended: an append that waited for its epoch's start may go on. What it wrote is acknowledged by the
    /// caller.
    pub(super) fn resume_entries(&mut self) {
        let Some(Held { actions, batches }) = self.held.take() else {
            return;
        };
        let outcome = self.perform_follower(actions, batches);
        let later = if outcome == Followed::Restate {
            Followed::Restate
        } else {
            self.take_entries()
        };
        if later == Followed::Restate || outcome == Followed::Restate {
            self.restate_due = true;
        }
    }

    /// What came and was not appended counts no more.
    pub(super) fn drop_unappended(&mut self) {
        self.held = None;
        self.inbox.clear();
    }

    /// Whether a position must be stated since the last call, beside what was answered.
    pub fn take_restate(&mut self) -> bool {
        std::mem::take(&mut self.restate_due)
    }

    fn perform_follower(&mut self, mut actions: VecDeque<FollowerAction>, batches: Bytes) -> Followed {
        let wall_ms = self.links.host.wall_ms();
        let mut outcome = Followed::Nothing;
        while let Some(action) = actions.pop_front() {
            match action {
                FollowerAction::Truncate { to } => return Followed::Cut(Cut::To(to)),
                FollowerAction::StartOver { at } => return Followed::Cut(Cut::StartAt(at)),
                FollowerAction::Ready => outcome = Followed::Ack,
                FollowerAction::Restate => {
                    self.drop_unappended();
                    outcome = Followed::Restate;
                }
                FollowerAction::AssignEpoch { epoch, start } => {
                    if let Some(log) = self.log.as_mut() {
                        log.assign_epoch(epoch, start);
                    }
                }
                FollowerAction::Append {
                    first,
                    next,
                    last_epoch,
                    max_timestamp,
                } => {
                    // ◆ An epoch's start is on disk before the first append in it.
                    let durable = self.log.as_ref().and_then(Log::epoch_durable);
                    if durable.is_none_or(|durable| durable < last_epoch) {
                        actions.push_front(action);
                        self.held = Some(Held { actions, batches });
                        self.flush();
                        return outcome;
                    }
                    if !self.append_from_leader(&batches, first, next, max_timestamp, wall_ms) {
                        return Followed::Nothing;
                    }
                    let Role::Follower { machine, .. } = &mut self.role else {
                        return Followed::Nothing;
                    };
                    let more = machine.on_appended(next, last_epoch);
                    self.flush_if_due(wall_ms);
                    self.note_high_watermark(&more);
                    // Of a strict topic the durable position counts; the log end is told at once all the same, for it
                    // opens the leader's window.
                    outcome = Followed::Ack;
                }
                FollowerAction::AdvanceHighWatermark { .. } => self.wake(),
                FollowerAction::AdvanceLogStart { to } => self.advance_log_start(to),
            }
        }
        outcome
    }

    fn note_high_watermark(&mut self, actions: &[FollowerAction]) {
        for action in actions {
            match action {
                FollowerAction::AdvanceHighWatermark { .. } => self.wake(),
                FollowerAction::AdvanceLogStart { to } => self.advance_log_start(*to),
                _ => {}
            }
        }
    }

    fn append_from_leader(
        &mut self,
        batches: &Bytes,
        first: Offset,
        next: Offset,
        max_timestamp: i64,
        wall_ms: i64,
    ) -> bool {
        let Some(log) = self.log.as_mut() else { return false };
        if let Err(error) = log.append(batches.clone(), first, next, max_timestamp, wall_ms) {
            tracing::error!(topic = self.topic, partition = self.tp.partition, %error, "the log refuses what the leader sent");
            self.become_idle(types::ErrorCode::KafkaStorageError);
            return false;
        }
        self.unsnapshot_bytes += batches.len();
        let mut records = 0;
        for batch in split_batches(batches).flatten() {
            self.producers.update(&batch.header, wall_ms);
            records += i64::from(batch.header.record_count);
        }
        self.note_unflushed(records, wall_ms);
        true
    }

    fn advance_log_start(&mut self, to: Offset) {
        let Some(log) = self.log.as_mut() else { return };
        if let Err(error) = log.increment_log_start(to) {
            tracing::warn!(topic = self.topic, partition = self.tp.partition, %error, "the log start does not move");
            return;
        }
        let start = log.log_start_offset();
        if let Role::Follower { machine, .. } = &mut self.role {
            machine.on_log_start(start);
        }
    }

    /// The log is back, cut.
    pub fn cut_done(&mut self, log: Log, cut: Cut, outcome: Result<(), LogError>) {
        self.give_back(log);
        self.drop_unappended();
        if let Err(error) = outcome {
            tracing::error!(topic = self.topic, partition = self.tp.partition, %error, "the log cannot be cut");
            self.become_idle(types::ErrorCode::KafkaStorageError);
            return;
        }
        let (log_end, last_epoch) = self.log.as_ref().map_or((Offset::ZERO, LeaderEpoch::NONE), |log| {
            (log.log_end_offset(), log.last_epoch())
        });
        tracing::info!(topic = self.topic, partition = self.tp.partition, ?cut, %log_end, "truncated to agree with the leader");
        if matches!(cut, Cut::StartAt(_)) {
            self.producers.clear();
        } else if !self.producers.truncate(log_end) {
            self.producers_incomplete = true;
            self.rebuild_producers_if_needed();
        }
        if let Role::Follower { machine, .. } = &mut self.role {
            machine.on_truncated(log_end, last_epoch);
        }
        self.bounds = self.bounds();
    }

    /// Reads producer states again from the newest snapshot and the log behind it.
    pub(super) fn rebuild_producers_if_needed(&mut self) {
        if !self.producers_incomplete {
            return;
        }
        let Some(log) = self.log.as_ref() else { return };
        match crate::recovered::producers(log, self.links.host.wall_ms()) {
            Ok(producers) => {
                self.producers = producers;
                self.producers_incomplete = false;
            }
            Err(error) => {
                tracing::error!(topic = self.topic, partition = self.tp.partition, %error, "producer states cannot be rebuilt");
            }
        }
    }
}
