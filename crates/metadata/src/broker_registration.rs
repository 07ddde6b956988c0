use std::fmt;
use types::{BrokerEpoch, DirectoryId, NodeId, RaftId};

/// A host name and port, resolved at every dial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What recovery found in a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum DirectoryOutcome {
    /// Nothing is missing below the durable marks, but in replicas that are named one by one.
    #[default]
    Intact,
    /// Anything may be missing: the directory is an old copy, or too much of it is damaged to be named.
    Missing,
    /// Recovery failed, or a write or sync since: the directory is offline.
    Failed,
}

/// A log directory as a starting broker reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DirectoryReport {
    pub id: DirectoryId,
    pub outcome: DirectoryOutcome,
    /// Whether the last run ended cleanly: all that was in memory is on disk.
    pub clean: bool,
}

impl DirectoryReport {
    /// Whether replicas can live in it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.outcome != DirectoryOutcome::Failed
    }
}

/// A broker as it registered (KIP-631). Fenced until it has applied its own registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerRegistration {
    pub node_id: NodeId,
    /// Log index of the registration's record. 0 in a record: filled in when that is applied.
    pub broker_epoch: BrokerEpoch,
    /// One start of the broker's process.
    pub incarnation: u128,
    pub raft_id: RaftId,
    pub rack: Option<String>,
    /// Where Kafka clients are told to connect.
    pub kafka: Endpoint,
    /// Where other brokers open replica streams.
    pub replica: Endpoint,
    pub control: Endpoint,
    pub shards: u16,
    pub directories: Vec<DirectoryReport>,
    pub fenced: bool,
    /// In controlled shutdown: leads nothing more and joins no ISR.
    pub shutting_down: bool,
    /// Fenced because nothing was heard of it: no reset tells its clients, who wait for it until they ask somebody else.
    pub silent: bool,
}

impl BrokerRegistration {
    /// Whether the broker may lead a partition and join an ISR (KIP-841).
    #[must_use]
    pub fn may_lead(&self) -> bool {
        !self.fenced && !self.shutting_down
    }
}
