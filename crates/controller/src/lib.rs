//! The control plane of one node: founding and joining, the controller's duties where it leads the metadata log, the
//! broker's registration and session, and the calls of the rest of the node. Floor 3.
//!
//! ```text
//!   ControlHandle ──► forwarding ──► the node that leads: leader (plans, proposes, answers)
//!   registration ──► session ──────► liveness: fence by silence or evidence, unfence
//! ```

mod boot_stamp;
mod cluster_status;
mod commands;
mod control_handle;
mod control_plane;
mod data_plane;
mod diagnosis;
mod envelope;
mod evidence;
mod forwarding;
mod founding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod identity;
mod leader;
mod liveness;
mod messages;
mod options;
mod planning;
mod registration;
mod sessions;
mod shared;
mod voters;

pub use cluster_status::{ClusterStatus, NodeStatus, PartitionProblem, ProblemKind, RaftRole};
pub use commands::{
    AlterConfigs, AlterConfigsResource, AlterPartition, AlterReassignments, AlteredPartition, ConfigChange,
    ConfigResource, CreatePartitions, CreateTopics, CreatedTopic, DeletedTopic, ElectLeaders, MarkStrict,
    MorePartitions, NewTopic, PartitionOutcomes, PlanError, TopicRef,
};
pub use control_handle::ControlHandle;
pub use control_plane::{ControlError, ControlPlane, Failure};
pub use data_plane::DataPlane;
pub use diagnosis::{Diagnosis, Finding};
pub use identity::{Identity, IdentityError, Membership};
pub use options::{ControlOptions, LeaderBalance, LogDirectory};
