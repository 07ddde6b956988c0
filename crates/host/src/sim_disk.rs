//! A disk that forgets what was not synced. See [`SimDisk`].

mod faults;
mod file;
mod handle;
mod inode;
mod tree;

#[cfg(test)]
mod tests;

pub use faults::{DiskEvent, Failing, Faults};

use crate::Disk;
use file::SimFile;
use handle::SimHandle;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::Tree;

/// Bytes that a disk writes as one: a write that is torn by a crash is torn between sectors.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk; clones are handles to the same one, and it survives the crash of what runs on it.
///
/// For each file it keeps apart what was synced and what was only written, for each directory the names
/// that were synced and those that were not. [`SimDisk::crash`] keeps, loses or tears each unsynced write at
/// random, sector by sector and in any order, and each unsynced change of a name; a rename within one
/// directory is atomic. Everything is decided by the seeds given, so the same calls give the same disk.
///
/// Each life of a machine works through the handle that [`SimDisk::handle`] gave it. Once the life is sealed,
/// every call through its handles and files fails, so tasks that are dropped after the crash cannot write.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// Everything on the disk. One lock for all: the simulator has one thread.
pub(crate) struct State {
    tree: Tree,
    faults: Faults,
    /// Which life may work; handles of an older one fail.
    life: u64,
    sealed: bool,
    locks: BTreeMap<PathBuf, u64>,
    locks_taken: u64,
    /// Handles of this life per inode.
    open: BTreeMap<u64, usize>,
    events: Option<Vec<DiskEvent>>,
    reads: u64,
    direct_reads: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            tree: Tree::new(),
            faults: Faults::default(),
            life: 1,
            sealed: false,
            locks: BTreeMap::new(),
            locks_taken: 0,
            open: BTreeMap::new(),
            events: None,
            reads: 0,
            direct_reads: 0,
        }
    }
}

/// Numbers from a seed (SplitMix64): enough to decide what a crash leaves, and stable across versions of
/// every crate, so that a seed printed last year still means the same.
#[derive(Debug, Clone)]
pub(crate) struct SeededNumbers(u64);

impl SeededNumbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

impl SimDisk {
    /// An empty disk: `/` exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as the current life sees it.
    #[must_use]
    pub fn handle(&self) -> Arc<dyn Disk> {
        let life = self.lock().life;
        Arc::new(SimHandle {
            state: self.state.clone(),
            life,
        })
    }

    /// Makes every later call of the current life fail, without forgetting anything yet.
    pub fn seal(&self) {
        self.lock().sealed = true;
    }

    /// Power loss: seals the current life, then forgets unsynced data as `seed` decides. The next
    /// [`SimDisk::handle`] belongs to the next life. Faults that were planned stay planned.
    pub fn crash(&self, seed: u64) {
        let mut state = self.lock();
        let mut numbers = SeededNumbers::new(seed);
        state.tree.crash(&mut numbers);
        state.begin_life();
    }

    /// Power loss of the worst kind: everything that was not synced is gone.
    pub fn crash_losing_everything_unsynced(&self) {
        let mut state = self.lock();
        state.tree.forget_unsynced();
        state.begin_life();
    }

    /// `kill -9`: the process ends, the page cache stays. Gives the next life's handle.
    #[must_use]
    pub fn reopen(&self) -> Arc<dyn Disk> {
        self.lock().begin_life();
        self.handle()
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
    }

    /// Flips one bit of a file, on the medium and in the cache.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]; [`io::ErrorKind::UnexpectedEof`] if `position` is behind the end.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.tree.file_at(path)?;
        state.tree.inode(inode)?.flip_bit(position, bit)
    }

    /// The kernel cannot write what is dirty in this file, long before anybody asks for a sync: it is on no disk, and
    /// the next sync of the file fails, once (see also [`Faults::lose_error_on_close`]).
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    pub fn fail_write_back(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.tree.file_at(path)?;
        state.tree.inode(inode)?.fail_write_back();
        Ok(())
    }

    /// Starts to record what is done to the disk, forgetting what was recorded.
    pub fn record_events(&self) {
        self.lock().events = Some(Vec::new());
    }

    /// What was done since [`SimDisk::record_events`].
    #[must_use]
    pub fn events(&self) -> Vec<DiskEvent> {
        self.lock().events.clone().unwrap_or_default()
    }

    /// How often a file was opened or read so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Those of them that went around the page cache.
    #[must_use]
    pub fn direct_reads(&self) -> u64 {
        self.lock().direct_reads
    }

    /// Bytes that files hold, what is allocated for them included. What was removed or replaced counts as long as it is open.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// The same for each file that has a name.
    #[must_use]
    pub fn used_by_file(&self) -> BTreeMap<PathBuf, u64> {
        self.lock().tree.used_by_file()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic elsewhere must not hide what is on the disk.
pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn begin_life(&mut self) {
        self.life += 1;
        self.sealed = false;
        self.locks.clear();
        self.open.clear();
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.tree.used_bytes(|inode| self.open.contains_key(&inode))
    }

    /// The same, if that counts: every file is asked.
    pub(crate) fn used_where_limited(&self) -> u64 {
        let limited = self.faults.capacity_bytes.is_some();
        if limited { self.used_bytes() } else { 0 }
    }

    pub(crate) fn opened(&mut self, inode: u64) {
        *self.open.entry(inode).or_default() += 1;
    }

    /// A handle of `life` is gone.
    pub(crate) fn closed(&mut self, life: u64, inode: u64) {
        if life != self.life {
            return;
        }
        if let Some(handles) = self.open.get_mut(&inode) {
            *handles -= 1;
            if *handles > 0 {
                return;
            }
            self.open.remove(&inode);
        }
        // A file that was removed meanwhile has nothing to forget.
        if self.faults.lose_error_on_close
            && let Ok(inode) = self.tree.inode(inode)
        {
            inode.take_write_back_error();
        }
    }

    pub(crate) fn check_life(&mut self, life: u64) -> io::Result<()> {
        match &mut self.faults.calls_before_seal {
            Some(0) => {
                self.faults.calls_before_seal = None;
                self.sealed = true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if self.sealed || self.life != life {
            return Err(io::Error::other("this life of the disk has ended"));
        }
        Ok(())
    }

    pub(crate) fn record(&mut self, event: impl FnOnce() -> DiskEvent) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }
}
