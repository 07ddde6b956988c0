use std::time::Duration;

/// What goes wrong from now on. A path is within the mount, as `/data/topic-0/00000000000000000000.log`.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Syncs of files and directories whose path contains this fail with EIO; with the first that does, the unsynced writes
    /// of all these files are lost to the disk, though they are seen until the power goes.
    pub fail_sync: Option<String>,
    /// Writes, cuts and extensions of files whose path contains this fail with EIO and change nothing.
    pub fail_write: Option<String>,
    /// There is no room: ENOSPC for what needs some, and `statvfs` says so.
    pub full: bool,
    /// Every sync takes this long. It covers what was written before it began.
    pub sync_delay: Duration,
}

impl Faults {
    #[must_use]
    pub fn fails_sync(&self, path: &str) -> bool {
        self.fail_sync.as_deref().is_some_and(|part| path.contains(part))
    }

    #[must_use]
    pub fn fails_write(&self, path: &str) -> bool {
        self.fail_write.as_deref().is_some_and(|part| path.contains(part))
    }
}
