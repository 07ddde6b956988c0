//! The state machines of a partition's replica: leader, follower, leader epochs, idempotent producers.
//! Floor 1: pure. An event and `now` go in, actions come out; no clock, file, socket, lock or await.
//!
//! The shell (`broker`) performs the actions in the order given and reports back: what it appended, what is
//! durable, what a peer said. Events of peers are checked and answered with an [`Error`]; a broken
//! invariant of our own is an assert, which stops this partition only.
//!
//! Contract: KIP-101, 279, 320, 497, 595, 841, 903, 966; the push streams of `ARCHITECTURE.md`.

mod action;
mod bounds;
mod digest;
mod epoch_cache;
mod error;
mod follower;
mod follower_progress;
mod leader;
mod message;
mod producer_states;
mod view;

pub use action::{Action, FollowerAction, IsrAnswer, ProposalId};
pub use bounds::LogBounds;
pub use digest::digest;
pub use epoch_cache::{EpochCache, EpochLookup, EpochsOfLog};
pub use error::Error;
pub use follower::Follower;
pub use leader::{FollowerStatus, Leader};
pub use message::{EntryHeader, FollowerAck, FollowerHello, HelloAnswer, first_generation};
pub use producer_states::{ProducerBatch, ProducerCheck, ProducerEntry, ProducerStates};
pub use view::{Durability, PartitionView};
