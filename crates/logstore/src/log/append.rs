use super::Log;
use crate::LogError;
use crate::segment::Segment;
use bytes::Bytes;
use records::BatchHeader;
use std::io;
use types::{Offset, limits};

impl Log {
    /// Appends whole batches whose base offsets and leader epochs are set: ascending, from `first`, which is
    /// the log end or (on a follower of a compacted log) above it, up to `next`. One write for each segment that they
    /// go to; segments roll between batches as if each came alone. `bytes` stay in the tail cache. `wall_ms` is for
    /// `segment.ms` and `retention.ms` where batches carry no timestamp.
    ///
    /// # Errors
    /// [`LogError::InvalidAppend`], nothing was written; [`LogError::Full`] if the file system has no room: whole batches
    /// may have been appended, up to the log end, and the log refuses appends until the next flush is done;
    /// [`LogError::NoFileHandle`], with whole batches too;
    /// [`LogError::Corrupt`]; [`LogError::Offline`] from the first failed write on.
    pub fn append(&mut self, bytes: Bytes, first: Offset, next: Offset, wall_ms: i64) -> Result<(), LogError> {
        self.check_writable()?;
        if self.mending {
            return Err(LogError::Full);
        }
        let headers = self.check_append(&bytes, first, next)?;
        if first < self.log_end {
            self.begin_below_start(first)?;
        }
        let (written, appended) = self.append_batches(&bytes, &headers, wall_ms);
        if written > 0 {
            self.touched = true;
            self.tail.push(first, self.log_end, bytes.slice(..written));
        }
        appended
    }

    /// Also answers how many bytes, whole batches, were written.
    fn append_batches(
        &mut self,
        bytes: &Bytes,
        headers: &[BatchHeader],
        wall_ms: i64,
    ) -> (usize, Result<(), LogError>) {
        let (mut left, mut at) = (headers, 0);
        while let Some(batch) = left.first() {
            if self.must_roll(&[], batch, wall_ms)
                && let Err(error) = self.roll()
            {
                return (at, Err(error));
            }
            let mut count = 1;
            while let Some(more) = left.get(count)
                && !self.must_roll(&left[..count], more, wall_ms)
            {
                count += 1;
            }
            let (batches, rest) = left.split_at(count);
            let len: usize = batches.iter().map(BatchHeader::size).sum();
            if let Err(error) = self.write_batches(bytes.slice(at..at + len), batches, wall_ms) {
                return (at, Err(error));
            }
            (left, at) = (rest, at + len);
        }
        (at, Ok(()))
    }

    /// One write to the active segment, which has room for it.
    fn write_batches(&mut self, bytes: Bytes, batches: &[BatchHeader], wall_ms: i64) -> Result<(), LogError> {
        let dir = self.dir.clone();
        let Some(active) = self.segments.last_mut() else {
            return Err(LogError::Offline);
        };
        let mut position = active.size;
        let appended = dir.write_if_room("append", || active.append(&dir, &bytes, wall_ms));
        if let Err(error) = appended {
            return Err(self.give_up_append(error));
        }
        let Some(active) = self.segments.last_mut() else {
            return Err(LogError::Offline);
        };
        for header in batches {
            active.note(header, position);
            position += header.size() as u64;
        }
        self.log_end = active.next;
        for header in batches {
            if self.epochs.last().is_none_or(|(epoch, _)| header.leader_epoch > *epoch) {
                self.assign_epoch(header.leader_epoch, header.base_offset);
            }
            self.last_epoch = header.leader_epoch;
        }
        self.active_dirty = true;
        self.bytes_dirty += bytes.len() as u64;
        match self.bytes_dirty < limits::JOURNALLED_BYTES_MAX {
            true => self.parts.push(bytes),
            false => self.parts = Vec::new(),
        }
        Ok(())
    }

    /// ◆ An append found no room: what it left behind the last whole batch is cut off at once, and appends are refused
    /// until that is on disk. Else a record that nobody has could stand, after a power loss, where a later one of the
    /// same epoch stands everywhere else.
    fn give_up_append(&mut self, error: LogError) -> LogError {
        let (LogError::Full, Some(active)) = (&error, self.segments.last_mut()) else {
            return error;
        };
        if let Err(error) = active.cut_back() {
            return self.dir.fail("cut after a failed append", &error);
        }
        self.mending = true;
        self.active_dirty = true;
        error
    }

    fn check_append(&self, bytes: &Bytes, first: Offset, next: Offset) -> Result<Vec<BatchHeader>, LogError> {
        let refuse = |why| LogError::InvalidAppend {
            first,
            next,
            log_end: self.log_end,
            why,
        };
        let (mut headers, mut at, mut expected) = (Vec::new(), 0, first);
        while at < bytes.len() {
            let header = BatchHeader::parse(&bytes[at..]).map_err(|_| refuse("bytes are no batch"))?;
            at += header.size();
            if at > bytes.len() {
                return Err(refuse("the last batch is not whole"));
            }
            if header.base_offset < expected || header.last_offset_delta < 0 {
                return Err(refuse("offsets do not ascend"));
            }
            expected = header.next_offset();
            headers.push(header);
        }
        match headers.first() {
            None => Err(refuse("no batch")),
            Some(batch) if batch.base_offset != first || expected != next => {
                Err(refuse("offsets are not those announced"))
            }
            Some(batch) if first < self.log_end && !self.starts_inside(batch) => {
                Err(refuse("it starts below the log end"))
            }
            Some(_) => Ok(headers),
        }
    }

    /// Whether the log is empty and starts in the middle of this batch: records were deleted up to there on the replica that
    /// it comes from (in Kafka, `Partition.appendRecordsToFollowerOrFutureReplica`).
    fn starts_inside(&self, batch: &BatchHeader) -> bool {
        self.log_start == self.log_end && batch.base_offset < self.log_end && self.log_end < batch.next_offset()
    }

    /// An empty log goes on in a segment at `base`, below its start: what files it has hold only what was deleted.
    fn begin_below_start(&mut self, base: Offset) -> Result<(), LogError> {
        let (dir, config) = (self.dir.clone(), self.config);
        let begin = || Segment::begin(&dir, &self.path, base, &config);
        let begun = dir.write_if_room("begin below the start", begin)?;
        let deleted = std::mem::replace(&mut self.segments, vec![begun]);
        self.unsynced.clear();
        self.parts.clear();
        self.tail.clear();
        self.indexed = base;
        self.dir_dirty = true;
        self.replaced = true;
        let mut others = deleted.iter().filter(|segment| segment.base != base);
        dir.write("begin below the start", || {
            others.try_for_each(|segment| segment.remove_files(&dir))
        })
    }

    /// Kafka's rule (`LogSegment.shouldRoll`) for a batch that would follow `pending` in the active segment: size, time
    /// since the first batch by timestamps, an index that is full, or an offset that does not fit the index.
    fn must_roll(&self, pending: &[BatchHeader], batch: &BatchHeader, wall_ms: i64) -> bool {
        let Some(active) = self.active() else { return false };
        let size = active.size + pending.iter().map(|batch| batch.size() as u64).sum::<u64>();
        let too_far = batch.last_offset().0 - active.base.0 > i64::from(i32::MAX);
        if size == 0 {
            return too_far;
        }
        let started = active
            .first_timestamp
            .or_else(|| pending.first().map(|batch| batch.max_timestamp));
        let age = match started.filter(|timestamp| *timestamp >= 0) {
            Some(started) => batch.max_timestamp.saturating_sub(started),
            None => wall_ms.saturating_sub(active.created_ms),
        };
        let index_full = active
            .index
            .as_ref()
            .is_some_and(|index| index.is_full(self.config.segment_index_bytes));
        size + batch.size() as u64 > u64::from(self.config.segment_bytes)
            || age > self.config.segment_ms - active.jitter_ms
            || index_full
            || too_far
    }

    /// Closes the active segment and begins another at the log end. Its index files and the new name are
    /// synced by the flush that covers them.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.check_writable()?;
        let (dir, base, config) = (self.dir.clone(), self.log_end, self.config);
        let Some(active) = self.segments.last_mut() else {
            return Err(LogError::Offline);
        };
        if active.size == 0 && active.base == base {
            return Ok(());
        }
        let empty = active.size == 0;
        let created = dir.write_if_room("roll", || -> io::Result<Segment> {
            if empty {
                active.remove_files(&dir)?;
                return Segment::begin(&dir, &self.path, base, &config);
            }
            // The active segment stays what it is until all that may find no room is done.
            self.unsynced.extend(active.finish_index(&dir)?);
            Segment::begin(&dir, &self.path, base, &config)
        })?;
        if empty {
            self.segments.pop();
        } else if let Some(rolled) = self.segments.last_mut() {
            let synced_later = dir.write("roll", || rolled.close(&dir))?;
            self.unsynced.extend(synced_later);
        }
        self.segments.push(created);
        self.indexed = base;
        self.dir_dirty = true;
        Ok(())
    }
}
