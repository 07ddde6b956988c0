//! Consumer groups, as a pure state machine: a request and `now` in; records to write and answers out. No clock, no
//! randomness, no log: [`coordinator`](../coordinator/index.html) drives it.

mod config;
mod java_hash;
mod request;

pub use config::GroupConfig;
pub use java_hash::partition_of;
pub use request::*;
