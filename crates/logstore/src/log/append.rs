use super::Log;
use crate::LogError;
use crate::segment::Segment;
use bytes::Bytes;
use records::BatchHeader;
use std::io;
use types::Offset;

impl Log {
    /// Appends whole batches whose base offsets and leader epochs are set: ascending, from `first`, which is
    /// the log end or (on a follower of a compacted log) above it, up to `next`. One write; `bytes` stay in the tail
    /// cache. `wall_ms` is for `segment.ms` where batches carry no timestamp.
    ///
    /// # Errors
    /// [`LogError::InvalidAppend`], nothing was written; [`LogError::Corrupt`]; [`LogError::Offline`] from the
    /// first failed write on.
    pub fn append(
        &mut self,
        bytes: Bytes,
        first: Offset,
        next: Offset,
        max_timestamp: i64,
        wall_ms: i64,
    ) -> Result<(), LogError> {
        self.check_writable()?;
        let headers = self.check_append(&bytes, first, next)?;
        if self.must_roll(bytes.len(), next, max_timestamp, wall_ms) {
            self.roll()?;
        }
        let dir = self.dir.clone();
        let Some(active) = self.segments.last_mut() else {
            return Err(LogError::Offline);
        };
        let mut position = active.size;
        dir.write("append", || active.append(&bytes))?;
        for header in &headers {
            active.note(header, position);
            position += header.size() as u64;
        }
        active.next = next;
        for header in &headers {
            if self.epochs.last().is_none_or(|(epoch, _)| header.leader_epoch > *epoch) {
                self.assign_epoch(header.leader_epoch, header.base_offset);
            }
            self.last_epoch = header.leader_epoch;
        }
        self.log_end = next;
        self.active_dirty = true;
        self.bytes_dirty += bytes.len() as u64;
        self.tail.push(first, next, bytes);
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

    /// Kafka's rule (`LogSegment.shouldRoll`): size, time since the first append by timestamps, index full,
    /// or an offset that does not fit the index.
    fn must_roll(&self, bytes: usize, next: Offset, max_timestamp: i64, wall_ms: i64) -> bool {
        let Some(active) = self.active() else { return false };
        if active.size == 0 {
            // A gap before the first batch may still be too wide.
            return next.0 - active.base.0 > i64::from(i32::MAX);
        }
        let reached = if max_timestamp >= 0 { max_timestamp } else { wall_ms };
        let started = active.first_timestamp.filter(|timestamp| *timestamp >= 0);
        let expired = started.is_some_and(|started| reached.saturating_sub(started) > self.config.segment_ms);
        let index_full = active
            .index
            .as_ref()
            .is_some_and(|index| index.offsets.len() as u64 * 8 >= u64::from(self.config.segment_index_bytes));
        active.size + bytes as u64 > u64::from(self.config.segment_bytes)
            || expired
            || index_full
            || next.0 - active.base.0 > i64::from(i32::MAX)
    }

    /// Closes the active segment and begins another at the log end. Its index files and the new name are
    /// synced by the flush that covers them.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.check_writable()?;
        let (dir, base, interval) = (self.dir.clone(), self.log_end, self.config.index_interval_bytes);
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
                let indexes = active.write_index(&dir)?;
                self.unsynced.extend(indexes);
                self.unsynced.extend(active.file.take());
                active.index = None;
            }
            Segment::create(&dir, &self.path, base, interval)
        })?;
        if empty {
            self.segments.pop();
        }
        self.segments.push(created);
        self.dir_dirty = true;
        self.active_dirty = true;
        Ok(())
    }
}
