use super::Log;
use crate::LogError;
use crate::marks::Entry;
use crate::segment::Segment;
use std::io;
use types::{Broken, LeaderEpoch, Offset, broken};

impl Log {
    /// Cuts the log to end at `offset`, or at the start of the batch that contains it. The truncation is durable
    /// in the marks journal before a file is touched; what was cut cannot come back. Nothing happens at or
    /// above the log end.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] below the log start; [`LogError::Corrupt`]; [`LogError::Offline`].
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError> {
        self.check_writable()?;
        if offset >= self.log_end {
            return Ok(());
        }
        if offset < self.log_start {
            return Err(LogError::OffsetOutOfRange {
                offset,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        let kept = self.segments.partition_point(|segment| segment.base < offset).max(1);
        let Some(last) = self.segments.get(kept - 1) else {
            return Err(LogError::Offline);
        };
        let (size, end) = match last.batch_at(&self.dir, offset)? {
            Some((position, header)) => (position, offset.min(header.base_offset.max(last.base))),
            None => (last.size, offset),
        };
        // A batch that straddles the log start goes as a whole; what is left is an empty log there.
        let end = end.max(self.log_start);
        if !broken(Broken::CutWithoutJournal) {
            self.dir.journal(&[Entry::Truncate {
                key: self.key,
                offset: end,
            }])?;
            self.begin_generation();
        }
        let dir = self.dir.clone();
        dir.write("truncate", || self.cut_files(kept, size, end))?;
        self.log_end = end;
        self.durable = self.durable.min(end);
        self.epochs.retain(|(_, start)| *start < end);
        self.epochs_durable = self.epochs_durable.min(self.epochs.len());
        self.tail.clear();
        self.parts.clear();
        self.last_epoch = self.epoch_of_last_batch(end);
        Ok(())
    }

    /// Flushes that are under way no longer count.
    fn begin_generation(&mut self) {
        self.generation = self
            .dir
            .marks()
            .state()
            .logs
            .get(&self.key)
            .map_or(self.generation + 1, |log| log.generation);
    }

    fn epoch_of_last_batch(&self, end: Offset) -> LeaderEpoch {
        if end == self.log_start {
            return LeaderEpoch::NONE;
        }
        self.epochs.last().map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch)
    }

    /// Keeps `kept` segments, the last of them with `size` bytes, and makes that one active.
    pub(crate) fn cut_files(&mut self, kept: usize, size: u64, end: Offset) -> io::Result<()> {
        for segment in self.segments.drain(kept..).collect::<Vec<_>>().iter().rev() {
            segment.remove_files(&self.dir)?;
        }
        if let Some(last) = self.segments.last_mut() {
            let file = match last.file.take() {
                Some(file) => file,
                None => self.dir.disk.open_patiently(&last.path, host::OpenMode::Write)?,
            };
            self.dir.forget_file(&last.path);
            last.remove_index_files(&self.dir)?;
            file.set_len(size)?;
            let rebuilt = Segment::reopened(&self.dir, file, last.path.clone(), last.base, size, &self.config)?;
            *last = rebuilt;
            last.next = end;
            self.indexed = self.indexed.min(last.base);
        }
        self.remove_snapshots_above(end)?;
        self.active_dirty = true;
        self.dir_dirty = true;
        self.cut_dirty = true;
        Ok(())
    }

    /// Forgets everything and starts again, empty, at `offset`: a follower that has nothing in common with
    /// its leader's log any more. Also mends a corrupt log.
    ///
    /// # Errors
    /// [`LogError::Offline`].
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<(), LogError> {
        self.dir.check_online()?;
        self.dir.journal(&[Entry::TruncateFully { key: self.key, offset }])?;
        self.begin_generation();
        let dir = self.dir.clone();
        dir.write("truncate fully", || self.start_over(offset))?;
        self.corrupt = None;
        Ok(())
    }

    /// Removes every segment file and creates one at `offset`.
    pub(crate) fn start_over(&mut self, offset: Offset) -> io::Result<()> {
        self.segments.clear();
        self.unsynced.clear();
        self.dir.forget_files_below(&self.path);
        self.dir.disk.create_dir_all(&self.path)?;
        for entry in self.dir.disk.read_dir(&self.path)? {
            let data = [".log", ".index", ".timeindex", ".snapshot"];
            if data.iter().any(|extension| entry.name.ends_with(extension)) {
                self.dir.disk.remove_file(&self.path.join(&entry.name))?;
            }
        }
        self.segments
            .push(Segment::create(&self.dir, &self.path, offset, &self.config)?);
        self.log_start = offset;
        self.log_end = offset;
        self.durable = offset;
        self.indexed = offset;
        self.epochs.clear();
        self.epochs_durable = 0;
        self.last_epoch = LeaderEpoch::NONE;
        self.tail.clear();
        self.parts.clear();
        self.active_dirty = true;
        self.dir_dirty = true;
        self.cut_dirty = true;
        Ok(())
    }
}
