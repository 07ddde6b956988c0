use super::Log;
use crate::LogError;
use crate::directory::Directory;
use crate::marks::{Entry, LogKey, trim_epochs};
use crate::segment::Segment;
use std::sync::Arc;
use std::time::Duration;
use types::{LeaderEpoch, Offset};

/// A move of a log's start: durable in the journal before the log follows it and a file is touched, and the log need not
/// be away for that. Made by [`Log::begin_log_start`].
///
/// ```text
///  shard:  begin_log_start ──┐                  ┌── finish_log_start
///  pool:                     └─► run (fsync) ───┘        └─► (cleaner) rename, remove after the delay
/// ```
pub struct LogStartMove {
    dir: Arc<Directory>,
    key: LogKey,
    offset: Offset,
}

impl LogStartMove {
    /// Blocking: durable when this returns. Nothing happens if the replica was deleted meanwhile.
    ///
    /// # Errors
    /// [`LogError::Offline`].
    pub fn run(&self) -> Result<(), LogError> {
        Self::run_all(&[self]).pop().unwrap_or(Err(LogError::Offline))
    }

    /// [`Self::run`] for many logs, in one round of the journal for each directory; one outcome for each.
    #[must_use]
    pub fn run_all(moves: &[&Self]) -> Vec<Result<(), LogError>> {
        let mut left: Vec<&Self> = moves.to_vec();
        while let Some(first) = left.first() {
            let dir = first.dir.clone();
            let (ours, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|moved| Arc::ptr_eq(&moved.dir, &dir));
            Self::run_in(&dir, ours);
            left = others;
        }
        moves.iter().map(|moved| moved.dir.check_online()).collect()
    }

    /// A failure takes the directory offline, which is what its moves are told.
    fn run_in(dir: &Directory, moves: Vec<&Self>) {
        if dir.is_offline() {
            return;
        }
        let mut marks = dir.marks();
        let alive = |key| marks.state().logs.get(key).is_some_and(|state| !state.deleting);
        let entry = |moved: &&Self| Entry::LogStart {
            key: moved.key,
            offset: moved.offset,
        };
        let entries: Vec<_> = moves.iter().filter(|moved| alive(&moved.key)).map(entry).collect();
        if let Err(error) = marks.append(&entries) {
            dir.fail("marks journal", &error);
        }
    }

    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }
}

impl Log {
    /// Begins to raise the log start (DeleteRecords, retention, the leader's). `None`: it is there already. ◆ The log must
    /// not be truncated before [`Log::finish_log_start`].
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] above the log end; [`LogError::Corrupt`]; [`LogError::Offline`].
    pub fn begin_log_start(&self, offset: Offset) -> Result<Option<LogStartMove>, LogError> {
        self.check_writable()?;
        if offset > self.log_end {
            return Err(LogError::OffsetOutOfRange {
                offset,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        Ok((offset > self.log_start).then(|| LogStartMove {
            dir: self.dir.clone(),
            key: self.key,
            offset,
        }))
    }

    /// The move is durable: the log starts there, and segments wholly below are removed. If nothing is left, the active
    /// segment rolls, so that it can go too.
    ///
    /// # Errors
    /// [`LogError::Offline`], also when a roll fails.
    pub fn finish_log_start(&mut self, moved: &LogStartMove) -> Result<(), LogError> {
        let offset = moved.offset.min(self.log_end);
        if offset <= self.log_start || moved.key != self.key {
            return Ok(());
        }
        self.log_start = offset;
        self.durable = self.durable.max(offset);
        let durable_epoch = self.epoch_durable();
        trim_epochs(&mut self.epochs, offset);
        self.epochs_durable =
            durable_epoch.map_or(0, |epoch| self.epochs.partition_point(|(known, _)| *known <= epoch));
        if offset == self.log_end {
            self.last_epoch = LeaderEpoch::NONE;
            self.roll()?;
        }
        let kept = self.segments.len().saturating_sub(1);
        let gone = self.segments[..kept].partition_point(|segment| segment.next <= offset);
        let removed: Vec<Segment> = self.segments.drain(..gone).collect();
        let delay = Duration::from_millis(self.config.file_delete_delay_ms);
        self.dir.retire(self.key, removed, delay);
        Ok(())
    }

    /// [`Log::begin_log_start`], [`LogStartMove::run`], [`Log::finish_log_start`] in one. Blocking.
    ///
    /// # Errors
    /// Theirs.
    pub fn increment_log_start(&mut self, offset: Offset) -> Result<(), LogError> {
        match self.begin_log_start(offset)? {
            Some(moved) => {
                moved.run()?;
                self.finish_log_start(&moved)
            }
            None => Ok(()),
        }
    }

    /// Where the log may start by `retention.bytes` and `retention.ms` at `wall_ms`: `None` if where it does. Whole
    /// segments from the oldest on, all of whose records are committed; the active one too, if it has expired.
    ///
    /// Source: Kafka's `UnifiedLog.deleteOldSegments`.
    #[must_use]
    pub fn retention_start(&self, high_watermark: Offset, wall_ms: i64) -> Option<Offset> {
        let config = &self.config;
        if !config.delete {
            return None;
        }
        let mut excess = match u64::try_from(config.retention_bytes) {
            Ok(bytes) => self.size().saturating_sub(bytes),
            Err(_) => 0,
        };
        let mut start = None;
        for segment in self.segments.iter().filter(|segment| segment.size > 0) {
            let too_much = excess >= segment.size;
            let too_old =
                config.retention_ms >= 0 && wall_ms.saturating_sub(segment.largest_timestamp()) > config.retention_ms;
            if segment.next > high_watermark || !(too_much || too_old) {
                break;
            }
            excess = excess.saturating_sub(segment.size);
            start = Some(segment.next);
        }
        start.filter(|start| *start > self.log_start)
    }
}
