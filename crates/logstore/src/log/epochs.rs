use super::Log;
use types::{LeaderEpoch, Offset};

impl Log {
    /// (epoch, start offset), ascending.
    #[must_use]
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        &self.epochs
    }

    /// Notes that `epoch` starts at `start`; durable with the next flush, see [`Log::epoch_durable`]. It must be
    /// durable before a record of that epoch counts as such (KAFKA-7415). Entries it contradicts go, as in
    /// Kafka's `LeaderEpochFileCache.assign`.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self
            .epochs
            .last()
            .is_some_and(|(known, at)| *known == epoch && *at <= start)
            || epoch < LeaderEpoch(0)
        {
            return;
        }
        self.epochs.retain(|(known, at)| *known < epoch && *at < start);
        self.epochs_durable = self.epochs_durable.min(self.epochs.len());
        self.epochs.push((epoch, start));
    }

    /// Forgets epochs without a record: this replica led in them and appended nothing. ◆ To be called before it follows, for
    /// what its leader sends for the log end may be of an older epoch. That one would seem to end where the forgotten one
    /// began, and this replica, once it leads, would have its followers cut what is committed. On disk with the next flush,
    /// and so, see [`Log::epoch_durable`], before the next append.
    pub fn forget_empty_epochs(&mut self) {
        let (end, known) = (self.log_end, self.epochs.len());
        self.epochs.retain(|(_, start)| *start < end);
        if self.epochs.len() < known {
            // Said again, the last that is left makes the journal forget those after it.
            self.epochs_durable = self.epochs_durable.min(self.epochs.len().saturating_sub(1));
            self.epochs_forgotten = self.job_out;
        }
    }

    /// The newest epoch whose start is on disk.
    #[must_use]
    pub fn epoch_durable(&self) -> Option<LeaderEpoch> {
        self.epochs_durable
            .checked_sub(1)
            .and_then(|index| self.epochs.get(index))
            .map(|(epoch, _)| *epoch)
    }

    /// The largest epoch not above `epoch`, and where it ends: at the start of the next one, or at the log
    /// end. `None` if nothing is known of it (KIP-101, KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if epoch < LeaderEpoch(0) {
            return None;
        }
        let after = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.epochs.get(after.checked_sub(1)?)?;
        let end = self.epochs.get(after).map_or(self.log_end, |(_, start)| *start);
        // An epoch above all that is known cannot be answered for.
        if after == self.epochs.len() && epoch > *found {
            return None;
        }
        Some((*found, end))
    }
}
