use std::collections::BTreeMap;
use std::time::Duration;
use types::DirectoryId;

/// What the control plane watches of the data plane of its node. Neither call blocks.
pub trait DataPlane: Send + Sync {
    /// How long nothing has moved on some shard. ◆ The control plane's own threads would go on telling that this node lives
    /// while what it leads hangs on a disk: with [`types::Timings::flush_stall`] of it they say nothing, so that the broker is
    /// fenced and others lead.
    fn silence(&self) -> Duration;

    /// Durable rounds of the journals of the directories that work (`LogDir::sequence`). ◆ What has been seen is remembered
    /// in the metadata directory: a log directory that comes back with fewer is an old copy of itself.
    fn journal_sequences(&self) -> BTreeMap<DirectoryId, u64>;
}
