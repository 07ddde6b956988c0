use super::errand::Cut;
use super::{Partition, Role};
use bytes::Bytes;
use logstore::{Log, LogError};
use records::{BatchHeader, split_batches, verify_crc};
use replica::{EntryHeader, FollowerAck, FollowerAction, FollowerHello, HelloAnswer};
use std::collections::VecDeque;
use types::{Broken, BrokerEpoch, ErrorCode, Offset, StreamGeneration, broken, limits};

/// What a message of the leader asks of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    Nothing,
    /// Acknowledge now.
    Ack,
    /// State the position anew.
    Restate,
}

/// An append that waits for its epoch's start to be durable.
pub(super) struct Held {
    actions: VecDeque<FollowerAction>,
    batches: Bytes,
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

    /// The leader refuses what we stated, or sends no more of it: what comes next here was deleted. What we say next is something
    /// new: a leader that has taken a position refuses its repetition, for as long as it is repeated.
    pub fn refused(&mut self, generation: StreamGeneration) -> Followed {
        match &self.role {
            Role::Follower { machine } if machine.generation() == generation => {
                self.reopen();
                Followed::Restate
            }
            _ => Followed::Nothing,
        }
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
        if !matches!(self.role, Role::Follower { .. }) {
            return Followed::Nothing;
        }
        // ◆ Our own window, for the leader may not keep to its.
        self.inbox_bytes += batches.len() + size_of::<EntryHeader>();
        if self.inbox_bytes > limits::FOLLOWER_INBOX_BYTES {
            tracing::warn!(
                topic = self.topic,
                partition = self.tp.partition,
                "the leader sends more than its window: asking for it again"
            );
            self.reopen();
            return Followed::Restate;
        }
        self.inbox.push_back((header, batches));
        self.take_entries()
    }

    /// Takes entries until one must wait for the disk.
    fn take_entries(&mut self) -> Followed {
        let mut outcome = Followed::Nothing;
        while self.held.is_none()
            && self.log.is_some()
            && let Some((header, batches)) = self.inbox.pop_front()
        {
            self.inbox_bytes = self
                .inbox_bytes
                .saturating_sub(batches.len() + size_of::<EntryHeader>());
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

    /// A flush ended or the log is back: an append that waited for its epoch's start may go on, and what came after it.
    /// What is written is acknowledged by the caller.
    pub(super) fn resume_entries(&mut self) {
        if self.log.is_none() {
            return;
        }
        if let Some(Held { actions, batches }) = self.held.take()
            && self.perform_follower(actions, batches) == Followed::Restate
        {
            self.restate_due = true;
        }
        if self.take_entries() == Followed::Restate {
            self.restate_due = true;
        }
    }

    /// What came and was not appended counts no more.
    pub(super) fn drop_unappended(&mut self) {
        self.held = None;
        self.inbox.clear();
        self.inbox_bytes = 0;
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
                FollowerAction::Truncate { to } => self.send_away(Cut::TruncateTo(to)),
                FollowerAction::StartOver { at } => self.send_away(Cut::StartOver(at)),
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
                } => {
                    // ◆ An epoch's start is on disk before the first append in it.
                    let durable = self.log.as_ref().and_then(Log::epoch_durable);
                    if durable.is_none_or(|durable| durable < last_epoch) && !broken(Broken::AppendBeforeEpoch) {
                        actions.push_front(action);
                        self.held = Some(Held { actions, batches });
                        self.flush();
                        return outcome;
                    }
                    if !self.append_from_leader(&batches, first, next, wall_ms) {
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

    fn append_from_leader(&mut self, batches: &Bytes, first: Offset, next: Offset, wall_ms: i64) -> bool {
        let Some(log) = self.log.as_mut() else { return false };
        let no_room = !log.has_room();
        let appended = match no_room {
            true => Err(LogError::Full),
            false => log.append(batches.clone(), first, next, wall_ms),
        };
        if let Err(LogError::Full | LogError::NoFileHandle) = appended {
            tracing::info!(
                topic = self.topic,
                partition = self.tp.partition,
                "no room for what the leader sends: following again when there is"
            );
            self.waits_for_room = true;
            // Whole batches may be in the log.
            self.producers_incomplete |= !no_room;
            self.rebuild_producers_if_needed();
            self.become_idle(ErrorCode::KafkaStorageError);
            self.flush();
            return false;
        }
        if let Err(error) = appended {
            tracing::error!(topic = self.topic, partition = self.tp.partition, %error, "the log refuses what the leader sent");
            self.become_idle(ErrorCode::KafkaStorageError);
            return false;
        }
        self.unsnapshot_bytes += batches.len();
        self.links.stats.replicated_in_bytes.add(batches.len() as u64);
        let mut records = 0;
        for batch in split_batches(batches).flatten() {
            self.producers.update(&batch.header, wall_ms);
            records += i64::from(batch.header.record_count);
        }
        self.note_unflushed(records, wall_ms);
        true
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
