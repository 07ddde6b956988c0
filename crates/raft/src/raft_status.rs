use std::collections::{BTreeMap, BTreeSet};
use types::{LogIndex, RaftId};

/// What a member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftState {
    Learner,
    Follower,
    Candidate,
    Leader,
    Shutdown,
}

/// The Raft group as one member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    pub id: RaftId,
    pub state: RaftState,
    pub term: u64,
    pub leader: Option<RaftId>,
    pub last_log: LogIndex,
    pub committed: LogIndex,
    pub applied: LogIndex,
    pub snapshot: LogIndex,
    pub voters: BTreeSet<RaftId>,
    pub learners: BTreeSet<RaftId>,
    /// How far each member's log is known to agree; on the leader only.
    pub matched: BTreeMap<RaftId, LogIndex>,
}
