use std::io;
use std::path::{Path, PathBuf};

/// What goes wrong. Counters count down: `Some(0)` fails the next call, once.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Writes that still succeed before one fails with EIO.
    pub writes_before_error: Option<u64>,
    /// File syncs that still succeed before one fails with EIO. What was dirty then is forgotten, as the
    /// kernel does: a later sync succeeds and persists nothing of it.
    pub syncs_before_error: Option<u64>,
    /// Directory syncs that still succeed before one fails with EIO.
    pub dir_syncs_before_error: Option<u64>,
    /// Bytes that all files may hold together: a write beyond takes what fits and fails with ENOSPC.
    pub capacity_bytes: Option<u64>,
    /// Calls of any kind that still succeed before the current life is sealed, as by [`super::SimDisk::seal`]:
    /// a crash in the middle of whatever is under way.
    pub calls_before_seal: Option<u64>,
    /// The same, so many calls after the next write at the beginning of this file.
    pub calls_after_beginning_before_seal: Option<(PathBuf, u64)>,
    /// What [`super::SimDisk::fail_write_back`] did to a file is forgotten with its last open handle: a sync through
    /// a handle that is opened later succeeds (the kernel may drop the inode, and the error with it).
    pub lose_error_on_close: bool,
    /// Part of the disk has failed, until this is taken away.
    pub failing: Option<Failing>,
    /// Nothing is in the page cache: whoever asks is told that a read would wait.
    pub nothing_is_cached: bool,
    /// What counts as cached is only on its way to memory: who asks for it waits.
    pub reads_are_under_way: bool,
    /// The file system reads nothing around the page cache.
    pub no_direct_reads: bool,
    /// A lying disk: syncs report success and do nothing.
    pub drop_syncs: bool,
}

/// A part of the disk on which nothing becomes durable any more. What was dirty at a failed sync is forgotten, as the
/// kernel does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub below: PathBuf,
    /// Changes of files and names fail too, not only syncs.
    pub writes: bool,
}

/// Something that was done to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskEvent {
    Write { path: PathBuf, position: u64, len: u64 },
    SetLen { path: PathBuf, len: u64 },
    Sync { path: PathBuf },
    SyncDir { path: PathBuf },
    Create { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

impl Faults {
    /// By how much a file may grow that wants to grow by `grows_by`.
    pub(crate) fn on_write(&mut self, path: &Path, used: u64, grows_by: u64) -> io::Result<u64> {
        self.on_change(path)?;
        count_down(&mut self.writes_before_error)?;
        let left = self.capacity_bytes.map(|capacity| capacity.saturating_sub(used));
        Ok(left.map_or(grows_by, |left| left.min(grows_by)))
    }

    /// A file was written to at its beginning.
    pub(crate) fn on_beginning(&mut self, path: &Path) {
        let planned = self.calls_after_beginning_before_seal.take_if(|(of, _)| of == path);
        self.calls_before_seal = planned.map(|(_, calls)| calls).or(self.calls_before_seal);
    }

    /// A file or a name is to be changed.
    pub(crate) fn on_change(&self, path: &Path) -> io::Result<()> {
        match &self.failing {
            Some(failing) if failing.writes && path.starts_with(&failing.below) => Err(eio()),
            _ => Ok(()),
        }
    }

    pub(crate) fn fits(&self, used: u64, grows_by: u64) -> bool {
        self.capacity_bytes
            .is_none_or(|capacity| used.saturating_add(grows_by) <= capacity)
    }

    pub(crate) fn on_sync(&mut self, path: &Path) -> io::Result<()> {
        self.check_failing(path)?;
        count_down(&mut self.syncs_before_error)
    }

    pub(crate) fn on_sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.check_failing(path)?;
        count_down(&mut self.dir_syncs_before_error)
    }

    fn check_failing(&self, path: &Path) -> io::Result<()> {
        match &self.failing {
            Some(failing) if path.starts_with(&failing.below) => Err(eio()),
            _ => Ok(()),
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn count_down(counter: &mut Option<u64>) -> io::Result<()> {
    match counter {
        None => Ok(()),
        Some(0) => {
            *counter = None;
            Err(eio())
        }
        Some(left) => {
            *left -= 1;
            Ok(())
        }
    }
}
