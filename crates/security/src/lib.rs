//! Who may speak between nodes. Whoever can acknowledge can commit, and whoever can vote can rule: before a replica
//! stream or a connection of control planes carries anything, both ends prove that they know the cluster's secret.

mod cluster_secret;
mod complaints;
mod gate;

pub use cluster_secret::{ClusterSecret, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRETS_MAX, SecretError};
pub use complaints::Complaints;
pub use gate::{AuthError, Gate, Purpose};
