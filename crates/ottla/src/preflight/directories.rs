use super::{PreflightError, holder};
use crate::settings::Settings;
use controller::Identity;
use host::Disk;
use logstore::{LogDir, LogDirError, MetaProperties};
use rustix::fs::{Access, FlockOperation, access, fcntl_lock, flock};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use types::limits;

const LOG_DIRS: &str = "log.dirs";
const METADATA_DIR: &str = "metadata.log.dir";
/// RocksDB's lock, a record lock.
const ROCKSDB_LOCK: &str = "LOCK";
/// The log directory's own, of the whole file.
const LOG_DIR_LOCK: &str = ".lock";

/// Looks at the log directories and the metadata directory and changes nothing there.
pub fn check(disk: &dyn Disk, settings: &Settings) -> Result<(), PreflightError> {
    let several = settings.log_dirs.len() > 1;
    for path in &settings.log_dirs {
        match check_place(disk, LOG_DIRS, path) {
            // Told when it is opened: its replicas are offline, and the node serves its other directories.
            Err(error) if several && disk_failed(&error) => {}
            checked => checked?,
        }
    }
    check_place(disk, METADATA_DIR, &settings.metadata_dir)?;
    check_owners(disk, settings)
}

/// A disk that fails, or that the kernel has made read-only because it does.
fn disk_failed(error: &PreflightError) -> bool {
    match error {
        PreflightError::Disk { .. } => true,
        PreflightError::NotWritable { error, .. } => error.kind() == io::ErrorKind::ReadOnlyFilesystem,
        _ => false,
    }
}

/// That the path is, or can become, a directory with room, which this user may write and nobody else has locked.
fn check_place(disk: &dyn Disk, property: &'static str, path: &Path) -> Result<(), PreflightError> {
    let failed = |error| PreflightError::Disk {
        property,
        path: path.to_owned(),
        error,
    };
    let there = nearest(path).map_err(failed)?;
    if !there.is_dir() {
        return Err(PreflightError::NotADirectory {
            property,
            path: path.to_owned(),
            at: there,
        });
    }
    let mut names = vec![there.clone()];
    if there == path {
        // `lost+found` is the file system's own.
        let entries = disk.read_dir(path).map_err(failed)?.into_iter();
        names.extend(
            entries
                .filter(|entry| entry.name != "lost+found")
                .map(|entry| path.join(entry.name)),
        );
    }
    for name in names {
        let wanted = if name.is_dir() {
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::READ_OK | Access::WRITE_OK
        };
        access(&name, wanted).map_err(|error| PreflightError::NotWritable {
            property,
            path: path.to_owned(),
            at: name.clone(),
            user: rustix::process::geteuid().as_raw(),
            error: error.into(),
        })?;
    }
    if let Some(holder) = locked(path).map_err(failed)? {
        return Err(PreflightError::Locked {
            property,
            path: path.to_owned(),
            holder,
        });
    }
    let (free, needed) = (
        disk.space(&there).map_err(failed)?.free_bytes,
        limits::START_FREE_BYTES_MIN,
    );
    if free < needed {
        return Err(PreflightError::Full {
            property,
            path: path.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

/// The path itself, or what is there of the directories above it.
fn nearest(path: &Path) -> io::Result<PathBuf> {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() {
            Path::new(".")
        } else {
            ancestor
        };
        match fs::metadata(ancestor) {
            Ok(_) => return Ok(ancestor.to_owned()),
            // Below what is no directory there is nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Who has locked the directory. A lock that is free is taken for a moment and given back.
fn locked(path: &Path) -> io::Result<Option<String>> {
    for name in [LOG_DIR_LOCK, ROCKSDB_LOCK] {
        let file = match fs::OpenOptions::new().read(true).write(true).open(path.join(name)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error),
        };
        let lock = FlockOperation::NonBlockingLockExclusive;
        let taken = match name {
            ROCKSDB_LOCK => fcntl_lock(&file, lock),
            _ => flock(&file, lock),
        };
        match taken {
            Ok(()) => {}
            // Record locks say either (POSIX).
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => {
                let holder = holder::of_lock(file.metadata()?.ino());
                return Ok(Some(holder.unwrap_or_else(|| "another process".to_owned())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// That all directories belong to this node and to one cluster.
fn check_owners(disk: &dyn Disk, settings: &Settings) -> Result<(), PreflightError> {
    let node_id = settings.node_id;
    let identity = Identity::read(disk, &settings.metadata_dir, node_id)?;
    let mut cluster = identity
        .and_then(|identity| identity.membership)
        .map(|membership| (membership.cluster_id, settings.metadata_dir.clone()));
    let known = cluster.is_some();
    let mut seen: BTreeMap<types::DirectoryId, &PathBuf> = BTreeMap::new();
    for path in &settings.log_dirs {
        let meta = match LogDir::inspect(disk, path) {
            Ok(Some(meta)) => meta,
            Ok(None) => continue,
            Err(LogDirError::Io { .. } | LogDirError::Marks { .. }) if settings.log_dirs.len() > 1 => continue,
            Err(error) => return Err(error.into()),
        };
        let MetaProperties {
            cluster_id,
            node_id: owner,
            directory_id,
        } = meta;
        if let Some(found) = owner.filter(|owner| *owner != node_id) {
            return Err(PreflightError::OtherNode {
                path: path.clone(),
                found,
                configured: node_id,
            });
        }
        if let Some(other) = seen.insert(directory_id, path) {
            return Err(PreflightError::SameDirectory {
                path: path.clone(),
                other: other.clone(),
                id: directory_id,
            });
        }
        match (cluster_id, &cluster) {
            (Some(found), Some((expected, other))) if found != *expected => {
                return Err(PreflightError::OtherCluster {
                    path: path.clone(),
                    found,
                    other: other.clone(),
                    expected: expected.clone(),
                });
            }
            (Some(found), None) => cluster = Some((found, path.clone())),
            _ => {}
        }
    }
    match cluster {
        Some((cluster, path)) if !known && settings.join.is_empty() => Err(PreflightError::MetadataLost {
            path,
            cluster,
            metadata: settings.metadata_dir.clone(),
        }),
        _ => Ok(()),
    }
}
