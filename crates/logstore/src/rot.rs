use crate::log::Log;
use records::{BatchHeader, verify_crc};
use types::{LeaderEpoch, Offset};

/// Where a log's file is not what was written to it, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged on disk at offset {offset}: {why}")]
pub struct Rot {
    /// Everything below is as it was, as far as it was looked at.
    pub offset: Offset,
    pub why: &'static str,
}

/// What the batches of a stretch of a log must be, one after the other.
///
/// ◆ A batch's CRC covers neither its base offset nor its leader epoch, so both are held against their neighbours: offsets
/// go on without a gap (nothing compacts logs yet), epochs do not fall, and none is above what the log's epochs say of its
/// offset.
#[derive(Debug, Clone)]
pub struct Chain {
    next: Offset,
    /// The next batch contains `next`; otherwise it starts there.
    within: bool,
    epoch: LeaderEpoch,
    /// Those that reach into the stretch, ascending.
    epochs: Vec<(LeaderEpoch, Offset)>,
}

impl Chain {
    /// From the batch that contains `from`, up to the one before `to`.
    pub(crate) fn new(log: &Log, from: Offset, to: Offset) -> Self {
        let first = log
            .epochs
            .partition_point(|(_, start)| *start <= from)
            .saturating_sub(1);
        let after = log.epochs.partition_point(|(_, start)| *start < to).max(first);
        Self {
            next: from,
            within: true,
            epoch: LeaderEpoch(0),
            epochs: log.epochs[first..after].to_vec(),
        }
    }

    /// Goes on behind a batch of this epoch.
    pub(crate) fn after(mut self, epoch: LeaderEpoch) -> Self {
        self.epoch = self.epoch.max(epoch);
        self
    }

    /// Of the last batch that was checked.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The offset that the next batch must have.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// What is there is no whole batch.
    pub(crate) fn broken(&self, why: &'static str) -> Rot {
        Rot { offset: self.next, why }
    }

    /// Checks the next batch.
    pub(crate) fn check(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), Rot> {
        let follows = if self.within {
            header.base_offset <= self.next && header.last_offset() >= self.next
        } else {
            header.base_offset == self.next
        };
        if !follows || header.last_offset_delta < 0 {
            return Err(self.broken("a batch does not follow the one before it"));
        }
        if !verify_crc(bytes) && !types::broken(types::Broken::ServeRot) {
            return Err(self.broken("the CRC of a batch is wrong"));
        }
        let covering = self.epochs.partition_point(|(_, start)| *start <= self.next);
        let known = covering.checked_sub(1).map(|index| self.epochs[index].0);
        if header.leader_epoch < self.epoch || known.is_some_and(|known| header.leader_epoch > known) {
            return Err(self.broken("a batch has a leader epoch that was none at its offset"));
        }
        self.next = header.next_offset();
        self.within = false;
        self.epoch = header.leader_epoch;
        Ok(())
    }
}
