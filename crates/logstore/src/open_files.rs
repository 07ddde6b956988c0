use host::{Disk, File, OpenMode, is_out_of_handles};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::limits;

/// Files that are open for reading, at most `limits::OPEN_FILES_MAX` of a directory; the one used longest ago is closed.
/// ◆ None of them has unsynced bytes that it was the last to hold: a log holds those itself, because a write-back error
/// can vanish with the inode.
#[derive(Default)]
pub(crate) struct OpenFiles {
    /// Each with the number of its last use.
    files: BTreeMap<PathBuf, (u64, Arc<dyn File>)>,
    by_use: BTreeMap<u64, PathBuf>,
    uses: u64,
}

impl OpenFiles {
    pub(crate) fn get(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.if_open(path) {
            return Ok(file);
        }
        let file = match disk.open_to_keep(path, OpenMode::Read) {
            Err(error) if is_out_of_handles(&error) => {
                // There is one for a moment, and those that go now are for others.
                self.close_all();
                return disk.open(path, OpenMode::Read);
            }
            opened => opened?,
        };
        self.uses += 1;
        self.files.insert(path.to_owned(), (self.uses, file.clone()));
        self.by_use.insert(self.uses, path.to_owned());
        while self.files.len() > limits::OPEN_FILES_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.files.remove(&oldest);
        }
        Ok(file)
    }

    pub(crate) fn if_open(&mut self, path: &Path) -> Option<Arc<dyn File>> {
        let (last_use, file) = self.files.get_mut(path)?;
        self.uses += 1;
        let path = self.by_use.remove(last_use).unwrap_or_else(|| path.to_owned());
        *last_use = self.uses;
        self.by_use.insert(self.uses, path);
        Some(file.clone())
    }

    pub(crate) fn close_all(&mut self) {
        self.files.clear();
        self.by_use.clear();
    }

    /// The name means another file now, or none.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some((last_use, _)) = self.files.remove(path) {
            self.by_use.remove(&last_use);
        }
    }

    pub(crate) fn forget_below(&mut self, directory: &Path) {
        let below = self.files.range(directory.to_owned()..);
        let below: Vec<PathBuf> = below
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(directory))
            .cloned()
            .collect();
        below.iter().for_each(|path| self.forget(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::sim_disk::SimDisk;

    /// Fails if the oldest file is closed rather than the one that was used longest ago.
    #[test]
    fn the_file_that_was_used_longest_ago_is_closed() {
        let disk = SimDisk::new().handle();
        disk.create_dir_all(Path::new("/a/b")).unwrap();
        let path = |index: usize| PathBuf::from(format!("/a/b/{index}"));
        for index in 0..=limits::OPEN_FILES_MAX {
            disk.open(&path(index), OpenMode::Create).unwrap();
        }
        let mut files = OpenFiles::default();
        for index in 0..limits::OPEN_FILES_MAX {
            files.get(&*disk, &path(index)).unwrap();
        }
        files.get(&*disk, &path(0)).unwrap();
        files.get(&*disk, &path(limits::OPEN_FILES_MAX)).unwrap();
        assert_eq!(files.files.len(), limits::OPEN_FILES_MAX);
        assert!(files.files.contains_key(&path(0)) && !files.files.contains_key(&path(1)));
        files.forget_below(Path::new("/a/c"));
        assert_eq!(files.by_use.len(), limits::OPEN_FILES_MAX);
        files.forget_below(Path::new("/a/b"));
        assert!(files.files.is_empty() && files.by_use.is_empty());
    }
}
