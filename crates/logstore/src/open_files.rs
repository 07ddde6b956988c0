use host::{Disk, File, OpenMode};
use indexmap::IndexMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::limits;

/// Files of inactive segments that are open, the one used longest ago first. Only files without unsynced
/// bytes may be closed by falling out of here: a log holds those with unsynced bytes itself, because a
/// write-back error can vanish with the inode.
#[derive(Default)]
pub(crate) struct OpenFiles {
    files: IndexMap<PathBuf, Arc<dyn File>>,
}

impl OpenFiles {
    pub(crate) fn get(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = match self.files.shift_remove(path) {
            Some(file) => file,
            None => disk.open(path, OpenMode::Read)?,
        };
        self.files.insert(path.to_owned(), file.clone());
        if self.files.len() > limits::OPEN_FILES_MAX {
            self.files.shift_remove_index(0);
        }
        Ok(file)
    }

    /// The name means another file now, or none.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.files.shift_remove(path);
    }

    pub(crate) fn forget_below(&mut self, directory: &Path) {
        self.files.retain(|path, _| !path.starts_with(directory));
    }
}
