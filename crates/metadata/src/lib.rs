//! The cluster's metadata as Kafka's KRaft has it: an [`Image`] made of [`Record`]s, and the planners that
//! turn commands into records. Pure: no clock, no file, no randomness of its own.
//!
//! ```text
//! command + image + randomness ── plan::… ──► Plan { records, response }
//! records ── encode_records ──► metadata log ── decode_records ──► Image::apply on every node
//! ```

pub mod broker_config;
mod broker_registration;
mod codec;
mod image;
mod member;
pub mod plan;
mod record;
pub mod topic_config;
mod topic_image;

pub use broker_registration::{BrokerRegistration, DirectoryOutcome, DirectoryReport, Endpoint};
pub use codec::{CodecError, decode_records, encode_records};
pub use image::{ApplyError, Image};
pub use member::Member;
pub use record::Record;
pub use topic_image::{PartitionImage, TopicImage, is_internal};

mod pb {
    #![allow(clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/ottla.metadata.v1.rs"));
}
