//! The journal: what is durable in each log of a directory, new bytes of segments that are not synced yet, and every change
//! that must be known before files are touched. See [`MarksJournal`].

mod entry;
mod journal;
mod load;
mod round;
mod state;
#[cfg(test)]
mod tests;
mod uncovered;

pub(crate) use entry::{Data, Entry};
pub(crate) use journal::{JournalFill, MarksJournal};
pub use load::inspect_marks;
pub(crate) use state::{Cut, LogState, trim_epochs};

use std::io;
use types::{ReplicaIncarnation, TopicPartition, limits};

/// One life of a replica: entries of another incarnation never apply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
}

/// How long each of the journal's two files is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSize {
    /// At first.
    pub bytes: u64,
    /// After some laps with data, twice as long each, unless marks alone need more.
    pub bytes_max: u64,
}

impl Default for JournalSize {
    fn default() -> Self {
        Self {
            bytes: limits::MARKS_JOURNAL_BYTES,
            bytes_max: limits::JOURNAL_FILE_BYTES_MAX,
        }
    }
}

/// Why a marks journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No file begins with a valid round, although the directory is not new.
    #[error("no valid round is left")]
    Missing,
    /// A bad round is followed by a valid later one: acknowledged marks were damaged.
    #[error("a round after sequence {after} is damaged, but round {later} is there")]
    Corrupt { after: u64, later: u64 },
    /// Rounds with records that segments may lack are damaged or gone.
    #[error("of the rounds from {from} up to {to}, which are still needed, some are damaged")]
    Incomplete { from: u64, to: u64 },
    #[error("a valid round holds an entry that makes no sense: {0}")]
    Entry(&'static str),
    #[error("the file has {0} bytes, more than a journal may have")]
    TooLarge(u64),
}
