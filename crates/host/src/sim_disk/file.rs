use super::{DiskEvent, State, lock};
use crate::{DIRECT_ALIGNMENT, File};
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// An open file of one life.
pub(crate) struct SimFile {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) life: u64,
    pub(crate) path: PathBuf,
    pub(crate) inode: u64,
    pub(crate) writable: bool,
    /// Which lock ends with this file.
    pub(crate) lock: Option<u64>,
}

impl SimFile {
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        state.check_life(self.life)?;
        Ok(state)
    }

    /// Also answers how much of what lies beyond the file's blocks does not fit on the disk.
    fn enter_to_write(&self, end: u64) -> io::Result<(MutexGuard<'_, State>, u64)> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.enter()?;
        let used = state.used_where_limited();
        let held = state.tree.inode(self.inode)?.held() as u64;
        let grows_by = end.saturating_sub(held);
        let grows = state.faults.on_write(&self.path, used, grows_by)?;
        Ok((state, grows_by - grows))
    }
}

fn no_space() -> io::Error {
    // ENOSPC
    io::Error::from_raw_os_error(28)
}

fn size(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.enter()?;
        state.reads += 1;
        Ok(state.tree.inode(self.inode)?.read(buffer, size(position)?))
    }

    fn read_now_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.enter()?;
        let waits = state.faults.nothing_is_cached || state.faults.reads_are_under_way;
        drop(state);
        if waits {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(buffer, position)
    }

    fn read_direct_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let address = buffer.as_ptr().addr();
        let aligned = [address, buffer.len(), size(position)?]
            .iter()
            .all(|at| at.is_multiple_of(DIRECT_ALIGNMENT));
        let mut state = self.enter()?;
        if !aligned || state.faults.no_direct_reads {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        state.direct_reads += 1;
        drop(state);
        self.read_at(buffer, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let (mut state, too_much) = self.enter_to_write(position + bytes.len() as u64)?;
        let fits = &bytes[..bytes.len().saturating_sub(size(too_much)?)];
        state.record(|| DiskEvent::Write {
            path: self.path.clone(),
            position,
            len: fits.len() as u64,
        });
        if !fits.is_empty() || too_much == 0 {
            state.tree.inode(self.inode)?.write(fits, size(position)?);
        }
        if position == 0 {
            state.faults.on_beginning(&self.path);
        }
        if too_much > 0 { Err(no_space()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.enter()?;
        if state.tree.inode(self.inode)?.take_write_back_error() {
            // EIO
            return Err(io::Error::from_raw_os_error(5));
        }
        if let Err(error) = state.faults.on_sync(&self.path) {
            state.tree.inode(self.inode)?.forget_dirty();
            return Err(error);
        }
        state.record(|| DiskEvent::Sync {
            path: self.path.clone(),
        });
        if !state.faults.drop_syncs {
            state.tree.inode(self.inode)?.sync();
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.enter()?.tree.inode(self.inode)?.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, too_much) = self.enter_to_write(len)?;
        if too_much > 0 {
            return Err(no_space());
        }
        state.record(|| DiskEvent::SetLen {
            path: self.path.clone(),
            len,
        });
        state.tree.inode(self.inode)?.set_len(size(len)?);
        Ok(())
    }

    fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        let mut state = self.enter()?;
        let end = position.saturating_add(len);
        let grows_by = end.saturating_sub(state.tree.inode(self.inode)?.held() as u64);
        if state.faults.fits(state.used_where_limited(), grows_by) {
            state.tree.inode(self.inode)?.allocate(size(end)?);
        }
        Ok(())
    }

    fn is_cached(&self, _position: u64, _len: u64) -> bool {
        !lock(&self.state).faults.nothing_is_cached
    }

    fn raw_fd(&self) -> Option<RawFd> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.closed(self.life, self.inode);
        if let Some(mine) = self.lock
            && state.locks.get(&self.path) == Some(&mine)
        {
            state.locks.remove(&self.path);
        }
    }
}
