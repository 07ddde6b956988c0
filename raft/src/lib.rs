//! The metadata log: openraft, hidden behind this crate, with a store on RocksDB and a transport over gRPC. For the
//! simulator both have a twin behind the same trait: [`SimStore`] and [`FramedTransport`].

mod convert;
mod framed_transport;
mod log_storage;
mod network;
mod raft_node;
mod raft_status;
mod rocks_store;
mod runtime;
mod sim_store;
mod state_machine;
mod store;
mod tonic_transport;
mod transport;
mod type_config;

pub use framed_transport::FramedTransport;
pub use raft_node::{Leadership, ProposeError, RaftError, RaftNode, RaftOptions};
pub use raft_status::{RaftState, RaftStatus};
pub use rocks_store::RocksStore;
pub use runtime::simulated;
pub use sim_store::SimStore;
pub use store::{Done, RaftStore, Slot, Write};
pub use tonic_transport::TonicTransport;
pub use transport::{CallError, Handler, Serving, Session, Transport};

/// Generated from `proto/node.proto` and what it imports.
pub mod pb {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    tonic::include_proto!("ottla.v1");
}
