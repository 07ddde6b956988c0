//! Consumer groups, as a pure state machine: a request and `now` in; records to write and answers out. No clock, no
//! randomness, no log: the `coordinator` crate drives it.
//!
//! [`Coordinator`] is what one partition of `__consumer_offsets` stands for. What it writes there are [`Record`]s in Kafka's
//! formats; what moves a group is in `turn`.

mod appends;
mod classic_group;
mod config;
mod coordinator;
mod effect;
mod java_hash;
mod member;
mod memory;
mod now;
mod offsets;
mod record;
mod request;
mod subscription;
mod timers;
mod turn;

pub use config::GroupConfig;
pub use coordinator::Coordinator;
pub use effect::{Answer, AppendId, Effect, Ticket};
pub use java_hash::partition_of;
pub use memory::Memory;
pub use now::Now;
pub use record::{CommittedOffset, GroupMetadata, MemberMetadata, Record, RecordError};
pub use request::*;
