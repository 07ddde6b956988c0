use crate::network::endpoint;
use crate::type_config::{LogId, TypeConfig};
use metadata::Endpoint;
use openraft::{RaftMetrics, ServerState};
use std::collections::{BTreeMap, BTreeSet};
use types::{LogIndex, RaftId};

/// What a node is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftState {
    Learner,
    Follower,
    Candidate,
    Leader,
    /// Shut down, or its store has failed.
    Stopped,
}

/// The group as one of its nodes sees it. Index 0 stands for "none yet" too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftStatus {
    pub id: RaftId,
    pub state: RaftState,
    pub term: u64,
    pub leader: Option<RaftId>,
    pub last_log: LogIndex,
    pub committed: LogIndex,
    pub applied: LogIndex,
    /// Last index in the newest snapshot.
    pub snapshot: Option<LogIndex>,
    /// In any configuration in force; two are while voters change.
    pub voters: BTreeSet<RaftId>,
    pub learners: BTreeSet<RaftId>,
    /// Control endpoints of voters and learners.
    pub members: BTreeMap<RaftId, Endpoint>,
    /// Up to where the log of each member is known to match the leader's, on the leader; else empty.
    pub matched: BTreeMap<RaftId, LogIndex>,
    /// The last configuration is committed and not a joint one.
    pub settled: bool,
}

fn index(id: Option<&LogId>) -> LogIndex {
    LogIndex(id.map_or(0, |id| id.index))
}

impl RaftStatus {
    pub(crate) fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let membership = metrics.membership_config.membership();
        let last_log = LogIndex(metrics.last_log_index.unwrap_or(0));
        let mut matched: BTreeMap<RaftId, LogIndex> = metrics
            .replication
            .iter()
            .flatten()
            .filter_map(|(id, matched)| Some((RaftId(*id), LogIndex(matched.as_ref()?.index))))
            .collect();
        let state = match metrics.state {
            _ if metrics.running_state.is_err() => RaftState::Stopped,
            ServerState::Learner => RaftState::Learner,
            ServerState::Follower => RaftState::Follower,
            ServerState::Candidate => RaftState::Candidate,
            ServerState::Leader => RaftState::Leader,
            ServerState::Shutdown => RaftState::Stopped,
        };
        if state == RaftState::Leader {
            matched.insert(RaftId(metrics.id), last_log);
        }
        Self {
            id: RaftId(metrics.id),
            state,
            term: metrics.current_term,
            leader: metrics.current_leader.map(RaftId),
            last_log,
            committed: index(metrics.local_committed.as_ref()),
            applied: index(metrics.last_applied.as_ref()),
            snapshot: metrics.snapshot.as_ref().map(|id| LogIndex(id.index)),
            voters: membership.voter_ids().map(RaftId).collect(),
            learners: membership.learner_ids().map(RaftId).collect(),
            members: membership
                .nodes()
                .filter_map(|(id, node)| Some((RaftId(*id), endpoint(&node.addr)?)))
                .collect(),
            matched,
            settled: membership.get_joint_config().len() <= 1
                && metrics.membership_config.log_id() == metrics.committed_membership_config.log_id(),
        }
    }
}
