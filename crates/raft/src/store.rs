use bytes::Bytes;
use std::io;
use std::ops::Range;

/// A small value beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Vote,
    /// How far this node knows the log to be committed.
    Committed,
    /// The last entry that was purged.
    Purged,
    /// The newest snapshot, metadata and content.
    Snapshot,
}

/// One step of a write.
#[derive(Debug, Clone)]
pub enum Write {
    Entry(u64, Bytes),
    Set(Slot, Bytes),
    /// Removes this entry and all behind it.
    TruncateFrom(u64),
    /// Removes all entries up to this one, included.
    PurgeTo(u64),
}

/// Called once the write it belongs to is durable, in the order of the writes. An error means that the store is of no
/// more use.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Where the Raft log lives. Content is opaque; the formats are those of `proto/raft.proto`.
///
/// A write is atomic, readable when [`RaftStore::write`] returns, and durable when its `done` is called. A failed sync is
/// final: every later write fails.
pub trait RaftStore: Send + Sync + 'static {
    /// # Errors
    /// The store failed, now or before; `done` is then not called.
    fn write(&self, writes: Vec<Write>, done: Done) -> io::Result<()>;

    /// Entries with these indexes that are there, ascending.
    ///
    /// # Errors
    /// The store cannot be read.
    fn entries(&self, range: Range<u64>) -> io::Result<Vec<(u64, Bytes)>>;

    /// The last entry.
    ///
    /// # Errors
    /// The store cannot be read.
    fn last(&self) -> io::Result<Option<(u64, Bytes)>>;

    /// # Errors
    /// The store cannot be read.
    fn get(&self, slot: Slot) -> io::Result<Option<Bytes>>;
}
