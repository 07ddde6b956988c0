use crate::Endpoint;
use types::{DirectoryId, NodeId, RaftId};

/// A member of the Raft group, voter or learner. A node that lost its metadata directory comes back as
/// another member with another id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    pub raft_id: RaftId,
    pub node_id: NodeId,
    /// The metadata directory.
    pub directory: DirectoryId,
    /// Where its control plane is dialled.
    pub endpoint: Endpoint,
    /// An operator took its vote: it votes no more until an operator gives it back.
    pub vote_withheld: bool,
}
