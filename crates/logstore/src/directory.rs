use crate::LogError;
use crate::cover::Covering;
use crate::direct_reads::DirectReads;
use crate::marks::{Entry, JournalFill, MarksJournal};
use crate::open_files::OpenFiles;
use crate::removal::Removals;
use crate::room::Room;
use crate::scrub::ScrubMarks;
use host::{Disk, File, HostRef, OpenMode, Pool, is_out_of_handles};
use metrics::Histogram;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use types::{DirectoryId, Monotonic, Offset};

/// From one complaint that too many files are open to the next.
const HANDLES_INTERVAL: Duration = Duration::from_secs(60);

/// What all logs of a directory and its flusher share.
pub(crate) struct Directory {
    /// For time and randomness.
    pub(crate) host: HostRef,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) id: DirectoryId,
    offline: AtomicBool,
    pub(crate) room: Room,
    marks: Mutex<MarksJournal>,
    pub(crate) journal_fill: Arc<JournalFill>,
    /// Rounds of the flusher.
    pub(crate) flush_time: Histogram,
    files: Mutex<OpenFiles>,
    pub(crate) direct_reads: DirectReads,
    pub(crate) high_watermarks: Mutex<BTreeMap<(String, i32), Offset>>,
    pub(crate) scrub_marks: Mutex<ScrubMarks>,
    handles_told: Mutex<Option<Monotonic>>,
    /// Removes files.
    pub(crate) cleaner: Arc<dyn Pool>,
    /// Syncs segments that hold the journal back.
    pub(crate) coverer: Arc<dyn Pool>,
    pub(crate) covering: Covering,
    pub(crate) removals: Removals,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves plain data behind; the directory's latch is what says that it is unusable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    pub(crate) fn new(
        host: HostRef,
        path: PathBuf,
        id: DirectoryId,
        marks: MarksJournal,
        high_watermarks: BTreeMap<(String, i32), Offset>,
    ) -> Self {
        Self {
            disk: host.disk(),
            cleaner: host.pool("log-cleaner", 1),
            coverer: host.pool("log-coverer", 1),
            covering: Covering::default(),
            host,
            path,
            id,
            offline: AtomicBool::new(false),
            room: Room::default(),
            journal_fill: marks.fill(),
            flush_time: Histogram::default(),
            marks: Mutex::new(marks),
            files: Mutex::default(),
            direct_reads: DirectReads::default(),
            high_watermarks: Mutex::new(high_watermarks),
            scrub_marks: Mutex::default(),
            handles_told: Mutex::default(),
            removals: Removals::default(),
        }
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    pub(crate) fn check_online(&self) -> Result<(), LogError> {
        if self.is_offline() {
            Err(LogError::Offline)
        } else {
            Ok(())
        }
    }

    /// A write or sync failed: nobody knows any more what is on the disk, so nothing is written again.
    pub(crate) fn fail(&self, what: &'static str, error: &io::Error) -> LogError {
        if !self.offline.swap(true, Ordering::AcqRel) {
            tracing::error!(directory = %self.path.display(), what, %error, "a log directory goes offline");
        }
        LogError::Offline
    }

    /// Runs a write to the directory; a failure latches it.
    pub(crate) fn write<T>(&self, what: &'static str, write: impl FnOnce() -> io::Result<T>) -> Result<T, LogError> {
        self.check_online()?;
        write().map_err(|error| self.fail(what, &error))
    }

    /// The process has as many files open as it may: nothing is wrong with the disk. Said once a minute.
    pub(crate) fn out_of_handles(&self) -> LogError {
        self.covering.want_handles();
        let now = self.host.now();
        let mut told = lock(&self.handles_told);
        if told.is_none_or(|at| now.since(at) >= HANDLES_INTERVAL) {
            *told = Some(now);
            tracing::error!(directory = %self.path.display(),
                "too many files are open for more partitions to be written to at the same time: their records are refused until others rest. \
                Raise the limit (ulimit -n, LimitNOFILE=) or max.connections lower");
        }
        LogError::NoFileHandle
    }

    /// Runs a write that may be given up as if nothing had happened where the file system is full, or where the process
    /// may open no more files; another failure latches the directory.
    pub(crate) fn write_if_room<T>(
        &self,
        what: &'static str,
        write: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, LogError> {
        self.check_online()?;
        write().map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                self.room.ran_out();
                LogError::Full
            }
            _ if is_out_of_handles(&error) => self.out_of_handles(),
            _ => self.fail(what, &error),
        })
    }

    pub(crate) fn marks(&self) -> MutexGuard<'_, MarksJournal> {
        lock(&self.marks)
    }

    /// Makes entries durable; a failure latches the directory.
    pub(crate) fn journal(&self, entries: &[Entry]) -> Result<(), LogError> {
        self.check_online()?;
        let mut marks = self.marks();
        marks
            .append(entries)
            .map_err(|error| self.fail("marks journal", &error))
    }

    pub(crate) fn open_file(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        lock(&self.files).get(&*self.disk, path)
    }

    /// Never waits for the disk; nor for another thread, which may be opening a file.
    pub(crate) fn file_if_open(&self, path: &Path) -> Option<Arc<dyn File>> {
        self.files.try_lock().ok()?.if_open(path)
    }

    /// A file that stays open for long. With few handles left to the process those of files that are read are given back
    /// first.
    pub(crate) fn open_to_keep(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match self.disk.open_to_keep(path, mode) {
            Err(error) if is_out_of_handles(&error) => {
                lock(&self.files).close_all();
                self.disk.open_to_keep(path, mode)
            }
            opened => opened,
        }
    }

    pub(crate) fn forget_file(&self, path: &Path) {
        lock(&self.files).forget(path);
    }

    pub(crate) fn forget_files_below(&self, directory: &Path) {
        lock(&self.files).forget_below(directory);
    }
}
