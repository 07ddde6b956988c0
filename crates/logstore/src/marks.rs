//! The marks journal: what is durable in each log of a directory, and every change that must be known
//! before files are touched. See [`MarksJournal`].

mod entry;
mod journal;
mod round;
mod state;

pub(crate) use entry::Entry;
pub use journal::inspect_marks;
pub(crate) use journal::{JournalFill, MarksJournal};
pub(crate) use state::{Cut, LogState, trim_epochs};

use std::io;
use types::{ReplicaIncarnation, TopicPartition};

/// One life of a replica: entries of another incarnation never apply to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
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
    #[error("a valid round holds an entry that makes no sense: {0}")]
    Entry(&'static str),
    #[error("the file has {0} bytes, more than a journal may have")]
    TooLarge(u64),
}
