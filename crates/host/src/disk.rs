use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is opened. All modes open for reading and writing unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reading only.
    Read,
    /// Must exist.
    Write,
    /// Created if missing.
    Create,
    /// Must not exist.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name without its directory.
    pub name: String,
    pub is_dir: bool,
    /// Size in bytes; 0 for directories.
    pub len: u64,
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Left for data of this process.
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// Whether a call failed because the process, or the machine, has too many files open (EMFILE, ENFILE): nothing was done,
/// and nothing is wrong with the disk.
#[must_use]
pub fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// A file system. All calls block; the slow ones (`sync_*`, removal, reads that are not in memory) belong
/// on a [`crate::Pool`].
///
/// Durability: bytes written are durable after [`File::sync_data`] of that file returns; a name created,
/// renamed or removed is durable after [`Disk::sync_dir`] of its directory returns. A failed sync is final:
/// the caller MUST NOT retry it (the kernel has forgotten which pages were dirty). [`Disk::sync_dir`],
/// [`Disk::read_dir`] and [`Disk::remove_dir_all`] wait for a file handle as long as the process has none.
pub trait Disk: Send + Sync + 'static {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Opens a file that is kept open for long: refused with an error of [`is_out_of_handles`] before the last handles of
    /// the process are taken, so that what needs one for a moment finds it. Never waits for a handle.
    fn open_to_keep(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.open(path, mode)
    }
    /// Opens a file without which there is no going on: waits for a handle as long as the process has none.
    fn open_patiently(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.open(path, mode)
    }
    /// Creates the directory and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in the directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Atomic; replaces `to` if it is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Takes an exclusive lock that lives until the file returned is dropped, or fails at once with
    /// [`io::ErrorKind::WouldBlock`] if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Whole content of a small file (checkpoints, properties).
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Creates the directory and its parents so that they outlive a power loss: what is durable inside a directory
    /// is lost with the name of the directory itself. Names that were there already are synced too, since the
    /// process that made them may have been killed before it could.
    fn create_dir_durably(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)?;
        for parent in path.ancestors().skip(1) {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            match self.sync_dir(parent) {
                // Not ours to read, so not made by us.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Replaces a small file atomically and durably: temporary file, sync, rename, sync of the directory.
    fn write_durably(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let file = self.open_patiently(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }
}

/// Of reads around the page cache: a page. Disks ask for 512 or 4,096 bytes.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// An open file. Positions are explicit; there is no cursor.
pub trait File: Send + Sync + 'static {
    /// Bytes read; fewer than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// [`File::read_at`] of what is in memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it would wait for the disk: [`File::is_cached`] counts what is only on its way to memory.
    fn read_now_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// [`File::read_at`] around what the system holds of files in memory (`O_DIRECT`): the buffer's address and length, and the
    /// position, are multiples of [`DIRECT_ALIGNMENT`].
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] or [`io::ErrorKind::InvalidInput`] where the file system has no such reads. An ordinary read
    /// may succeed whatever the error is.
    fn read_direct_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// fdatasync: the data, and the size if it changed.
    fn sync_data(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros).
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks without changing the size (`fallocate(KEEP_SIZE)`); a file system that cannot, or has
    /// no room for it, is no error: the write that follows tells.
    fn allocate(&self, position: u64, len: u64) -> io::Result<()>;
    /// Whether reading this range would not block, as far as the system can tell (`cachestat(2)`); "no"
    /// where it cannot.
    fn is_cached(&self, position: u64, len: u64) -> bool;
    /// Lets the system drop what it holds of this range in memory, if it is on disk. A hint.
    fn forget_cached(&self, _position: u64, _len: u64) {}
    /// The descriptor, for `sendfile`; simulated files have none.
    fn raw_fd(&self) -> Option<std::os::fd::RawFd>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends first.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let read = self.read_at(&mut buffer[done..], position + done as u64)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += read;
        }
        Ok(())
    }
}
