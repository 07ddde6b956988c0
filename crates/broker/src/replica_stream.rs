//! Replica streams: long-lived TCP between the shards of two brokers. The follower dials and states its
//! positions; the leader pushes as records arrive; acknowledgements are cumulative. Idle partitions cost nothing:
//! the stream's keep-alive speaks for all of them.
//!
//! ```text
//!  follower's shard f                                leader's shard l
//!        │ hello ──────────────────────────────────────► │ checked: cluster, nodes, broker epoch, shards
//!        │ ◄────────────────────────────────────── welcome│
//!        │ positions (hello per partition) ─────────────► │
//!        │ ◄───────────────────── answers, then data frames│ several in flight, within the window
//!        │ acks (log end, durable position) ────────────► │
//! ```

mod follower_side;
mod leader_side;
mod listener;
pub mod protocol;
mod push;
mod transport;

pub(crate) use follower_side::FollowOut;
pub(crate) use leader_side::StreamOut;
pub(crate) use listener::listen;
