use crate::{DirEntry, Disk, DiskSpace, File, OpenMode, is_out_of_handles};
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use types::limits;

/// The operating system's file system.
#[derive(Debug, Default)]
pub struct RealDisk;

struct RealFile(fs::File);

/// From one attempt to get a file handle to the next, and attempts from one complaint to the next.
const HANDLE_PAUSE: Duration = Duration::from_millis(10);
const ATTEMPTS_PER_COMPLAINT: u64 = 1_000;

/// Repeats a call until the process has a file handle for it. Nothing else is repeated: a call without a handle did
/// nothing.
fn patiently<T>(path: &Path, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut attempts = 0u64;
    loop {
        match call() {
            Err(error) if is_out_of_handles(&error) => {
                if attempts.is_multiple_of(ATTEMPTS_PER_COMPLAINT) {
                    tracing::error!(path = %path.display(), %error,
                        "too many files are open: waiting for one to be closed. Raise the limit (ulimit -n, LimitNOFILE=)");
                }
                attempts += 1;
                std::thread::sleep(HANDLE_PAUSE);
            }
            other => return other,
        }
    }
}

/// Whether handles are left for others beside this one. The system gives the lowest number that is free, so a high one
/// says that all below are taken.
pub(crate) fn leaves_handles(handle: RawFd) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let taken = u64::try_from(handle).unwrap_or(0) + 1;
    limit.is_none_or(|limit| taken + limits::FILE_HANDLES_KEPT <= limit)
}

/// What the system says when there are no more.
pub(crate) fn out_of_handles() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn open_to_keep(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.open(path, mode)?;
        match file.raw_fd() {
            Some(handle) if !leaves_handles(handle) => Err(out_of_handles()),
            _ => Ok(file),
        }
    }

    fn open_patiently(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        patiently(path, || self.open(path, mode))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in patiently(path, || fs::read_dir(path))? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed between listing and looking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir,
                len: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        patiently(path, || fs::remove_dir_all(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        patiently(path, || fs::File::open(path))?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Arc::new(RealFile(file)))
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn read_now_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        use rustix::io::{Errno, ReadWriteFlags};
        let mut buffers = [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&self.0, &mut buffers, position, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.is_cached(position, buffer.len() as u64) => {
                self.read_at(buffer, position)
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other?),
        }
    }

    /// The file is opened anew each time, some microseconds of a read that takes a hundred times as long: handles are scarce, and
    /// the flag would apply to all reads of this one.
    fn read_direct_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        // The same file whatever its name means by now.
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)?;
        RealFile(opened).read_at(buffer, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::KEEP_SIZE, position, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Ok(()),
            other => Ok(other?),
        }
    }

    fn is_cached(&self, position: u64, len: u64) -> bool {
        /// `struct cachestat_range` and `struct cachestat` of Linux 6.5 (`include/uapi/linux/mman.h`).
        #[repr(C)]
        struct Range {
            off: u64,
            len: u64,
        }
        #[repr(C)]
        #[derive(Default)]
        struct CacheStat {
            cache: u64,
            dirty: u64,
            writeback: u64,
            evicted: u64,
            recently_evicted: u64,
        }
        const SYS_CACHESTAT: libc::c_long = 451;
        const PAGE: u64 = 4096;
        if len == 0 {
            return true;
        }
        let range = Range { off: position, len };
        let mut stat = CacheStat::default();
        // SAFETY: both structs have the kernel's layout and live across the call; the descriptor is open.
        let result = unsafe { libc::syscall(SYS_CACHESTAT, self.0.as_raw_fd(), &raw const range, &raw mut stat, 0) };
        let pages = (position + len - 1) / PAGE - position / PAGE + 1;
        result == 0 && stat.cache >= pages
    }

    fn forget_cached(&self, position: u64, len: u64) {
        if let Some(len) = NonZeroU64::new(len) {
            // A hint that is not taken is none that matters.
            let _ = rustix::fs::fadvise(&self.0, position, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.0.as_raw_fd())
    }
}
