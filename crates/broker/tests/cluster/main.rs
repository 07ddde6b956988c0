mod damaged_wire;
mod fetch_memory;
mod power_loss;
mod replication;
mod support;
