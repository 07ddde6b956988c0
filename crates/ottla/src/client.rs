//! The Kafka client behind Ottla's own commands: one request at a time, public protocol only.

mod assignor;
mod cluster;
mod connection;
mod consumer;
pub mod consumer_protocol;
mod coordinator;
mod group;
mod group_member;
mod partitioner;
mod producer;

pub use assignor::Assignor;
pub use cluster::{Cluster, Partition, Topic};
pub use connection::Connection;
pub use consumer::{Consumer, EARLIEST, Fetched, LATEST};
pub use coordinator::Coordinator;
pub use group::{Description, Group, Member, Place};
pub use group_member::{GroupMember, Standing};
pub use partitioner::partition_of_key;
pub use producer::{Outgoing, Producer};

use types::ErrorCode;

/// Why a command could not do what it was asked. The text is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no node of the cluster answers: {0}. Is it running? (`ottla demo` starts one; --bootstrap says where)")]
    Unreachable(String),
    #[error("the connection to {0} broke: {1}")]
    Broken(String, String),
    #[error("{0} does not serve {1:?} in a version that this command speaks")]
    Version(String, wire::ApiKey),
    #[error("{what}: {error}{}", .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Kafka {
        what: String,
        error: ErrorCode,
        message: Option<String>,
    },
    #[error("{0}")]
    Other(String),
}

impl ClientError {
    /// Kafka's error about `what`, or nothing for error 0.
    ///
    /// # Errors
    /// [`ClientError::Kafka`].
    pub fn check(what: impl Into<String>, code: i16, message: Option<String>) -> Result<(), Self> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            error => Err(Self::Kafka {
                what: what.into(),
                error,
                message,
            }),
        }
    }

    /// Whether it is this error of Kafka's.
    #[must_use]
    pub fn is(&self, wanted: ErrorCode) -> bool {
        matches!(self, Self::Kafka { error, .. } if *error == wanted)
    }

    /// Whether asking again, after new metadata, may succeed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broken(..) | Self::Unreachable(_) => true,
            Self::Kafka { error, .. } => retriable(*error),
            Self::Version(..) | Self::Other(_) => false,
        }
    }
}

/// Kafka's retriable errors, as far as these commands meet them.
#[must_use]
pub fn retriable(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotController
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}
