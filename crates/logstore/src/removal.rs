//! Files that no longer belong to a log, on their way off the disk: renamed at once, removed after
//! `file.delete.delay.ms`, by the directory's cleaner, never by a shard.

use crate::directory::{Directory, lock};
use crate::marks::LogKey;
use crate::segment::Segment;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::Monotonic;

/// Kafka's suffix of a file, and of a partition's directory, that waits for its removal.
const DELETED_FILE: &str = ".deleted";
const DELETED_DIRECTORY: &str = "-delete";

/// What waits, by the time at which it may go. Bounded by what is on the disk; a restart finds all of it again by its
/// names.
#[derive(Default)]
pub(crate) struct Removals {
    waiting: Mutex<BTreeSet<(Monotonic, PathBuf)>>,
}

/// Whether a name in a partition's directory is that of a file which waits for its removal.
pub(crate) fn is_deleted_file(name: &str) -> bool {
    name.ends_with(DELETED_FILE)
}

/// Whether a name in a log directory is that of a partition which waits for its removal.
pub(crate) fn is_deleted_directory(name: &str) -> bool {
    name.ends_with(DELETED_DIRECTORY)
}

impl Directory {
    /// Takes segments that lie wholly below the log start off the log's names, on the cleaner.
    ///
    /// ◆ The same names may belong to another replica soon, or to a log that started over: a file is renamed only while
    /// the journal, which is locked meanwhile, says that this replica lives and starts behind it.
    pub(crate) fn retire(self: &Arc<Self>, key: LogKey, segments: Vec<Segment>, delay: Duration) {
        if segments.is_empty() {
            return;
        }
        let dir = self.clone();
        self.cleaner.submit(Box::new(move || {
            let marks = dir.marks();
            let log_start = match marks.state().logs.get(&key) {
                Some(state) if !state.deleting => state.log_start,
                _ => return,
            };
            let mut retired = Vec::new();
            for segment in segments.iter().filter(|segment| segment.next <= log_start) {
                for path in segment.paths() {
                    dir.forget_file(&path);
                    match dir.rename_deleted(&path) {
                        Ok(away) => retired.push(away),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        // After a restart recovery removes it.
                        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot rename a segment's file"),
                    }
                }
            }
            drop(marks);
            dir.remove_later(retired, delay);
        }));
    }

    fn rename_deleted(&self, path: &Path) -> io::Result<PathBuf> {
        let mut away = path.as_os_str().to_owned();
        away.push(DELETED_FILE);
        let away = PathBuf::from(away);
        self.disk.rename(path, &away)?;
        Ok(away)
    }

    /// Removes files, or directories of deleted partitions, once `delay` is over.
    pub(crate) fn remove_later(self: &Arc<Self>, paths: impl IntoIterator<Item = PathBuf>, delay: Duration) {
        let due = self.host.now().plus(delay);
        lock(&self.removals.waiting).extend(paths.into_iter().map(|path| (due, path)));
        if delay.is_zero() {
            self.remove_due();
        }
    }

    /// Sends what is due to the cleaner; never waits.
    pub(crate) fn remove_due(self: &Arc<Self>) {
        let due = {
            let mut waiting = lock(&self.removals.waiting);
            let later = waiting.split_off(&(self.host.now().plus(Duration::from_nanos(1)), PathBuf::new()));
            std::mem::replace(&mut *waiting, later)
        };
        if due.is_empty() {
            return;
        }
        let disk = self.disk.clone();
        self.cleaner.submit(Box::new(move || {
            for (_, path) in due {
                let name = path.to_string_lossy();
                let removed = match is_deleted_directory(&name) {
                    true => disk.remove_dir_all(&path),
                    false => disk.remove_file(&path),
                };
                match removed {
                    Ok(()) => tracing::debug!(path = %path.display(), "removed"),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what is deleted; the next start tries again"),
                }
            }
        }));
    }
}
