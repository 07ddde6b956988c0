use metadata::Endpoint;
use types::RaftId;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaftError {
    #[error("configuration: {0}")]
    Config(String),
    /// The store cannot be read or written, or Raft has stopped.
    #[error("{0}")]
    Fatal(String),
    /// The node has a log already and is not the only voter of its cluster.
    #[error("not a fresh node: {0}")]
    NotFresh(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was done; ask there.
    #[error("not the leader")]
    NotLeader { hint: Option<(RaftId, Endpoint)> },
    /// Nothing was done: the image has changed since `base`.
    #[error("planned on an image that has changed since")]
    Stale,
    /// It may be committed, or may still be.
    #[error("the outcome is unknown")]
    Unknown,
    /// Nothing was done: it does not fit.
    #[error("{0}")]
    Invalid(String),
    /// Nothing was done: the node has stopped.
    #[error("shut down")]
    Shutdown,
}
