use types::{LeaderEpoch, Offset};

/// Where each leader epoch ends in a log.
pub trait EpochLookup {
    /// The largest epoch not above `epoch` that has records in the log, and its end offset: the start of
    /// the epoch after it, or the log end (KIP-101, KIP-279). `None` only if all the log's epochs are above
    /// `epoch`, or it has none: the leader then tells the follower to start over, so an implementation
    /// MUST NOT answer `None` for an epoch above its newest.
    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;
}

/// Which leader epoch starts at which offset of a log (`leader-epoch-checkpoint`). Epochs and offsets grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochCache {
    /// No epochs: an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pairs (epoch, start), growing.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` starts at `start`; true if that is news. An epoch at or below the newest one is
    /// none, unless it starts before it: entries that an epoch starting at or before them contradicts were
    /// written by a leader whose records are gone, and fall away (as in Kafka's cache).
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < LeaderEpoch(0) || start < Offset::ZERO {
            return false;
        }
        if let Some((latest, latest_start)) = self.latest()
            && epoch <= latest
            && start >= latest_start
        {
            return false;
        }
        self.entries
            .retain(|(other, other_start)| *other < epoch && *other_start < start);
        self.entries.push((epoch, start));
        true
    }

    /// See [`EpochLookup::end_offset_for`]; the newest epoch, and so every epoch above it, ends at `log_end`.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.entries.partition_point(|(other, _)| *other <= epoch);
        let (found, _) = *self.entries.get(after.checked_sub(1)?)?;
        match self.entries.get(after) {
            Some((_, next_start)) => Some((found, *next_start)),
            None => Some((found, log_end)),
        }
    }

    /// The epoch of the record at `offset`, if the log holds it.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries.get(after.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// The log was cut to end at `end`: epochs that start there or later are gone.
    pub fn truncate_from_end(&mut self, end: Offset) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// The log now starts at `start`: of the epochs that start at or below it only the last is left, and it
    /// starts there.
    pub fn truncate_from_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|(_, other)| *other <= start);
        if after == 0 {
            return;
        }
        self.entries.drain(..after - 1);
        self.entries[0].1 = start;
    }

    /// This cache as a lookup for a log that ends at `log_end`.
    #[must_use]
    pub fn of_log(&self, log_end: Offset) -> EpochsOfLog<'_> {
        EpochsOfLog { cache: self, log_end }
    }
}

impl From<&[(LeaderEpoch, Offset)]> for EpochCache {
    fn from(entries: &[(LeaderEpoch, Offset)]) -> Self {
        let mut cache = Self::new();
        for (epoch, start) in entries {
            cache.assign(*epoch, *start);
        }
        cache
    }
}

/// An [`EpochCache`] together with the end of its log.
#[derive(Debug, Clone, Copy)]
pub struct EpochsOfLog<'a> {
    cache: &'a EpochCache,
    log_end: Offset,
}

impl EpochLookup for EpochsOfLog<'_> {
    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.cache.end_offset_for(epoch, self.log_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(pairs: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::new();
        for (epoch, start) in pairs {
            cache.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        cache
    }

    #[test]
    fn ends_of_epochs() {
        let cache = cache(&[(2, 10), (4, 20), (5, 20 + 5)]);
        let rows = [
            (1, None),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 25))),
            (5, Some((5, 30))),
            (9, Some((5, 30))),
        ];
        for (epoch, expected) in rows {
            let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
            assert_eq!(
                cache.end_offset_for(LeaderEpoch(epoch), Offset(30)),
                expected,
                "epoch {epoch}"
            );
        }
        assert_eq!(EpochCache::new().end_offset_for(LeaderEpoch(0), Offset(0)), None);
        assert_eq!(cache.epoch_for(Offset(9)), None);
        assert_eq!(cache.epoch_for(Offset(24)), Some(LeaderEpoch(4)));
        assert_eq!(cache.epoch_for(Offset(99)), Some(LeaderEpoch(5)));
    }

    #[test]
    fn assignments_grow() {
        let mut cache = cache(&[(2, 10), (4, 20)]);
        assert!(!cache.assign(LeaderEpoch(4), Offset(30)), "known");
        assert!(!cache.assign(LeaderEpoch(3), Offset(30)), "older");
        assert!(!cache.assign(LeaderEpoch(-1), Offset(30)));
        assert!(cache.assign(LeaderEpoch(5), Offset(20)), "4 had no records");
        assert_eq!(
            cache.entries(),
            [(LeaderEpoch(2), Offset(10)), (LeaderEpoch(5), Offset(20))]
        );
    }

    #[test]
    fn truncations() {
        let full = cache(&[(2, 10), (4, 20), (5, 30)]);
        let mut cut = full.clone();
        cut.truncate_from_end(Offset(30));
        assert_eq!(cut, cache(&[(2, 10), (4, 20)]));
        cut.truncate_from_end(Offset(21));
        assert_eq!(cut, cache(&[(2, 10), (4, 20)]));
        let mut cut = full.clone();
        cut.truncate_from_start(Offset(25));
        assert_eq!(cut, cache(&[(4, 25), (5, 30)]));
        cut.truncate_from_start(Offset(99));
        assert_eq!(cut, cache(&[(5, 99)]));
        let mut cut = full.clone();
        cut.truncate_from_start(Offset(5));
        assert_eq!(cut, full);
    }
}
