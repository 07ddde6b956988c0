//! What is looked at before a node touches anything: whoever starts it is told cause and remedy, and whatever is on the
//! disks stays as it is.

mod directories;
mod file_handles;
mod holder;
mod ports;

use crate::settings::Settings;
use host::HostRef;
use std::io;
use std::path::PathBuf;
use types::NodeId;

/// Why a node does not start. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    #[error("{property}={path}: {at} is a file, not a directory. Name a directory, or move the file away", path = .path.display(), at = .at.display())]
    NotADirectory {
        property: &'static str,
        path: PathBuf,
        at: PathBuf,
    },
    #[error(
        "{property}={path}: user {user} may not write {at} ({error}). Start the node as the owner of its files, or give them to \
         this user (chown -R), or mount the file system for writing",
        path = .path.display(), at = .at.display()
    )]
    NotWritable {
        property: &'static str,
        path: PathBuf,
        at: PathBuf,
        user: u32,
        error: io::Error,
    },
    #[error("{property}={path}: {error}. Check the disk and its file system", path = .path.display())]
    Disk {
        property: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error(
        "{property}={path} is in use by {holder}. Only one node may use a directory: stop that one, or give this node its own",
        path = .path.display()
    )]
    Locked {
        property: &'static str,
        path: PathBuf,
        holder: String,
    },
    #[error(
        "{property}={path}: the file system has {free} bytes left for this user, and a node needs {needed} to start. Make room \
         there, or make the file system larger; records need not be deleted by hand",
        path = .path.display()
    )]
    Full {
        property: &'static str,
        path: PathBuf,
        free: u64,
        needed: u64,
    },
    #[error(transparent)]
    LogDir(#[from] logstore::LogDirError),
    #[error(transparent)]
    Identity(#[from] controller::IdentityError),
    #[error(
        "{path} belongs to node.id={found}, and this node is configured with node.id={configured}. Directories may have been \
         swapped between nodes: give each node its own",
        path = .path.display()
    )]
    OtherNode {
        path: PathBuf,
        found: NodeId,
        configured: NodeId,
    },
    #[error(
        "{path} belongs to cluster {found}, and {other} to cluster {expected}. A node is in one cluster: give it directories of \
         one, or move those away whose data is not needed",
        path = .path.display(), other = .other.display()
    )]
    OtherCluster {
        path: PathBuf,
        found: String,
        other: PathBuf,
        expected: String,
    },
    #[error(
        "{path} and {other} are the same log directory (directory.id {id}): one is a copy of the other, or both names lead to it. \
         Name it once in log.dirs",
        path = .path.display(), other = .other.display()
    )]
    SameDirectory {
        path: PathBuf,
        other: PathBuf,
        id: types::DirectoryId,
    },
    #[error(
        "{path} belongs to cluster {cluster}, but metadata.log.dir={metadata} knows of no cluster, and without a list of \
         founders (join) the node would found another. Name the metadata directory that belongs to the data, or the \
         cluster's founders, or move the data away",
        path = .path.display(), metadata = .metadata.display()
    )]
    MetadataLost {
        path: PathBuf,
        cluster: String,
        metadata: PathBuf,
    },
    #[error("cannot listen on {address} ({property}): {why}")]
    Port {
        property: &'static str,
        address: String,
        why: String,
    },
    #[error(
        "this process may open {limit} files, and a node needs {needed} at the very least. Raise the hard limit: ulimit -Hn, \
         LimitNOFILE= of a systemd unit, --ulimit nofile= of a container"
    )]
    FileHandles { limit: u64, needed: u64 },
}

/// Looks at everything, in the order in which a person would mend it. Raises the soft limit of open files to the hard one,
/// and lowers `max.connections` to what that allows: a directory that cannot open a file is lost until the next start.
/// What a person should know is added to the warnings.
///
/// # Errors
/// [`PreflightError`].
pub async fn check(host: &HostRef, settings: &mut Settings) -> Result<(), PreflightError> {
    file_handles::raise(settings)?;
    directories::check(&*host.disk(), settings)?;
    ports::check(&*host.net(), settings).await
}
