use serde::Serialize;

/// What one power loss did, or all of them together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Files with unsynced changes.
    pub files: u64,
    /// Unsynced writes, and cuts or extensions.
    pub changes: u64,
    /// Bytes of the unsynced writes.
    pub bytes: u64,
    /// Sectors with unsynced writes of which the last is on disk now.
    pub sectors_kept: u64,
    /// Sectors with unsynced writes that hold something older.
    pub sectors_lost: u64,
    /// Writes of which some sectors are on disk and some are not.
    pub writes_torn: u64,
    /// Unsynced changes of names that are on disk now.
    pub names_kept: u64,
    pub names_lost: u64,
}

impl Loss {
    pub(crate) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.changes += other.changes;
        self.bytes += other.bytes;
        self.sectors_kept += other.sectors_kept;
        self.sectors_lost += other.sectors_lost;
        self.writes_torn += other.writes_torn;
        self.names_kept += other.names_kept;
        self.names_lost += other.names_lost;
    }
}

/// What the layer has done so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub writes: u64,
    /// Syncs of files, those that failed not among them.
    pub syncs: u64,
    pub directory_syncs: u64,
    /// Writes, syncs and calls for room that a fault has failed.
    pub failed: u64,
    /// Times that a file was written back unasked, since too much was unsynced.
    pub written_back: u64,
    pub losses: u64,
    pub lost: Loss,
}
