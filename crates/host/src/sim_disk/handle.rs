use super::{DiskEvent, SimFile, State, lock};
use crate::{DirEntry, Disk, DiskSpace, File, OpenMode};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// The disk in one life.
pub(crate) struct SimHandle {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) life: u64,
}

impl SimHandle {
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        state.check_life(self.life)?;
        Ok(state)
    }

    fn file(&self, state: &mut State, path: &Path, inode: u64, writable: bool, lock: Option<u64>) -> Arc<dyn File> {
        state.opened(inode);
        Arc::new(SimFile {
            state: self.state.clone(),
            life: self.life,
            path: path.to_owned(),
            inode,
            writable,
            lock,
        })
    }
}

impl Disk for SimHandle {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.enter()?;
        state.reads += 1;
        let there = state.tree.file_at(path);
        let inode = match (mode, there) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (_, Ok(inode)) => inode,
            (OpenMode::Create | OpenMode::CreateNew, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                state.faults.on_change(path)?;
                state.record(|| DiskEvent::Create { path: path.to_owned() });
                state.tree.create_file(path)?
            }
            (_, Err(error)) => return Err(error),
        };
        Ok(self.file(&mut state, path, inode, mode != OpenMode::Read, None))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.enter()?.tree.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.enter()?.tree.read_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        state.faults.on_change(path)?;
        state.record(|| DiskEvent::Remove { path: path.to_owned() });
        state.tree.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        state.faults.on_change(path)?;
        state.record(|| DiskEvent::Remove { path: path.to_owned() });
        state.tree.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        state.faults.on_change(from)?;
        state.record(|| DiskEvent::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        state.tree.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        state.faults.on_sync_dir(path)?;
        state.record(|| DiskEvent::SyncDir { path: path.to_owned() });
        if state.faults.drop_syncs {
            return Ok(());
        }
        state.tree.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.enter().is_ok_and(|state| state.tree.lookup(path).is_ok())
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let state = self.enter()?;
        let total_bytes = state.faults.capacity_bytes.unwrap_or(1 << 40);
        Ok(DiskSpace {
            free_bytes: total_bytes.saturating_sub(state.used_bytes()),
            total_bytes,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.enter()?;
        if state.locks.contains_key(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let inode = match state.tree.file_at(path) {
            Ok(inode) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => state.tree.create_file(path)?,
            Err(error) => return Err(error),
        };
        state.locks_taken += 1;
        let lock = state.locks_taken;
        state.locks.insert(path.to_owned(), lock);
        Ok(self.file(&mut state, path, inode, true, Some(lock)))
    }
}
