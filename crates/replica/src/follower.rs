#[cfg(test)]
mod tests;

use crate::{
    EntryHeader, EpochLookup, Error, FollowerAck, FollowerAction, FollowerHello, HelloAnswer, LogBounds, PartitionView,
    digest,
};
use records::BatchHeader;
use types::{Broken, BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, StreamGeneration, TopicPartition, broken};

/// Where a follower stands with its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A hello is due or unanswered: no frame is taken.
    Stating,
    /// The shell is cutting the log: nothing else happens until [`Follower::on_truncated`].
    Truncating,
    /// The shell is emptying the log, which will start here: nothing else happens until then.
    StartingOver { at: Offset },
    /// The leader agreed with our log.
    Following,
}

/// A follower of a partition for one leader epoch.
///
/// - ◆ Continuity: batches are appended only where leader epoch, previous end, previous epoch and stream
///   generation all match, and the digest is right; else the position is stated again.
/// - ◆ Truncating or stating again raises the generation, which voids all that is under way.
/// - ◆ A batch is never of a newer epoch than its frame; a leader epoch below ours is refused.
/// - Truncation follows leader epochs, never the high watermark (KIP-101, KIP-279).
/// - HW = the leader's, at most our log end; it is raised after truncation, not before (KAFKA-14704).
#[derive(Debug, Clone)]
pub struct Follower {
    topic_partition: TopicPartition,
    me: NodeId,
    leader_epoch: LeaderEpoch,
    bounds: LogBounds,
    last_epoch: LeaderEpoch,
    /// The highest that the leader told in this epoch.
    leader_high_watermark: Offset,
    /// As far as the leader deleted, and we must, once that is committed here.
    leader_log_start: Offset,
    generation: StreamGeneration,
    phase: Phase,
}

impl Follower {
    /// Begins to follow in the view's leader epoch. `generation` must be above every one that this broker
    /// used for the partition, in earlier lives too: see [`crate::first_generation`], and hand
    /// [`Self::generation`] + 1 of the old follower on to the next.
    ///
    /// # Panics
    /// If `bounds` are invalid.
    #[must_use]
    pub fn new(
        topic_partition: TopicPartition,
        me: NodeId,
        view: &PartitionView,
        bounds: LogBounds,
        last_epoch: LeaderEpoch,
        generation: StreamGeneration,
        _now: Monotonic,
    ) -> Self {
        bounds.validate();
        Self {
            topic_partition,
            me,
            leader_epoch: view.leader_epoch,
            bounds,
            last_epoch,
            leader_high_watermark: bounds.high_watermark,
            leader_log_start: bounds.log_start,
            generation,
            phase: Phase::Stating,
        }
    }

    /// What to tell the leader at the start of a stream and after every restatement.
    #[must_use]
    pub fn hello(&self, broker_epoch: BrokerEpoch) -> FollowerHello {
        FollowerHello {
            node: self.me,
            broker_epoch,
            generation: self.generation,
            leader_epoch: self.leader_epoch,
            log_start: self.bounds.log_start,
            log_end: self.bounds.log_end,
            durable: self.bounds.durable,
            last_epoch: self.last_epoch,
        }
    }

    /// ◆ The stream was lost: call before the hello on the next one, so that nothing of the old one counts.
    /// A truncation that is under way is still to be reported, and that hello waits for it.
    pub fn reopen(&mut self) {
        self.restate();
    }

    /// The leader's answer to the last hello. `local` looks our own epochs up.
    ///
    /// Where logs part, the common prefix ends where the leader's largest common epoch ends in either log;
    /// if we do not know that epoch, the largest that we know below it may still be common, and the
    /// next hello finds out (KIP-279).
    ///
    /// The shell passes on only an answer to the hello of the generation now in force.
    pub fn on_answer(&mut self, answer: &HelloAnswer, local: &dyn EpochLookup) -> Vec<FollowerAction> {
        if self.phase != Phase::Stating {
            return Vec::new();
        }
        match *answer {
            HelloAnswer::SendFrom {
                offset,
                high_watermark,
                log_start,
            } => {
                if offset != self.bounds.log_end {
                    self.restate();
                    return vec![FollowerAction::Restate];
                }
                let to = self.bounds.high_watermark;
                if broken(Broken::TruncateToHighWatermark) && to < self.bounds.log_end {
                    self.phase = Phase::Truncating;
                    return vec![FollowerAction::Truncate { to }];
                }
                self.phase = Phase::Following;
                let mut actions = vec![FollowerAction::Ready];
                self.hear(high_watermark, log_start, &mut actions);
                actions
            }
            HelloAnswer::Diverging { epoch, end_offset } if end_offset >= Offset::ZERO => {
                self.truncate_by(epoch, end_offset, local)
            }
            HelloAnswer::StartOver { log_start } if log_start >= Offset::ZERO => self.start_over(log_start),
            // No leader of ours says such a thing; nothing is cut for it.
            HelloAnswer::Diverging { .. } | HelloAnswer::StartOver { .. } => {
                self.restate();
                vec![FollowerAction::Restate]
            }
        }
    }

    /// A frame's entry for this partition. Answers the appends to make, [`FollowerAction::Restate`] if the
    /// entry does not continue our log, nothing if it belongs to an older generation. The appends must be
    /// reported with [`Self::on_appended`] before the next entry.
    ///
    /// # Errors
    /// [`Error::FencedLeaderEpoch`] (refuse the leader), [`Error::UnknownLeaderEpoch`] (our image is behind),
    /// [`Error::StaleStream`] for a generation that we never stated, [`Error::BatchEpochAboveFrame`] and
    /// [`Error::BrokenBatches`] for a leader that breaks its word; state is then unchanged.
    pub fn on_entry(&mut self, entry: &EntryHeader, batches: &[BatchHeader]) -> Result<Vec<FollowerAction>, Error> {
        self.check_epoch(entry.leader_epoch)?;
        if entry.generation > self.generation {
            return Err(Error::StaleStream(self.me));
        }
        // The cut that is under way will raise the generation.
        let old = entry.generation < self.generation && !broken(Broken::IgnoreGenerations);
        if old || self.is_cutting() {
            return Ok(Vec::new());
        }
        let continues = self.phase == Phase::Following
            && entry.previous_end == self.bounds.log_end
            && (entry.previous_epoch == self.last_epoch || broken(Broken::IgnoreLeaderEpochs));
        let continues = continues || (broken(Broken::IgnoreContinuity) && entry.previous_end >= self.bounds.log_end);
        // The digest fails where the leader sent a page that changed under way: it must send again.
        if !continues || digest(batches.iter()) != entry.digest {
            self.restate();
            return Ok(vec![FollowerAction::Restate]);
        }
        let mut actions = Vec::new();
        self.check_batches(entry, batches, &mut actions)?;
        if let (Some(first), Some(last)) = (batches.first(), batches.last()) {
            actions.push(FollowerAction::Append {
                first: first.base_offset,
                next: last.next_offset(),
                last_epoch: last.leader_epoch,
            });
        }
        self.hear(entry.high_watermark, entry.log_start, &mut actions);
        Ok(actions)
    }

    /// The append of the last entry is done.
    ///
    /// # Panics
    /// If the log shrank.
    pub fn on_appended(&mut self, log_end: Offset, last_epoch: LeaderEpoch) -> Vec<FollowerAction> {
        assert!(
            log_end >= self.bounds.log_end,
            "{}: an append shrank the log",
            self.topic_partition
        );
        self.bounds.log_end = log_end;
        self.last_epoch = last_epoch;
        let mut actions = Vec::new();
        self.advance(&mut actions);
        actions
    }

    /// Our log is durable below `durable`: the log's own durable position, in which a flush that began before a
    /// truncation no longer counts.
    pub fn on_durable(&mut self, durable: Offset) {
        self.bounds.durable = self.bounds.durable.max(durable.min(self.bounds.log_end));
    }

    /// The truncation, or the emptying, is done. ◆ Raises the generation: what was acknowledged or sent
    /// before it is void. A new hello is due.
    pub fn on_truncated(&mut self, log_end: Offset, last_epoch: LeaderEpoch) {
        if self.phase == (Phase::StartingOver { at: log_end }) {
            // KAFKA-9491: the high watermark moves with the start of the log.
            self.bounds = LogBounds {
                log_start: log_end,
                high_watermark: log_end,
                durable: log_end,
                log_end,
            };
        } else {
            self.bounds.log_end = log_end;
            self.bounds.durable = self.bounds.durable.min(log_end);
            self.bounds.high_watermark = self.bounds.high_watermark.min(log_end);
        }
        self.last_epoch = last_epoch;
        self.leader_high_watermark = self.bounds.high_watermark;
        self.leader_log_start = self.bounds.log_start;
        self.phase = Phase::Stating;
        self.restate();
        self.bounds.validate();
    }

    /// Records below `log_start` were deleted here. If none is left there is no last epoch to state either; the next
    /// entry then makes us state our position again.
    ///
    /// # Panics
    /// If `log_start` lies above the high watermark.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.bounds.log_start = self.bounds.log_start.max(log_start);
        if self.bounds.log_start == self.bounds.log_end {
            self.last_epoch = LeaderEpoch::NONE;
        }
        self.bounds.validate();
    }

    /// What to acknowledge now.
    #[must_use]
    pub fn ack(&self) -> FollowerAck {
        FollowerAck {
            node: self.me,
            leader_epoch: self.leader_epoch,
            generation: self.generation,
            log_end: self.bounds.log_end,
            durable: self.bounds.durable,
            log_start: self.bounds.log_start,
        }
    }

    /// Whether the leader agreed with our log, so that acknowledgements mean something.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.phase == Phase::Following
    }

    /// Records below it are committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.bounds.high_watermark
    }

    /// All bounds of our log.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        self.bounds
    }

    /// The leader epoch.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Epoch of our last batch.
    #[must_use]
    pub fn last_epoch(&self) -> LeaderEpoch {
        self.last_epoch
    }

    /// The generation now in force.
    #[must_use]
    pub fn generation(&self) -> StreamGeneration {
        self.generation
    }

    fn restate(&mut self) {
        self.generation = StreamGeneration(self.generation.0.saturating_add(1));
        if !self.is_cutting() {
            self.phase = Phase::Stating;
        }
    }

    fn is_cutting(&self) -> bool {
        matches!(self.phase, Phase::Truncating | Phase::StartingOver { .. })
    }

    fn start_over(&mut self, at: Offset) -> Vec<FollowerAction> {
        self.phase = Phase::StartingOver { at };
        vec![FollowerAction::StartOver { at }]
    }

    fn truncate_by(&mut self, epoch: LeaderEpoch, end_offset: Offset, local: &dyn EpochLookup) -> Vec<FollowerAction> {
        let LogBounds { log_start, log_end, .. } = self.bounds;
        let to = match local.end_offset_for(epoch) {
            Some((ours, our_end)) if ours == epoch => end_offset.min(our_end),
            Some((_, our_end)) => our_end,
            // All we have is of newer epochs than the leader has there.
            None => end_offset.min(log_start),
        };
        if to < log_start {
            return self.start_over(to);
        }
        // Cuts nothing only if the answer contradicts itself; then ask again rather than loop in place.
        if to >= log_end {
            self.restate();
            return vec![FollowerAction::Restate];
        }
        self.phase = Phase::Truncating;
        vec![FollowerAction::Truncate { to }]
    }

    fn check_epoch(&self, theirs: LeaderEpoch) -> Result<(), Error> {
        let ours = self.leader_epoch;
        match theirs.cmp(&ours) {
            _ if broken(Broken::AcceptOldEpochs) => Ok(()),
            std::cmp::Ordering::Less => Err(Error::FencedLeaderEpoch { theirs, ours }),
            std::cmp::Ordering::Greater => Err(Error::UnknownLeaderEpoch { theirs, ours }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    /// Offsets and epochs of the batches must grow from where our log ends. Names each epoch's start.
    fn check_batches(
        &self,
        entry: &EntryHeader,
        batches: &[BatchHeader],
        actions: &mut Vec<FollowerAction>,
    ) -> Result<(), Error> {
        let mut end = self.bounds.log_end;
        let mut epoch = self.last_epoch;
        // Records of it were deleted, on the leader too: an empty log may start in the middle of a batch.
        if let Some(first) = batches.first()
            && self.bounds.log_start == end
            && first.next_offset() > end
        {
            end = end.min(first.base_offset);
        }
        for batch in batches {
            if batch.leader_epoch > entry.leader_epoch {
                return Err(Error::BatchEpochAboveFrame(batch.base_offset));
            }
            // Gaps are allowed: compaction makes them.
            let grows = batch.base_offset >= end
                && batch.last_offset_delta >= 0
                && batch.next_offset() > batch.base_offset
                && batch.leader_epoch >= epoch
                && batch.leader_epoch >= LeaderEpoch(0);
            if !grows {
                return Err(Error::BrokenBatches(batch.base_offset));
            }
            if batch.leader_epoch > epoch {
                actions.push(FollowerAction::AssignEpoch {
                    epoch: batch.leader_epoch,
                    start: batch.base_offset,
                });
            }
            epoch = batch.leader_epoch;
            end = batch.next_offset();
        }
        Ok(())
    }

    /// Takes the leader's bounds over.
    fn hear(&mut self, high_watermark: Offset, log_start: Offset, actions: &mut Vec<FollowerAction>) {
        self.leader_high_watermark = self.leader_high_watermark.max(high_watermark);
        self.leader_log_start = self.leader_log_start.max(log_start);
        self.advance(actions);
    }

    /// ◆ Never above our own log end: what we do not have we cannot serve as committed.
    fn advance(&mut self, actions: &mut Vec<FollowerAction>) {
        let to = self.leader_high_watermark.min(self.bounds.log_end);
        if to > self.bounds.high_watermark {
            self.bounds.high_watermark = to;
            self.bounds.validate();
            actions.push(FollowerAction::AdvanceHighWatermark { to });
        }
        // Only what is committed here; the rest when it is, for an idle leader says it once.
        let to = self.leader_log_start.min(self.bounds.high_watermark);
        if to > self.bounds.log_start {
            actions.push(FollowerAction::AdvanceLogStart { to });
        }
    }
}
