use serde::Serialize;
use std::fmt;

/// What a log that loses nothing must not show. The names are Jepsen's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// One offset holds more than one value.
    InconsistentOffset,
    /// One value is at more than one offset.
    Duplicate,
    /// Acknowledged or read, and not there afterwards.
    Lost,
    /// Acknowledged, and deleted although nobody was to delete anything.
    Removed,
    /// Acknowledged, and no reader got as far by the end.
    Unseen,
    /// A value was read whose send certainly failed (G1a).
    FailedRead,
    /// A value was read that nobody had sent there by then.
    Phantom,
    /// A record does not hold what its writer wrote.
    Corrupt,
    /// A consumer was not given a record between two that it was given.
    PollSkip,
    /// A consumer was given records out of order.
    NonmonotonicPoll,
    /// A send was placed before what was already known to be in the log.
    NonmonotonicSend,
    /// A group's offset is not what was committed last.
    GroupRegressed,
    /// A group's offset lies beyond what its members were given.
    GroupBeyondRead,
    /// Below a group's offset lies a record that none of its members was given.
    GroupSkip,
    /// A partition has two owners in one generation of a group.
    TwoOwners,
    /// A high watermark below what was already known to be committed.
    HighWatermarkRegressed,
    /// A log start below an earlier one.
    LogStartRegressed,
    /// A leader epoch below that of an earlier offset, or two at one offset.
    EpochRegressed,
    /// Two leaders of a partition in one leader epoch.
    TwoLeaders,
}

impl AnomalyKind {
    /// As reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InconsistentOffset => "inconsistent-offset",
            Self::Duplicate => "duplicate",
            Self::Lost => "lost",
            Self::Removed => "removed",
            Self::Unseen => "unseen",
            Self::FailedRead => "failed-read",
            Self::Phantom => "phantom",
            Self::Corrupt => "corrupt",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::GroupRegressed => "group-regressed",
            Self::GroupBeyondRead => "group-beyond-read",
            Self::GroupSkip => "group-skip",
            Self::TwoOwners => "two-owners",
            Self::HighWatermarkRegressed => "high-watermark-regressed",
            Self::LogStartRegressed => "log-start-regressed",
            Self::EpochRegressed => "epoch-regressed",
            Self::TwoLeaders => "two-leaders",
        }
    }
}

impl fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    pub kind: AnomalyKind,
    pub partition: String,
    /// In a sentence.
    pub what: String,
    /// The operations that show it, each with its line in the history.
    pub operations: Vec<String>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.partition, self.what)?;
        self.operations
            .iter()
            .try_for_each(|operation| write!(f, "\n    {operation}"))
    }
}
