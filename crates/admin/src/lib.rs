//! HTTP for machines that watch a node: `/metrics` for Prometheus, `/livez`, `/readyz` and `/startupz` for Kubernetes and
//! load balancers. Floor 4. On a listener and a thread of its own: a node that is busy or hangs can still be looked at.
//!
//! Nothing here changes anything, and no answer waits for a shard, a disk or another node.

mod admin_server;
mod cluster_metrics;
mod health;
mod image_changes;
mod node_state;
mod process_metrics;
mod readiness;
mod view;

pub use admin_server::{AdminServer, ListenError};
pub use image_changes::ImageChanges;
pub use node_state::NodeState;
pub use readiness::Readiness;
