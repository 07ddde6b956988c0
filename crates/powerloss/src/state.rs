use crate::{Faults, Loss, Numbers, Stats, Tree};
use fuser::Errno;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

/// More unsynced bytes of one file than this are written back unasked, as a kernel does.
pub const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Everything behind the mount, under one lock.
#[derive(Debug)]
pub struct State {
    pub tree: Tree,
    pub faults: Faults,
    pub stats: Stats,
    /// Counts power losses: what was opened in an earlier life is of no use in a later one.
    pub life: u64,
    /// What each open directory lists; by handle.
    listings: BTreeMap<u64, Vec<(OsString, u64, bool)>>,
    next_listing: u64,
}

/// Where a sync that has begun will reach, and in which life it began.
#[derive(Debug, Clone, Copy)]
pub struct Sync {
    number: u64,
    reach: u64,
    life: u64,
    directory: bool,
}

impl State {
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            faults: Faults::default(),
            stats: Stats::default(),
            life: 1,
            listings: BTreeMap::new(),
            next_listing: 1,
        }
    }

    /// # Errors
    /// EIO for a file that was opened before the last power loss.
    pub fn check_life(&self, life: u64) -> Result<(), Errno> {
        if life == self.life { Ok(()) } else { Err(Errno::EIO) }
    }

    fn check_room(&mut self) -> Result<(), Errno> {
        if self.faults.full {
            self.stats.failed += 1;
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// Called before something new is made.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn before_make(&mut self) -> Result<(), Errno> {
        self.check_room()
    }

    fn before_write(&mut self, number: u64) -> Result<(), Errno> {
        if self.faults.fail_write.is_some() && self.faults.fails_write(&self.tree.path(number)) {
            self.stats.failed += 1;
            return Err(Errno::EIO);
        }
        Ok(())
    }

    /// # Errors
    /// EIO and ENOSPC by fault; ENOENT, EISDIR; those of the backing file system.
    pub fn write(&mut self, number: u64, position: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.before_write(number)?;
        self.check_room()?;
        let content = self.tree.file(number)?;
        content.write(position, bytes)?;
        if content.unsynced() > UNSYNCED_BYTES_MAX {
            content.sync_end(content.sync_begin())?;
            self.stats.written_back += 1;
        }
        self.stats.writes += 1;
        self.tree.touch(number, std::time::SystemTime::now());
        Ok(())
    }

    /// # Errors
    /// As [`State::write`].
    pub fn set_len(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        self.before_write(number)?;
        self.tree.file(number)?.set_len(len)?;
        self.tree.touch(number, std::time::SystemTime::now());
        Ok(())
    }

    /// Room for a file. A larger size is a change like a write; room behind the end is nothing that one could lose.
    ///
    /// # Errors
    /// EOPNOTSUPP for holes and the like; as [`State::write`].
    pub fn allocate(&mut self, number: u64, end: u64, mode: i32) -> Result<(), Errno> {
        self.check_room()?;
        match mode {
            libc::FALLOC_FL_KEEP_SIZE => Ok(()),
            0 if end > self.tree.file(number)?.len() => self.set_len(number, end),
            0 => Ok(()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// # Errors
    /// ENOENT; ENOTDIR or EISDIR.
    pub fn sync_begin(&mut self, number: u64, directory: bool) -> Result<Sync, Errno> {
        let reach = if directory {
            self.tree.directory(number)?.sync_begin()
        } else {
            self.tree.file(number)?.sync_begin()
        };
        Ok(Sync {
            number,
            reach,
            life: self.life,
            directory,
        })
    }

    /// # Errors
    /// EIO by fault, and when the power was lost meanwhile; those of the backing file system.
    pub fn sync_end(&mut self, sync: Sync) -> Result<(), Errno> {
        self.check_life(sync.life)?;
        let fails = self.faults.fail_sync.is_some() && self.faults.fails_sync(&self.tree.path(sync.number));
        if fails {
            self.stats.failed += 1;
            self.write_back_fails();
            return Err(Errno::EIO);
        }
        if sync.directory {
            self.tree.directory(sync.number)?.sync_end(sync.reach);
            self.stats.directory_syncs += 1;
        } else {
            self.tree.file(sync.number)?.sync_end(sync.reach)?;
            self.stats.syncs += 1;
        }
        Ok(())
    }

    /// The kernel writes pages back on its own as well: with the disk that fails the syncs of some files it has lost what is
    /// dirty in all of them.
    fn write_back_fails(&mut self) {
        for number in self.tree.numbers() {
            if self.faults.fails_sync(&self.tree.path(number))
                && let Ok(content) = self.tree.file(number)
            {
                content.sync_failed(content.sync_begin());
            }
        }
    }

    /// Power loss: what it took, and the files whose pages the kernel must forget.
    ///
    /// # Errors
    /// Those of the backing file system.
    pub fn lose(&mut self, numbers: Option<&mut Numbers>) -> io::Result<(Loss, Vec<u64>)> {
        let known = self.tree.numbers();
        let loss = self.tree.lose(numbers)?;
        self.life += 1;
        self.listings.clear();
        self.stats.losses += 1;
        self.stats.lost.add(&loss);
        Ok((loss, known))
    }

    /// A handle on what the directory lists now: names that come and go later do not shift it.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn open_listing(&mut self, number: u64) -> Result<u64, Errno> {
        let listing = self.tree.list(number)?;
        let handle = self.next_listing;
        self.next_listing += 1;
        self.listings.insert(handle, listing);
        Ok(handle)
    }

    /// # Errors
    /// EIO for a directory that was opened before the last power loss.
    pub fn listing(&self, handle: u64) -> Result<&[(OsString, u64, bool)], Errno> {
        Ok(self.listings.get(&handle).ok_or(Errno::EIO)?)
    }

    pub fn close_listing(&mut self, handle: u64) {
        self.listings.remove(&handle);
    }
}
