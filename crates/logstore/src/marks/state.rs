use super::{Entry, LogKey, MarksError};
use std::collections::BTreeMap;
use types::{Broken, LeaderEpoch, Offset, broken};

/// A change of files that is journalled and not yet known to be on disk: recovery applies it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing at or above this offset is valid.
    From(Offset),
    /// No file there is valid; the log starts and ends here.
    Fully(Offset),
}

/// What the journal knows of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) name: String,
    pub(crate) durable: Offset,
    pub(crate) log_start: Offset,
    /// What lies below is described by index files that are on disk. At most `durable`.
    pub(crate) recovery_point: Offset,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    pub(crate) cut: Option<Cut>,
    pub(crate) deleting: bool,
    /// See [`super::Data::files`].
    pub(crate) files: u64,
    /// `leader-epoch-checkpoint` says what `epochs` says. Not stored.
    pub(crate) epochs_exported: bool,
    /// Raised by each truncation, so that a flush which was under way then is not counted. Not stored.
    pub(crate) generation: u64,
}

/// All logs of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DirectoryState {
    pub(crate) logs: BTreeMap<LogKey, LogState>,
}

impl LogState {
    fn new(name: String, files: u64) -> Self {
        Self {
            name,
            durable: Offset::ZERO,
            log_start: Offset::ZERO,
            recovery_point: Offset::ZERO,
            epochs: Vec::new(),
            cut: None,
            deleting: false,
            files,
            epochs_exported: false,
            generation: 0,
        }
    }

    fn truncate(&mut self, offset: Offset) {
        self.generation += 1;
        self.epochs_exported = false;
        self.durable = self.durable.min(offset);
        self.recovery_point = self.recovery_point.min(offset);
        self.epochs.retain(|(_, start)| *start < offset);
        self.cut = Some(match self.cut {
            // What came after a full truncation was not durable, so all of it may go.
            Some(Cut::Fully(at)) => Cut::Fully(at),
            Some(Cut::From(at)) => Cut::From(at.min(offset)),
            None => Cut::From(offset),
        });
    }

    fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epochs_exported = false;
        self.epochs.retain(|(known, at)| *known < epoch && *at < start);
        self.epochs.push((epoch, start));
    }

    fn move_log_start(&mut self, offset: Offset) {
        self.log_start = self.log_start.max(offset);
        self.durable = self.durable.max(offset);
        self.epochs_exported = false;
        trim_epochs(&mut self.epochs, self.log_start);
    }
}

/// Drops epochs that lie wholly below `log_start`; the one that reaches into the log then starts there.
pub(crate) fn trim_epochs(epochs: &mut Vec<(LeaderEpoch, Offset)>, log_start: Offset) {
    let covering = epochs.partition_point(|(_, start)| *start <= log_start);
    epochs.drain(..covering.saturating_sub(1));
    if let Some(first) = epochs.first_mut() {
        first.1 = first.1.max(log_start);
    }
}

impl DirectoryState {
    /// Takes in an entry of the round `sequence`.
    pub(crate) fn apply(&mut self, entry: &Entry, sequence: u64) -> Result<(), MarksError> {
        if let Entry::Create { key, name } = entry {
            self.logs.insert(*key, LogState::new(name.clone(), sequence));
            return Ok(());
        }
        if let Entry::Removed { key } = entry {
            self.logs.remove(key);
            return Ok(());
        }
        let log = self
            .logs
            .get_mut(&entry.key())
            .ok_or(MarksError::Entry("a log that was never created"))?;
        match entry {
            Entry::Create { .. } | Entry::Removed { .. } | Entry::Data { .. } => {}
            Entry::Mark { offset, .. } => {
                log.durable = (*offset).max(log.log_start);
                log.cut = None;
            }
            Entry::Epoch { epoch, start, .. } => log.assign_epoch(*epoch, *start),
            Entry::Truncate { offset, .. } => {
                if !broken(Broken::ReplayOverCut) {
                    log.files = sequence;
                }
                log.truncate(*offset);
            }
            Entry::TruncateFully { offset, .. } => {
                log.files = sequence;
                log.generation += 1;
                log.epochs_exported = false;
                log.durable = *offset;
                log.recovery_point = *offset;
                log.log_start = *offset;
                log.epochs.clear();
                log.cut = Some(Cut::Fully(*offset));
            }
            Entry::LogStart { offset, .. } => log.move_log_start(*offset),
            Entry::Delete { .. } => log.deleting = true,
            Entry::RecoveryPoint { offset, .. } => log.recovery_point = *offset,
            Entry::Files { files, .. } => log.files = *files,
        }
        Ok(())
    }

    /// Entries that build this state from nothing.
    pub(crate) fn to_entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, log) in &self.logs {
            let key = *key;
            entries.push(Entry::Create {
                key,
                name: log.name.clone(),
            });
            if let Some(Cut::Fully(offset)) = log.cut {
                entries.push(Entry::TruncateFully { key, offset });
                entries.push(Entry::LogStart {
                    key,
                    offset: log.log_start,
                });
            } else {
                entries.push(Entry::LogStart {
                    key,
                    offset: log.log_start,
                });
                entries.push(Entry::Mark {
                    key,
                    offset: log.durable,
                });
            }
            if let Some(Cut::From(offset)) = log.cut {
                entries.push(Entry::Truncate { key, offset });
            }
            entries.push(Entry::RecoveryPoint {
                key,
                offset: log.recovery_point,
            });
            // After the truncation, which would drop those that were assigned since.
            entries.extend(log.epochs.iter().map(|(epoch, start)| Entry::Epoch {
                key,
                epoch: *epoch,
                start: *start,
            }));
            let files = log.files;
            entries.push(Entry::Files { key, files });
            if log.deleting {
                entries.push(Entry::Delete { key });
            }
        }
        entries
    }
}
