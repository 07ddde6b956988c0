//! The data plane: shards, partitions, replica streams. Floor 3; drives the cores of `replica` and the logs of
//! `logstore`.
//!
//! ```text
//!  connection ── ShardRef::append ──► owning shard: queue of its partition
//!                                          │ drain, then act: once per partition and turn of the loop
//!                                          ▼
//!        log.append (one write) ──► frames to followers ──► their acks ──┐
//!               └──► flusher ──► durable position ───────────────────────┴─► high watermark ──► replies
//! ```

mod broker;
mod broker_metrics;
mod control;
mod damage;
mod data;
mod errands;
mod fetch;
#[cfg(feature = "inspect")]
pub mod inspect;
mod isr;
mod links;
mod log_dirs;
mod offline;
mod partition;
mod partition_cell;
mod reconcile;
mod recovered;
pub mod replica_stream;
mod shard;
mod shard_queue;
mod shard_stats;
mod stalls;
mod tenants;
mod throttle;
mod tick;
mod topic_settings;
mod twins;

pub use broker::{Broker, BrokerError, BrokerOptions, ConnectionFactory, DirectoryInput};
pub use control::{Altered, AlteredIsr, Control, IsrProposal};
pub use data::{AppendError, Appended, FetchPartition, FetchPlan, FetchedPartition};
pub use fetch::FetchMemory;
pub use log_dirs::{LogDirDescription, ReplicaSize};
pub use shard::ShardRef;
pub use tenants::Leadership;

/// The tests' cluster, for tests of what is not public.
#[cfg(test)]
extern crate self as subject;
#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/cluster/support.rs"]
mod support;
