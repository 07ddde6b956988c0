use super::{Partition, Role};
use crate::data::{AppendError, Appended};
use crate::links::{Proposal, mark_all};
use bytes::{Bytes, BytesMut};
use logstore::LogError;
use records::BatchHeader;
use replica::{Action, Durability, ProducerCheck};
use tokio::sync::oneshot;
use types::{Broken, ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset, broken, limits};

/// Where the answer to one append goes.
pub(crate) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

/// Bytes of one write to the log; a drain with more makes several.
const ROUND_BYTES: usize = 4 * 1024 * 1024;

/// A produce that waits until the high watermark covers its batch. ◆ It belongs to one leader epoch and fails on
/// leaving it.
pub(super) struct Waiting {
    appended: Appended,
    reply: Reply,
}

/// A produce that has not been looked at.
pub(super) struct Parked {
    batch: Bytes,
    header: BatchHeader,
    acks: i16,
    reply: Reply,
}

/// The batches of one write, and who wants to know.
struct Round {
    bytes: BytesMut,
    first: Offset,
    next: Offset,
    records: i64,
    /// (place, offset behind it, reply), for acks −1 and for the others.
    committed: Vec<(Appended, Offset, Reply)>,
    written: Vec<(Appended, Reply)>,
}

impl Round {
    /// A round that begins at the log end and has room for `bytes`, so that they are copied once.
    fn at(end: Offset, bytes: usize) -> Self {
        let (committed, written) = (Vec::new(), Vec::new());
        Self {
            bytes: BytesMut::with_capacity(bytes),
            first: end,
            next: end,
            records: 0,
            committed,
            written,
        }
    }
}

impl Partition {
    /// Queues one checked client batch for the next drain; two calls in order append in order. The reply comes when
    /// `acks` is satisfied: −1 every replica in sync, 1 and 0 this one.
    pub fn append(&mut self, batch: Bytes, header: BatchHeader, acks: i16, reply: Reply) {
        if !matches!(self.role, Role::Leader(_)) {
            // Nobody listens any more if the connection is gone. The same holds for every reply below.
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        self.parked.push_back(Parked {
            batch,
            header,
            acks,
            reply,
        });
        self.links.mark_dirty(self.tp);
    }

    /// ◆ The start of the leader epoch is on disk: only then may a record be written in it (KAFKA-7415).
    fn epoch_is_durable(&self) -> bool {
        let durable = self.log.as_ref().and_then(logstore::Log::epoch_durable);
        let durable = durable.is_some_and(|epoch| epoch >= self.view.leader_epoch);
        matches!(self.role, Role::Leader(_)) && (durable || broken(Broken::AppendBeforeEpoch))
    }

    /// Drain, then act: everything that came is one write to the log, one push to each follower, one flush.
    pub fn drain(&mut self, now: Monotonic) {
        if self.parked.is_empty() || !self.epoch_is_durable() {
            return;
        }
        let wall_ms = self.links.host.wall_ms();
        let mut parked = std::mem::take(&mut self.parked);
        while !parked.is_empty() && matches!(self.role, Role::Leader(_)) && !self.stands_down() && self.has_room() {
            let end = self.log.as_ref().map_or(Offset::ZERO, logstore::Log::log_end_offset);
            let mut bytes = 0;
            for batch in parked.iter().map(|parked| parked.batch.len()) {
                bytes += batch;
                if bytes >= ROUND_BYTES {
                    break;
                }
            }
            let mut round = Round::at(end, bytes);
            while round.bytes.len() < ROUND_BYTES
                && let Some(next) = parked.pop_front()
            {
                self.place(next, &mut round, wall_ms);
            }
            self.write(round, now, wall_ms);
        }
        // No room, a disk that stalls, or a write failed and the role is gone. Clients try again (docs/adr/0008-disk-full.md).
        for left in parked {
            let _ = left.reply.send(Err(ErrorCode::KafkaStorageError.into()));
        }
    }

    /// Gives a batch its place in the round, or answers it at once.
    fn place(&mut self, parked: Parked, round: &mut Round, wall_ms: i64) {
        let Parked {
            batch,
            header,
            acks,
            reply,
        } = parked;
        let Role::Leader(leader) = &self.role else {
            let _ = reply.send(Err(self.not_leader()));
            return;
        };
        if acks == -1 && !leader.enough_in_sync() {
            let _ = reply.send(Err(AppendError {
                code: ErrorCode::NotEnoughReplicas,
                leader: self.leader_hint(),
            }));
            return;
        }
        let (leader_epoch, log_start) = (leader.leader_epoch(), leader.log_start());
        match self.producers.check(&header) {
            Ok(ProducerCheck::Append) => {}
            Ok(ProducerCheck::Duplicate(original)) => {
                // A producer snapshot does not say whose time it keeps; here it was the time of the append.
                let restored = self.producers.get(header.producer_id).map(|entry| entry.last_append_ms);
                let log_append_time = match original.log_append_time {
                    -1 if self.rules.log_append_time => restored.unwrap_or(-1),
                    stored => stored,
                };
                // ◆ Not answered before the high watermark covers the original.
                let appended = Appended {
                    base_offset: original.base_offset,
                    log_append_time,
                    log_start,
                };
                match acks {
                    -1 if !broken(Broken::AnswerDuplicatesAtOnce) => {
                        round.committed.push((appended, original.last_offset.plus(1), reply))
                    }
                    _ => round.written.push((appended, reply)),
                }
                return;
            }
            Err(code) => {
                let _ = reply.send(Err(code.into()));
                return;
            }
        }
        // ◆ What cannot be replicated must not be in the log.
        if batch.len() > limits::BATCH_BYTES_MAX {
            let _ = reply.send(Err(ErrorCode::MessageTooLarge.into()));
            return;
        }
        let at = round.bytes.len();
        round.bytes.extend_from_slice(&batch);
        let placed = &mut round.bytes[at..];
        if placed.len() < records::BATCH_HEADER_LEN {
            round.bytes.truncate(at);
            let _ = reply.send(Err(ErrorCode::CorruptMessage.into()));
            return;
        }
        records::set_base_offset(placed, round.next);
        records::set_leader_epoch(placed, leader_epoch);
        let mut log_append_time = -1;
        if self.rules.log_append_time {
            log_append_time = wall_ms;
            records::set_log_append_time(placed, wall_ms);
        } else {
            records::set_max_timestamp(placed, header.max_timestamp);
        }
        let written = match BatchHeader::parse(placed) {
            Ok(written) if written.size() == placed.len() && written.last_offset_delta >= 0 => written,
            _ => {
                round.bytes.truncate(at);
                let _ = reply.send(Err(ErrorCode::CorruptMessage.into()));
                return;
            }
        };
        // At once, so that the next batch of the same drain is checked against this one.
        self.producers.update(&written, wall_ms);
        let appended = Appended {
            base_offset: round.next,
            log_append_time,
            log_start,
        };
        round.next = written.next_offset();
        round.records += i64::from(written.record_count);
        match acks {
            -1 => round.committed.push((appended, round.next, reply)),
            _ => round.written.push((appended, reply)),
        }
    }

    fn write(&mut self, round: Round, now: Monotonic, wall_ms: i64) {
        let Round {
            bytes,
            first,
            next,
            records,
            committed,
            written,
        } = round;
        if !bytes.is_empty() {
            let len = bytes.len();
            self.unsnapshot_bytes += len;
            let appended = match self.log.as_mut() {
                Some(log) => log.append(bytes.freeze(), first, next, wall_ms),
                None => Err(LogError::Offline),
            };
            if let Err(error) = appended {
                // Producer states tell of batches that are not there.
                self.producers_incomplete = true;
                let full = matches!(error, LogError::Full | LogError::NoFileHandle);
                let error = self.log_failed(&error);
                if full {
                    self.mend(now);
                } else {
                    // This life of the replica is over.
                    self.become_idle(error.code);
                }
                for reply in committed
                    .into_iter()
                    .map(|(_, _, reply)| reply)
                    .chain(written.into_iter().map(|(_, reply)| reply))
                {
                    let _ = reply.send(Err(error));
                }
                return;
            }
            self.links.stats.produced(records, len);
        }
        for (appended, reply) in written {
            let _ = reply.send(Ok(appended));
        }
        for (appended, next, reply) in committed {
            if next <= self.bounds().high_watermark {
                let _ = reply.send(Ok(appended));
            } else {
                self.waited += 1;
                self.waiting.insert((next, self.waited), Waiting { appended, reply });
            }
        }
        if next == first {
            return;
        }
        self.note_unflushed(records, wall_ms);
        if let Role::Leader(leader) = &mut self.role {
            let actions = leader.on_append(next, now);
            self.perform(actions);
        }
        mark_all(self.streams.values(), self.tp);
        self.flush_if_due(wall_ms);
    }

    /// The file system had no room for an append, or the process no file handle, of which whole batches at most are in the log: this replica leads on.
    fn mend(&mut self, now: Monotonic) {
        self.rebuild_producers_if_needed();
        if self.producers_incomplete {
            self.become_idle(ErrorCode::KafkaStorageError);
        }
        if let (Role::Leader(leader), Some(log)) = (&mut self.role, &self.log) {
            let actions = leader.on_append(log.log_end_offset(), now);
            self.perform(actions);
            mark_all(self.streams.values(), self.tp);
        }
        self.flush();
    }

    /// Counts what a relaxed topic's background flush will cover.
    pub(super) fn note_unflushed(&mut self, records: i64, wall_ms: i64) {
        if self.rules.durability == Durability::Relaxed {
            if self.unflushed_records == 0 {
                self.unflushed_since_ms = wall_ms;
            }
            self.unflushed_records += records;
        }
    }

    /// What the log's error means to a client.
    pub(crate) fn log_failed(&self, error: &LogError) -> AppendError {
        let code = match error {
            LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            // The directory says so, once.
            LogError::Full | LogError::NoFileHandle => ErrorCode::KafkaStorageError,
            _ => {
                tracing::error!(topic = self.topic, partition = self.tp.partition, %error, "the log refuses");
                ErrorCode::KafkaStorageError
            }
        };
        AppendError {
            code,
            leader: self.leader_hint(),
        }
    }

    /// Performs the leader's actions, in order.
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AdvanceHighWatermark { to } => self.high_watermark_moved(to),
                Action::ProposeIsr {
                    proposal,
                    isr,
                    leader_epoch,
                    partition_epoch,
                } => {
                    tracing::info!(topic = self.topic, partition = self.tp.partition, ?isr, %leader_epoch, "proposing an ISR");
                    self.links.propose(Proposal {
                        tp: self.tp,
                        id: proposal,
                        leader_epoch,
                        partition_epoch,
                        isr,
                    });
                }
            }
        }
    }

    fn high_watermark_moved(&mut self, to: Offset) {
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > to {
                break;
            }
            let Waiting { appended, reply } = first.remove();
            let _ = reply.send(Ok(appended));
        }
        for stream in self.streams.values() {
            stream.watermark_moved(self.tp);
        }
        self.wake();
    }

    /// ◆ The leader epoch ends: whoever waits for a commit in it is told so, though the record may survive.
    pub(super) fn fail_waiting(&mut self, code: ErrorCode, leader: Option<(NodeId, LeaderEpoch)>) {
        let waiting = std::mem::take(&mut self.waiting)
            .into_values()
            .map(|waiting| waiting.reply);
        let parked = std::mem::take(&mut self.parked).into_iter().map(|parked| parked.reply);
        for reply in waiting.chain(parked) {
            let _ = reply.send(Err(AppendError { code, leader }));
        }
        self.fail_deletions(code, leader);
        self.wake();
    }

    /// The committed ISR is below the minimum: what waits was written but is not committed as promised.
    pub(super) fn fail_waiting_after_append(&mut self) {
        let error = AppendError {
            code: ErrorCode::NotEnoughReplicasAfterAppend,
            leader: self.leader_hint(),
        };
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            let _ = waiting.reply.send(Err(error));
        }
    }
}
