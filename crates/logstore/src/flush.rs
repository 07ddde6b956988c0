use crate::LogError;
use crate::directory::Directory;
use crate::marks::{Data, Entry, LogKey};
use bytes::Bytes;
use host::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use types::{Broken, LeaderEpoch, Offset, ReplicaIncarnation, TopicPartition, broken};

/// What must reach the disk before a log's durable position may move: made by [`crate::Log::begin_flush`].
pub struct FlushJob {
    pub(crate) dir: Arc<Directory>,
    pub(crate) key: LogKey,
    pub(crate) generation: u64,
    /// Files with unsynced bytes, open since they were written.
    pub(crate) files: Vec<Arc<dyn File>>,
    /// Directories with unsynced names.
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    pub(crate) durable: Offset,
    /// What the index files among `files`, and those before them, describe.
    pub(crate) recovery_point: Offset,
    pub(crate) bytes: u64,
    /// Segments took the place of others, of which the journal may have bytes.
    pub(crate) replaced: bool,
    /// What the active segment got, if that is all that has changed: then it may go through the journal.
    pub(crate) tail: Option<Tail>,
}

/// New bytes at the end of a segment, the only one among [`FlushJob::files`].
pub(crate) struct Tail {
    pub(crate) base: Offset,
    pub(crate) position: u32,
    pub(crate) parts: Vec<Bytes>,
}

/// A log's positions that are durable now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
    /// Everything below is on disk, and so is the mark that says it.
    pub durable: Offset,
    /// The newest leader epoch whose start is on disk.
    pub epoch_durable: Option<LeaderEpoch>,
    /// Which truncation the job came after; a flush from before a truncation counts for nothing.
    pub generation: u64,
}

/// (dirty files) in, (durable positions) out.
///
/// # Contract
/// Blocking; one call at a time. Answers one [`Flushed`] per job, in the order of the jobs, and MUST NOT
/// answer before the job's files, its directories and then its marks are durable. After an error nothing
/// may be assumed: the caller takes the directory offline. [`crate::conformance::check`] tests it.
pub trait FlushStrategy: Send {
    /// # Errors
    /// Whatever the disk says; final.
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>>;
}

impl FlushJob {
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        self.key.tp
    }

    /// New bytes since the last flush.
    #[must_use]
    pub fn new_bytes(&self) -> u64 {
        self.bytes
    }

    /// Syncs the job's files, then its directories.
    ///
    /// # Errors
    /// The first failure; not to be tried again.
    pub fn sync(&self) -> io::Result<()> {
        if broken(Broken::MarkBeforeSync) {
            return Ok(());
        }
        for file in &self.files {
            file.sync_data()?;
        }
        if broken(Broken::ForgetDirectorySync) {
            return Ok(());
        }
        for dir in &self.dirs {
            match self.dir.disk.sync_dir(dir) {
                // ◆ Renamed meanwhile: nothing is wrong with the disk.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_deleted() => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    /// Whether the replica was deleted after this job was made; the journal knows it before any name changes.
    fn is_deleted(&self) -> bool {
        let marks = self.dir.marks();
        marks.state().logs.get(&self.key).is_none_or(|state| state.deleting)
    }

    /// What this job's completion says.
    #[must_use]
    pub fn flushed(&self) -> Flushed {
        Flushed {
            tp: self.key.tp,
            incarnation: self.key.incarnation,
            durable: self.durable,
            epoch_durable: self.epochs.last().map(|(epoch, _)| *epoch),
            generation: self.generation,
        }
    }

    /// Makes the marks of synced jobs durable, in one round. Jobs of logs that were truncated or deleted
    /// meanwhile leave no mark.
    ///
    /// # Errors
    /// Those of the journal's write or sync; final.
    pub fn commit_marks(jobs: &[FlushJob]) -> io::Result<()> {
        Self::commit(jobs, &vec![false; jobs.len()])
    }

    /// The same; of the jobs that are `journalled` the round brings the data too.
    pub(crate) fn commit(jobs: &[FlushJob], journalled: &[bool]) -> io::Result<()> {
        let Some(first) = jobs.first() else { return Ok(()) };
        let mut marks = first.dir.marks();
        let (mut entries, mut held) = (Vec::new(), Vec::new());
        for (job, journalled) in jobs.iter().zip(journalled) {
            let Some(state) = marks.state().logs.get(&job.key) else {
                continue;
            };
            if state.deleting || state.generation != job.generation {
                continue;
            }
            let replaced = job.replaced && !broken(Broken::KeepReplacedFiles);
            // The cut of a failed append changes no position: on a full disk nothing is written for it.
            if !replaced && state.durable == job.durable && state.cut.is_none() && job.epochs.is_empty() {
                continue;
            }
            let key = job.key;
            entries.extend(job.epochs.iter().map(|(epoch, start)| Entry::Epoch {
                key,
                epoch: *epoch,
                start: *start,
            }));
            if replaced {
                // The number of no round that made segments before.
                let files = marks.sequence() + 1;
                entries.push(Entry::Files { key, files });
            }
            if *journalled && !broken(Broken::MarkBeforeSync) {
                entries.extend(job.data(state.files).map(|data| Entry::Data { key, data }));
                held.extend(job.files.first().map(|file| (key, file.clone())));
            }
            entries.push(Entry::Mark {
                key,
                offset: job.durable,
            });
            // What index files say counts only with what they describe.
            if job.recovery_point > state.recovery_point && !*journalled {
                entries.push(Entry::RecoveryPoint {
                    key,
                    offset: job.recovery_point,
                });
            }
        }
        if first.dir.is_offline() {
            return Err(io::Error::other(LogError::Offline));
        }
        marks.append_data(&entries, held)
    }

    fn data(&self, files: u64) -> Option<Data> {
        self.tail.as_ref().map(|tail| Data {
            files,
            base: tail.base,
            position: tail.position,
            parts: tail.parts.clone(),
        })
    }
}
