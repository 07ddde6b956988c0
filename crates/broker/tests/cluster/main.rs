mod damage;
mod damaged_wire;
mod epochs;
mod fetch_memory;
mod log_life;
mod long_poll;
mod power_loss;
mod replication;
mod stalls;
mod strictness;
mod support;

/// By the name that the unit tests, which share `support`, can give it too.
use broker as subject;
