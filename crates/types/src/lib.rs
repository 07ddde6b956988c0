//! The words every other crate speaks: ids, offsets, epochs, Kafka's error codes, time, limits and
//! timings. Nothing here does anything; floor 0 of `ARCHITECTURE.md`.

mod broken;
mod error_code;
mod ids;
pub mod limits;
mod time;
mod timings;

#[cfg(feature = "broken")]
pub use broken::choose;
pub use broken::{Broken, SWITCHES, broken};
pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, DirectoryId, LeaderEpoch, LogIndex, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, RaftId,
    ReplicaIncarnation, StreamGeneration, TopicId, TopicPartition,
};
pub use time::Monotonic;
pub use timings::Timings;
