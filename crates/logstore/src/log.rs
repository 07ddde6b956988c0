//! One replica's log. See [`Log`].

mod append;
mod epochs;
mod flushing;
mod lifecycle;
mod log_start;
mod read;
mod snapshots;
mod timestamps;
mod truncate;

pub(crate) use lifecycle::{deleted_path, partition_metadata};
pub use log_start::LogStartMove;
pub use timestamps::TimestampSearch;

use crate::directory::{Directory, lock};
use crate::marks::LogKey;
use crate::segment::Segment;
use crate::tail_cache::TailCache;
use crate::{LogConfig, LogError};
use bytes::Bytes;
use host::{File, is_out_of_handles};
use std::path::PathBuf;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, ReplicaIncarnation, TopicPartition};

/// One replica's log: segments, epochs, positions. Owned by one shard.
///
/// ```text
///  log_start_offset        durable_offset       log_end_offset
///        ├───────────────────────┼────────────────────┤
///        │ on disk, mark too     │ written, not synced│
///  segments: │ base 0 (rolled) │ base 812 (rolled) │ base 1700 (active) → appends
/// ```
///
/// Appends and reads of the tail do not wait for the disk. Truncations, deletions and moves of the log start
/// do: they are durable in the marks journal before they return, and they are rare.
pub struct Log {
    pub(crate) dir: Arc<Directory>,
    pub(crate) key: LogKey,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) config: LogConfig,
    /// Ascending by base, contiguous, at least one; the last is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) durable: Offset,
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    /// How many of `epochs` are durable; the rest goes with the next flush.
    pub(crate) epochs_durable: usize,
    /// The job that is out makes epochs durable that were forgotten since.
    pub(crate) epochs_forgotten: bool,
    pub(crate) tail: TailCache,
    /// Files with unsynced bytes beside the active segment's, held open until they are synced.
    pub(crate) unsynced: Vec<Arc<dyn File>>,
    /// The active segment has unsynced bytes.
    pub(crate) active_dirty: bool,
    /// Names in the log's directory are not synced.
    pub(crate) dir_dirty: bool,
    /// A truncation is journalled whose effect on files is not synced.
    pub(crate) cut_dirty: bool,
    /// See [`crate::FlushJob`]: with the next flush.
    pub(crate) replaced: bool,
    pub(crate) bytes_dirty: u64,
    /// These bytes, while they are few.
    pub(crate) parts: Vec<Bytes>,
    /// Appended to since the last [`Log::rest`].
    pub(crate) touched: bool,
    /// The index files hold all entries of what lies below, whether they are synced or not.
    pub(crate) indexed: Offset,
    pub(crate) generation: u64,
    pub(crate) job_out: bool,
    /// Half of an append was cut off again; appends wait until that is on disk.
    pub(crate) mending: bool,
    /// Where recovery found bad data below the durable mark.
    pub(crate) corrupt: Option<Offset>,
}

impl Log {
    /// A log without segments, for creation and recovery, which add them.
    pub(crate) fn bare(dir: &Arc<Directory>, key: LogKey, name: String, config: LogConfig, log_start: Offset) -> Self {
        let path = dir.path.join(format!("{name}-{}", key.tp.partition));
        Self {
            dir: dir.clone(),
            key,
            name,
            path,
            config,
            segments: Vec::new(),
            log_start,
            log_end: log_start,
            durable: log_start,
            last_epoch: LeaderEpoch::NONE,
            epochs: Vec::new(),
            epochs_durable: 0,
            epochs_forgotten: false,
            tail: TailCache::default(),
            unsynced: Vec::new(),
            active_dirty: false,
            dir_dirty: false,
            cut_dirty: false,
            replaced: false,
            bytes_dirty: 0,
            parts: Vec::new(),
            touched: false,
            indexed: log_start,
            generation: 0,
            job_out: false,
            mending: false,
            corrupt: None,
        }
    }

    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.key.tp
    }

    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn incarnation(&self) -> ReplicaIncarnation {
        self.key.incarnation
    }

    /// Id of the directory that holds it.
    #[must_use]
    pub fn directory_id(&self) -> types::DirectoryId {
        self.dir.id
    }

    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next record will get.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// Everything below is on disk, as far as [`Log::finish_flush`] was told.
    #[must_use]
    pub fn durable_offset(&self) -> Offset {
        self.durable
    }

    /// Leader epoch of the last batch; [`LeaderEpoch::NONE`] if the log is empty.
    #[must_use]
    pub fn last_epoch(&self) -> LeaderEpoch {
        self.last_epoch
    }

    /// Where the log is known to be damaged below its durable mark: it refuses appends until it is truncated
    /// fully.
    #[must_use]
    pub fn corrupt_at(&self) -> Option<Offset> {
        self.corrupt
    }

    /// Whether a write or sync in this log's directory has failed.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.dir.is_offline()
    }

    /// Whether appends are refused for want of room, or because a write that found none is still being mended.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.mending || self.dir.room.is_full()
    }

    /// Whether the next append finds room and a file handle. It has the handle then, until the log rests.
    pub fn has_room(&mut self) -> bool {
        if self.is_full() {
            return false;
        }
        let Some(active) = self.segments.last_mut() else {
            return true;
        };
        match active.open_to_append(&self.dir) {
            Err(error) if is_out_of_handles(&error) => {
                self.dir.out_of_handles();
                false
            }
            // Any other error is the append's.
            _ => true,
        }
    }

    /// Bytes in all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// The topic's configuration changed.
    pub fn set_config(&mut self, config: LogConfig) {
        let jitter = |config: &LogConfig| (config.segment_jitter_ms, config.segment_ms);
        let before = std::mem::replace(&mut self.config, config);
        if jitter(&before) != jitter(&config)
            && let Some(active) = self.segments.last_mut()
        {
            active.make_active(&self.dir, &config);
        }
    }

    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Remembers the high watermark for `replication-offset-checkpoint`, which
    /// [`crate::LogDir::write_checkpoints`] writes.
    pub fn checkpoint_high_watermark(&self, high_watermark: Offset) {
        lock(&self.dir.high_watermarks).insert((self.name.clone(), self.key.tp.partition), high_watermark);
    }

    /// The high watermark remembered last, or read when the directory was opened. The caller clamps it to the
    /// log's bounds.
    #[must_use]
    pub fn high_watermark_checkpoint(&self) -> Option<Offset> {
        lock(&self.dir.high_watermarks)
            .get(&(self.name.clone(), self.key.tp.partition))
            .copied()
    }

    /// Online and not corrupt.
    pub(crate) fn check_writable(&self) -> Result<(), LogError> {
        self.dir.check_online()?;
        match self.corrupt {
            Some(at) => Err(LogError::Corrupt(at)),
            None => Ok(()),
        }
    }

    pub(crate) fn active(&self) -> Option<&Segment> {
        self.segments.last()
    }
}
