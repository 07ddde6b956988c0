use super::Log;
use crate::LogError;
use crate::segment::Segment;
use bytes::Bytes;
use records::BatchHeader;
use std::io;
use types::Offset;

impl Log {
    /// Appends whole batches whose base offsets and leader epochs are set: ascending, from `first`, which is
    /// the log end or (on a follower of a compacted log) above it, up to `next`. One write for each segment that they
    /// go to; segments roll between batches as if each came alone. `bytes` stay in the tail cache. `wall_ms` is for
    /// `segment.ms` and `retention.ms` where batches carry no timestamp.
    ///
    /// # Errors
    /// [`LogError::InvalidAppend`], nothing was written; [`LogError::Corrupt`]; [`LogError::Offline`] from the
    /// first failed write on.
    pub fn append(&mut self, bytes: Bytes, first: Offset, next: Offset, wall_ms: i64) -> Result<(), LogError> {
        self.check_writable()?;
        let headers = self.check_append(&bytes, first, next)?;
        let (mut left, mut at) = (&headers[..], 0);
        while let Some(batch) = left.first() {
            if self.must_roll(&[], batch, wall_ms) {
                self.roll()?;
            }
            let mut count = 1;
            while let Some(more) = left.get(count)
                && !self.must_roll(&left[..count], more, wall_ms)
            {
                count += 1;
            }
            let (batches, rest) = left.split_at(count);
            let len: usize = batches.iter().map(BatchHeader::size).sum();
            self.write_batches(&bytes[at..at + len], batches, wall_ms)?;
            (left, at) = (rest, at + len);
        }
        self.touched = true;
        self.tail.push(first, next, bytes);
        Ok(())
    }

    /// One write to the active segment, which has room for it.
    fn write_batches(&mut self, bytes: &[u8], batches: &[BatchHeader], wall_ms: i64) -> Result<(), LogError> {
        let dir = self.dir.clone();
        let Some(active) = self.segments.last_mut() else {
            return Err(LogError::Offline);
        };
        let mut position = active.size;
        dir.write("append", || active.append(&dir, bytes, wall_ms))?;
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
        Ok(())
    }

    fn check_append(&self, bytes: &Bytes, first: Offset, next: Offset) -> Result<Vec<BatchHeader>, LogError> {
        let refuse = |why| LogError::InvalidAppend {
            first,
            next,
            log_end: self.log_end,
            why,
        };
        if first < self.log_end {
            return Err(refuse("it starts below the log end"));
        }
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
            Some(_) => Ok(headers),
        }
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
        let created = dir.write("roll", || -> io::Result<Segment> {
            if empty {
                active.remove_files(&dir)?;
            } else {
                self.unsynced.extend(active.finish(&dir)?);
            }
            Segment::create(&dir, &self.path, base, &config)
        })?;
        if empty {
            self.segments.pop();
        }
        self.segments.push(created);
        self.indexed = base;
        self.dir_dirty = true;
        Ok(())
    }
}
