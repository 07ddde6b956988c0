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
    /// Used of the journal's current file, and its length.
    pub journal_bytes: u64,
    pub journal_capacity_bytes: u64,
    /// Segments with bytes that only the journal has for certain.
    pub journal_uncovered: u64,
    /// Flushes that synced every file because the journal was nearly full.
    pub journal_direct_rounds: u64,
    /// Segments whose sync acknowledgements had to wait for because the journal was full.
    pub journal_waits: u64,
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
            journal_capacity_bytes: dir.journal_fill.capacity.get(),
            journal_uncovered: dir.journal_fill.uncovered.get(),
            journal_direct_rounds: dir.journal_fill.direct_rounds.get(),
            journal_waits: dir.journal_fill.waits.get(),
        }
    }
}
