use thiserror::Error;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// Why a peer's message was refused. State is unchanged by a refused message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The sender is in an older leader epoch (KIP-320).
    #[error("leader epoch {theirs} is older than {ours}")]
    FencedLeaderEpoch { theirs: LeaderEpoch, ours: LeaderEpoch },
    /// The sender is in a leader epoch that is not known here yet.
    #[error("leader epoch {theirs} is newer than {ours}")]
    UnknownLeaderEpoch { theirs: LeaderEpoch, ours: LeaderEpoch },
    /// The sender holds no replica of this partition.
    #[error("node {0} is not a replica")]
    NotAReplica(NodeId),
    /// The sender was registered anew since (KIP-903): this comes from its dead self.
    #[error("node {0} speaks with an old broker epoch")]
    StaleBrokerEpoch(NodeId),
    /// From before the follower's last hello, or the stream is gone.
    #[error("the stream of node {0} has ended")]
    StaleStream(NodeId),
    /// Positions that contradict each other or what was said before.
    #[error("positions of node {0} are impossible")]
    ImpossiblePosition(NodeId),
    /// Batches that cannot follow each other in a log.
    #[error("batch at {0} does not continue the log")]
    BrokenBatches(Offset),
    /// A batch from the future of its frame.
    #[error("batch at {0} is of a newer epoch than its frame")]
    BatchEpochAboveFrame(Offset),
}

impl Error {
    /// Kafka's code for it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::NotAReplica(_) => ErrorCode::NotLeaderOrFollower,
            Self::StaleBrokerEpoch(_) => ErrorCode::StaleBrokerEpoch,
            Self::StaleStream(_) => ErrorCode::InvalidFetchSessionEpoch,
            Self::ImpossiblePosition(_) => ErrorCode::InvalidRequest,
            Self::BrokenBatches(_) | Self::BatchEpochAboveFrame(_) => ErrorCode::CorruptMessage,
        }
    }
}
