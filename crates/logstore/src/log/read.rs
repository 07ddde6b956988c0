use super::Log;
use crate::cold_read::ColdRead;
use crate::{LogError, LogSlice};
use bytes::Bytes;
use host::Pool;
use std::future::Future;
use std::sync::Arc;
use types::Offset;

impl Log {
    /// Whole batches from the one that contains `from`, below `up_to`, at most `max_bytes`, but the first
    /// batch in any case if `at_least_one`. Memory for the recent tail, else a range of a file (never across
    /// segments): read it with [`LogSlice::bytes_now`] on a shard. Does not wait for the disk: where finding the
    /// range would, that is left to whoever reads the slice.
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
        let holding = self.segments.partition_point(|segment| segment.next <= from);
        let Some(segment) = self.segments.get(holding) else {
            return Ok(LogSlice::Empty);
        };
        let mut read = ColdRead::new(self, segment, (from, up_to), max_bytes, at_least_one);
        match read.resolve_now() {
            Some(resolved) => resolved,
            None => Ok(LogSlice::Cold(Box::new(read))),
        }
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
