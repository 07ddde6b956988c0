use async_trait::async_trait;
use std::io;
use std::ops::Range;

/// Told once, when an append is durable or has failed.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A value that there is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Vote,
    /// Log id of the last purged entry.
    Purged,
    /// A hint: may be lost, never ahead of what is committed.
    Committed,
    Snapshot,
}

/// What is written at once.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub puts: Vec<(Slot, Vec<u8>)>,
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Indexes to remove, before `entries` are put.
    pub remove: Option<Range<u64>>,
}

/// Where a Raft node keeps its log, vote and snapshot, as encoded bytes. Everything written becomes durable
/// in the order of the calls. After a failed write or fsync every later call fails: a failed fsync is never
/// retried.
#[async_trait]
pub trait RaftStore: Send + Sync + 'static {
    /// The newest value written.
    fn read(&self, slot: Slot) -> io::Result<Option<Vec<u8>>>;
    /// Entries in ascending order, at least one if there is one, and no more than about `bytes`.
    fn entries(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Vec<u8>>>;
    fn last_entry(&self) -> io::Result<Option<Vec<u8>>>;
    /// Writes; `done` is called when it is durable.
    fn submit(&self, change: Change, done: Done) -> io::Result<()>;
    /// Writes without asking for durability.
    fn hint(&self, slot: Slot, value: Vec<u8>) -> io::Result<()>;

    /// Writes, and returns when it is durable.
    async fn write(&self, change: Change) -> io::Result<()> {
        let (told, wait) = tokio::sync::oneshot::channel();
        self.submit(
            change,
            Box::new(move |result| {
                let _ = told.send(result);
            }),
        )?;
        wait.await.map_err(|_| io::Error::other("the store has stopped"))?
    }
}
