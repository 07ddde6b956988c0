mod damage;
mod damaged_wire;
mod disk_full;
mod epochs;
mod fetch_memory;
mod log_life;
mod long_poll;
mod offline_directories;
mod power_loss;
mod replication;
mod rot;
mod secret;
mod stalls;
mod strictness;
mod support;
mod throttle;

/// By the name that the unit tests, which share `support`, can give it too.
use broker as subject;
