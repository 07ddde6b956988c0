use crate::record::Record;
use crate::request::{Joined, PartitionErrors, Synced};
use types::ErrorCode;

/// A request that waits for its answer. The runtime gives the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Records that were given to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// What the runtime has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answers a request. Whoever asked may be gone.
    Answer(Ticket, Answer),
    /// Appends the records as one batch, after those of every earlier append, and says what became of it with
    /// [`Coordinator::appended`](crate::Coordinator::appended) when it is committed.
    Append(AppendId, Vec<Record>),
}

/// An answer to a request that may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Joined(Joined),
    Synced(Synced),
    /// To a commit, or to the deletion of offsets.
    Offsets(Result<PartitionErrors, ErrorCode>),
    /// To the deletion of a group.
    Deleted(ErrorCode),
}
