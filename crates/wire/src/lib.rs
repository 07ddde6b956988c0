//! Kafka frames and codec: bytes of a connection in, typed requests out, and back.
//!
//! The messages are those of the `kafka-protocol` crate. That crate trusts lengths which it reads, so no
//! byte of a peer reaches it before the grammar of the message (`grammar.rs`) has walked over all of them: what
//! passes can neither panic nor ask for more memory than a small multiple of the frame.

mod after_codec;
mod before_codec;
mod by_topic_id;
pub mod client;
mod decode;
mod downgrade;
mod encode;
mod error;
mod fetch_response;
mod frame;
mod frame_reader;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grammar;
mod served;
#[cfg(test)]
mod tests;

pub use decode::decode_request;
pub use encode::{encode_response, error_code};
pub use error::WireError;
pub use frame::{RequestFrame, parse_frame};
pub use frame_reader::FrameReader;
pub use kafka_protocol::messages::{self, ApiKey};
pub use kafka_protocol::protocol::StrBytes;
pub use served::{ApiRange, SERVED, serves};
