use super::{Recovered, recover_log};
use crate::directory::Directory;
use crate::marks::{Data, Entry, LogKey, LogState};
use crate::{LogConfig, LogDirError};
use std::sync::Arc;
use types::Monotonic;

/// Logs that a job recovers: few enough that no job is left alone for long at the end.
const LOGS_PER_JOB: usize = 16;

/// A log, what the journal says of it, and what it has of its records.
type Found = (LogKey, LogState, Vec<Data>);

/// The recovery of a directory: its jobs need not wait for each other, since each log has files of its own, and the journal
/// takes what all of them found in one round at the end.
pub struct Recovery {
    started: Monotonic,
    jobs: Vec<RecoveryJob>,
    entries: Vec<Entry>,
    recovered: Vec<Recovered>,
}

/// Some of the logs. It borrows nothing, so it runs where waiting for the disk does no harm.
pub struct RecoveryJob {
    dir: Arc<Directory>,
    logs: Vec<Found>,
}

/// What became of a job's logs.
pub struct RecoveryDone {
    entries: Vec<Entry>,
    recovered: Vec<Recovered>,
}

impl Recovery {
    pub(crate) fn new(dir: &Arc<Directory>, started: Monotonic, entries: Vec<Entry>, logs: Vec<Found>) -> Self {
        let mut jobs: Vec<RecoveryJob> = Vec::new();
        for log in logs {
            match jobs.last_mut().filter(|job| job.logs.len() < LOGS_PER_JOB) {
                Some(job) => job.logs.push(log),
                None => jobs.push(RecoveryJob {
                    dir: dir.clone(),
                    logs: vec![log],
                }),
            }
        }
        Self {
            started,
            jobs,
            entries,
            recovered: Vec::new(),
        }
    }

    /// All of them have to run, in any order.
    pub fn take_jobs(&mut self) -> Vec<RecoveryJob> {
        std::mem::take(&mut self.jobs)
    }

    pub fn add(&mut self, done: RecoveryDone) {
        self.entries.extend(done.entries);
        self.recovered.extend(done.recovered);
    }

    pub(crate) fn into_parts(self) -> (Monotonic, Vec<Entry>, Vec<Recovered>) {
        debug_assert!(self.jobs.is_empty(), "logs were left out");
        (self.started, self.entries, self.recovered)
    }
}

impl RecoveryJob {
    /// Blocking.
    ///
    /// # Errors
    /// [`LogDirError::Io`] if the disk fails.
    pub fn run(self) -> Result<RecoveryDone, LogDirError> {
        let mut done = RecoveryDone {
            entries: Vec::new(),
            recovered: Vec::new(),
        };
        for (key, state, replay) in &self.logs {
            let found = recover_log(&self.dir, *key, state, replay, LogConfig::default());
            let (log, entries) = found.map_err(|error| LogDirError::Io {
                path: self.dir.path.clone(),
                error,
            })?;
            done.entries.extend(entries);
            done.recovered.push(log);
        }
        Ok(done)
    }
}
