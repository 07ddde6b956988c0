//! Coordinators of consumer groups: the state machines of the `group` crate on the shards that lead the partitions of
//! `__consumer_offsets`. Floor 3.
//!
//! ```text
//!  request ── Groups ──► owning shard ── Coordinators ──► GroupPartition ──► group::Coordinator
//!                                                              ▲   │ records
//!                                              committed, in   │   ▼
//!                                              their order     ShardRef::append, as any other produce
//! ```
//!
//! A coordinator follows the leadership of its partition: with each leader epoch a new one reads the log ([`load`]) and then
//! answers; the old one tells whoever waits to look for another. It lives on the partition's own shard, so nothing is locked.

mod coordinators;
mod group_metrics;
mod group_partition;
mod groups;
mod load;

pub use coordinators::{Coordinators, OFFSETS_TOPIC};
pub use group_metrics::GroupMetrics;
pub use groups::Groups;
