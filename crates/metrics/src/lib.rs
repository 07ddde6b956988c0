//! Numbers that a node counts, and the page on which Prometheus reads them. Floor 0: each crate counts what it does and
//! writes its own families ([`Source`]); `admin` serves the page.
//!
//! Counting costs a load and a store, without a lock or a contended cache line: every counter has one writer, its shard.

mod counter;
mod exposition;
mod histogram;
mod page;

pub use counter::Counter;
pub use exposition::{Exposition, parse};
pub use histogram::{Histogram, Tally};
pub use page::{Family, Kind, Page};

/// Whoever has numbers.
pub trait Source: Send + Sync {
    /// Writes the families, each once. Must not block: it is asked while disks and shards may hang.
    fn write(&self, page: &mut Page);
}
