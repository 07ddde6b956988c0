use super::Log;
use crate::LogError;
use crate::batch_scan::BatchScan;
use crate::directory::Directory;
use crate::index::{OffsetEntries, start_for_timestamp};
use crate::segment::Segment;
use bytes::Bytes;
use records::{Batch, BatchHeader, decode_records};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, limits};

/// A look-up of ListOffsets by timestamp: it reads files, so it runs on a pool. Made by [`Log::search_timestamp`].
pub struct TimestampSearch {
    dir: Arc<Directory>,
    timestamp: i64,
    /// Records in [`from`, `up_to`) count.
    from: Offset,
    up_to: Offset,
    /// Segments that have a batch of that timestamp or a later one, oldest first.
    segments: Vec<Candidate>,
}

struct Candidate {
    path: PathBuf,
    size: u64,
    /// Known from the index in memory; a rolled segment has files.
    start: Option<u64>,
}

/// A record's offset, timestamp and leader epoch.
type Found = (Offset, i64, LeaderEpoch);

impl Log {
    /// Looks for the first record below `up_to` whose timestamp is at least `timestamp`.
    #[must_use]
    pub fn search_timestamp(&self, timestamp: i64, up_to: Offset) -> TimestampSearch {
        let may_have = |segment: &&Segment| {
            segment.base < up_to && segment.max_timestamp.is_some_and(|(greatest, _)| greatest >= timestamp)
        };
        let segments = self.segments.iter().filter(may_have);
        self.search(timestamp, up_to, segments)
    }

    /// Looks for the first record that has the greatest timestamp in the log (KIP-734), if it is below `up_to`.
    #[must_use]
    pub fn search_max_timestamp(&self, up_to: Offset) -> TimestampSearch {
        let mut newest: Option<(i64, &Segment)> = None;
        for segment in &self.segments {
            if let Some((timestamp, _)) = segment.max_timestamp
                && newest.is_none_or(|(greatest, _)| timestamp > greatest)
            {
                newest = Some((timestamp, segment));
            }
        }
        let timestamp = newest.map_or(i64::MAX, |(timestamp, _)| timestamp);
        self.search(timestamp, up_to, newest.map(|(_, segment)| segment).into_iter())
    }

    fn search<'a>(
        &self,
        timestamp: i64,
        up_to: Offset,
        segments: impl Iterator<Item = &'a Segment>,
    ) -> TimestampSearch {
        let candidate = |segment: &Segment| Candidate {
            path: segment.path.clone(),
            size: segment.size,
            start: segment.index.as_ref().map(|index| index.start_for_timestamp(timestamp)),
        };
        TimestampSearch {
            dir: self.dir.clone(),
            timestamp,
            from: self.log_start,
            up_to,
            segments: segments.map(candidate).collect(),
        }
    }
}

impl TimestampSearch {
    /// Blocking.
    ///
    /// # Errors
    /// [`LogError::Io`]; a batch that does not decode is one.
    pub fn run(&self) -> Result<Option<Found>, LogError> {
        for segment in &self.segments {
            match self.search_segment(segment) {
                Ok(None) => {}
                // Deleted meanwhile, by retention or with the topic.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => return Ok(found?),
            }
        }
        Ok(None)
    }

    fn search_segment(&self, segment: &Candidate) -> io::Result<Option<Found>> {
        let start = match segment.start {
            Some(start) => start,
            None => self.start_by_files(segment)?,
        };
        let file = self.dir.open_file(&segment.path)?;
        let mut scan = BatchScan::new(file, start, segment.size, 64 * 1024);
        while let Some((_, header, bytes)) = scan.next_batch()? {
            if header.base_offset >= self.up_to {
                return Ok(None);
            }
            if header.max_timestamp < self.timestamp || header.last_offset() < self.from {
                continue;
            }
            if let Some(found) = self.search_batch(header, bytes)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_batch(&self, header: BatchHeader, bytes: &[u8]) -> io::Result<Option<Found>> {
        let batch = Batch {
            header,
            bytes: Bytes::copy_from_slice(bytes),
        };
        let records = decode_records(&batch, limits::DECOMPRESSED_BYTES_MAX)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut records = records.iter().map(|record| match header.is_log_append_time() {
            true => (record.offset, header.max_timestamp),
            false => (record.offset, record.timestamp),
        });
        let found = records
            .find(|(offset, at)| *at >= self.timestamp && (self.from..self.up_to).contains(offset))
            .map(|(offset, at)| (offset, at, header.leader_epoch));
        Ok(found)
    }

    /// By binary search in the index files; the segment's start where they are missing, which is slower, not wrong.
    fn start_by_files(&self, segment: &Candidate) -> io::Result<u64> {
        let open = |extension| self.dir.open_file(&segment.path.with_extension(extension));
        match (open("index"), open("timeindex")) {
            (Ok(offsets), Ok(times)) => start_for_timestamp(&OffsetEntries::of_file(offsets)?, &*times, self.timestamp),
            _ => Ok(0),
        }
    }
}
