//! Seeded simulation of a whole cluster: production code from the Kafka frame to the log, on a simulated network
//! (turmoil), clock and disk, in one thread. The same seed gives the same trace.
//!
//! Covered: founding, registration, elections, replication, flush, recovery, consumer groups, the Kafka protocol. *Not* covered, because
//! they are replaced: threads, sendfile, RocksDB, tonic.

mod check;
mod client;
mod faults;
mod groups;
mod history;
mod invariants;
mod life;
mod machine;
mod many;
mod reassign;
mod replica_reader;
mod run;
mod seed;
mod sim_host;
mod sim_net;
mod strike;
mod trace;
mod visitor;
mod voters;
mod workload;

pub use many::run_many;
pub use run::{Outcome, Plan, run};
