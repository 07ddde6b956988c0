use super::Log;
use crate::LogError;
use crate::batch_scan::HeaderScan;
use crate::producer_snapshot::{
    ProducerSnapshot, ProducerSnapshotEntry, decode_producer_snapshot, encode_producer_snapshot,
};
use crate::segment::{base_of_name, remove_if_there, segment_path};
use std::collections::VecDeque;
use std::io;
use types::{Offset, limits};

/// Snapshots kept, as in Kafka: the newest may turn out to be torn.
const KEPT: usize = 2;

impl Log {
    /// Writes the producer state at `offset` to Kafka's `.snapshot` file; older ones but two are removed. It
    /// is never needed for safety: what is missing is read from the log again.
    ///
    /// # Errors
    /// [`LogError::Offline`], also when the write fails.
    pub fn write_producer_snapshot(&self, offset: Offset, entries: &[ProducerSnapshotEntry]) -> Result<(), LogError> {
        self.check_writable()?;
        let path = segment_path(&self.path, offset, "snapshot");
        self.dir.write("producer snapshot", || {
            crate::checkpoint::export_bytes(&*self.dir.disk, &path, &encode_producer_snapshot(entries))?;
            let offsets = self.snapshot_offsets()?;
            for old in &offsets[..offsets.len().saturating_sub(KEPT)] {
                remove_if_there(&self.dir, &segment_path(&self.path, *old, "snapshot"))?;
            }
            Ok(())
        })
    }

    fn snapshot_offsets(&self) -> io::Result<Vec<Offset>> {
        let names = self.dir.disk.read_dir(&self.path)?;
        Ok(names
            .iter()
            .filter_map(|entry| base_of_name(&entry.name, "snapshot"))
            .collect())
    }

    /// The newest valid producer snapshot within the log: its offset and entries.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn read_producer_snapshot(&self) -> Result<Option<ProducerSnapshot>, LogError> {
        for offset in self.snapshot_offsets()?.into_iter().rev() {
            if offset > self.log_end || offset < self.log_start {
                continue;
            }
            let path = segment_path(&self.path, offset, "snapshot");
            let file = self.dir.disk.open(&path, host::OpenMode::Read)?;
            if file.len()? > limits::PRODUCER_SNAPSHOT_BYTES_MAX {
                continue;
            }
            match decode_producer_snapshot(&self.dir.disk.read(&path)?) {
                Some(entries) => return Ok(Some((offset, entries))),
                None => tracing::warn!(path = %path.display(), "a producer snapshot is damaged and ignored"),
            }
        }
        Ok(None)
    }

    /// The newest producer snapshot, and the headers of all batches after it: what rebuilds the producer
    /// state. Blocking.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn recovered_tail(&self) -> Result<(Option<ProducerSnapshot>, HeaderScan), LogError> {
        let snapshot = self.read_producer_snapshot()?;
        let from = snapshot.as_ref().map_or(self.log_start, |(offset, _)| *offset);
        Ok((snapshot, self.headers(from)))
    }

    /// Headers of all batches from the one that contains `from`.
    #[must_use]
    pub fn headers(&self, from: Offset) -> HeaderScan {
        let first = self
            .segments
            .partition_point(|segment| segment.base <= from)
            .saturating_sub(1);
        let mut segments: VecDeque<_> = self.segments[first..]
            .iter()
            .map(|segment| (segment.path.clone(), 0, segment.size))
            .collect();
        // Where the index does not help, the segment is read from its start.
        if let (Some((_, start, _)), Some(segment)) = (segments.front_mut(), self.segments.get(first))
            && let Ok(Some((position, _))) = segment.batch_at(&self.dir, from)
        {
            *start = position;
        }
        HeaderScan::new(self.dir.clone(), segments, from)
    }

    /// Snapshots above `offset` describe what is no longer in the log.
    pub(crate) fn remove_snapshots_above(&self, offset: Offset) -> io::Result<()> {
        for found in self.snapshot_offsets()? {
            if found > offset {
                remove_if_there(&self.dir, &segment_path(&self.path, found, "snapshot"))?;
            }
        }
        Ok(())
    }
}
