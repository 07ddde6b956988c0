mod damaged_wire;
mod power_loss;
mod replication;
mod support;
