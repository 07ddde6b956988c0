//! Raft for the metadata log. This crate hides openraft: nothing else names it. A [`RaftNode`] keeps its log
//! in a [`RaftStore`] ([`RocksStore`], or [`SimStore`] in the simulator), speaks over a [`Transport`]
//! ([`TonicTransport`], or [`FramedTransport`] in the simulator), and runs on one runtime for both
//! ([`simulated`], [`SwitchRuntime`]).

mod call_handling;
mod convert;
mod frame;
mod framed_transport;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod leadership;
mod log_storage;
mod membership_change;
mod network;
mod quorum_recovery;
mod raft_error;
mod raft_node;
mod raft_status;
mod rocks_store;
mod runtime;
mod sim_store;
mod state_machine;
mod store;
#[cfg(test)]
mod store_suite;
mod tonic_server;
mod tonic_transport;
mod transport;
mod type_config;

/// Messages of `/proto/node.proto`, `/proto/raft.proto` and `/proto/controller.proto`.
#[allow(clippy::large_enum_variant, clippy::doc_markdown)]
pub mod pb {
    tonic::include_proto!("ottla.v1");
}

pub use framed_transport::FramedTransport;
pub use leadership::Leadership;
pub use quorum_recovery::{StoredQuorum, make_sole_voter, stored_quorum};
pub use raft_error::{ProposeError, RaftError};
pub use raft_node::{RaftNode, RaftOptions};
pub use raft_status::{RaftState, RaftStatus};
pub use rocks_store::RocksStore;
pub use runtime::{SwitchRng, SwitchRuntime, simulated};
pub use sim_store::SimStore;
pub use store::{Change, Done, RaftStore, Slot};
pub use tonic_transport::TonicTransport;
pub use transport::{CallError, Handler, Serving, Session, Transport};
