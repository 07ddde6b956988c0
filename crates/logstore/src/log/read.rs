use super::Log;
use crate::rot::Chain;
use crate::{LogError, LogSlice};
use bytes::Bytes;
use host::Pool;
use records::{Batch, decode_records};
use std::future::Future;
use std::io;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, limits};

impl Log {
    /// Whole batches from the one that contains `from`, below `up_to`, at most `max_bytes`, but the first
    /// batch in any case if `at_least_one`. Memory for the recent tail, else a range of a file (never across
    /// segments): ask [`LogSlice::is_cached`] before reading it on a shard.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`] outside `[log_start_offset, log_end_offset]`; [`LogError::Rot`]; [`LogError::Io`].
    pub fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        if from < self.log_start || from > self.log_end {
            return Err(LogError::OffsetOutOfRange {
                offset: from,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        let up_to = up_to.min(self.log_end);
        if from >= up_to {
            return Ok(LogSlice::Empty);
        }
        if let Some(bytes) = self.tail.read(from, up_to, max_bytes, at_least_one) {
            return Ok(if bytes.is_empty() {
                LogSlice::Empty
            } else {
                LogSlice::Memory(bytes)
            });
        }
        self.read_file(from, up_to, max_bytes, at_least_one)
    }

    fn read_file(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogSlice, LogError> {
        let holding = self
            .segments
            .partition_point(|segment| segment.base <= from)
            .saturating_sub(1);
        for segment in &self.segments[holding..] {
            let chain = Chain::new(self, from, up_to);
            // ◆ What the segment holds and cannot be found there is damaged: going on behind it would skip records.
            let lost = || chain.broken("the batch cannot be found in its segment");
            let find = |target| {
                let found = segment.batch_at(&self.dir, target);
                found.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => LogError::from(lost()),
                    _ => error.into(),
                })
            };
            let (start, header) = match find(from)? {
                Some((_, header)) if header.base_offset > from => return Err(lost().into()),
                Some(found) => found,
                None if from < segment.next => return Err(lost().into()),
                None => continue,
            };
            if header.next_offset() > up_to {
                return Ok(LogSlice::Empty);
            }
            // Where the batch that contains `up_to` starts, nothing more may be read.
            let bound = match find(up_to)? {
                Some((position, _)) => position,
                None if up_to < segment.next => return Err(lost().into()),
                None => segment.size,
            };
            let wanted = start.saturating_add(max_bytes as u64);
            let end = if wanted >= bound {
                bound
            } else {
                segment.whole_batches(&self.dir, start, wanted)?
            };
            let first_end = start + header.size() as u64;
            let end = if at_least_one { end.max(first_end) } else { end };
            if end < first_end {
                return Ok(LogSlice::Empty);
            }
            let len = usize::try_from(end - start).map_err(io::Error::other)?;
            return Ok(LogSlice::File {
                file: segment.file(&self.dir)?,
                position: start,
                len,
                chain,
            });
        }
        Ok(LogSlice::Empty)
    }

    /// [`Log::read`], with bytes that are not in memory read on a pool. The future borrows nothing.
    pub fn read_cold(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
        at_least_one: bool,
        pool: Arc<dyn Pool>,
    ) -> impl Future<Output = Result<Bytes, LogError>> + Send + 'static + use<> {
        let slice = self.read(from, up_to, max_bytes, at_least_one);
        async move { slice?.load(pool).await }
    }

    /// The first record below `up_to` whose timestamp is at least `timestamp`: its offset, timestamp and leader
    /// epoch.
    ///
    /// # Errors
    /// [`LogError::Io`]; a batch that does not decode is one.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        up_to: Offset,
    ) -> Result<Option<(Offset, i64, LeaderEpoch)>, LogError> {
        for segment in &self.segments {
            if segment.base >= up_to || segment.max_timestamp.is_none_or(|(greatest, _)| greatest < timestamp) {
                continue;
            }
            let mut scan = segment.scan_for_timestamp(&self.dir, timestamp)?;
            while let Some((_, header, bytes)) = scan.next_batch()? {
                if header.base_offset >= up_to {
                    return Ok(None);
                }
                if header.max_timestamp < timestamp || header.last_offset() < self.log_start {
                    continue;
                }
                let batch = Batch {
                    header,
                    bytes: Bytes::copy_from_slice(bytes),
                };
                let records = decode_records(&batch, limits::DECOMPRESSED_BYTES_MAX)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                for record in records {
                    let at = if header.is_log_append_time() {
                        header.max_timestamp
                    } else {
                        record.timestamp
                    };
                    if at >= timestamp && record.offset >= self.log_start && record.offset < up_to {
                        return Ok(Some((record.offset, at, header.leader_epoch)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The greatest timestamp in the log and the last offset of the batch that has it (KIP-734).
    #[must_use]
    pub fn max_timestamp(&self) -> Option<(i64, Offset)> {
        let found = self.segments.iter().filter_map(|segment| segment.max_timestamp);
        found.fold(None, |best, next| match best {
            Some((timestamp, _)) if timestamp >= next.0 => best,
            _ => Some(next),
        })
    }
}
