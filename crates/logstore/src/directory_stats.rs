use crate::directory::Directory;
use metrics::Tally;
use std::path::PathBuf;

/// What is counted of a log directory.
#[derive(Debug, Clone)]
pub struct DirectoryStats {
    pub path: PathBuf,
    /// A write or sync has failed, for good.
    pub offline: bool,
    /// No more records are taken, for want of room.
    pub full: bool,
    /// Of the file system, as it was measured last; 0 before.
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Of these the file system keeps so many free of records.
    pub reserve_bytes: u64,
    /// Rounds of the flusher: files, names and marks on disk.
    pub flush: Tally,
    /// Length of the marks journal, and at which it is rewritten compactly.
    pub journal_bytes: u64,
    pub journal_rewrite_bytes: u64,
}

impl DirectoryStats {
    pub(crate) fn of(dir: &Directory) -> Self {
        Self {
            path: dir.path.clone(),
            offline: dir.is_offline(),
            full: dir.room.is_full(),
            free_bytes: dir.room.free_bytes.get(),
            total_bytes: dir.room.total_bytes.get(),
            reserve_bytes: dir.room.reserve_bytes.get(),
            flush: Tally::from(&dir.flush_time),
            journal_bytes: dir.journal_fill.bytes.get(),
            journal_rewrite_bytes: dir.journal_fill.rewrite_at.get(),
        }
    }
}
