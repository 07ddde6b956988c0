use crate::raft_status::RaftStatus;
use crate::type_config::TypeConfig;
use metadata::Endpoint;
use openraft::RaftMetrics;
use types::RaftId;

/// Who leads, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    pub leader: Option<(RaftId, Endpoint)>,
    pub term: u64,
    /// This node leads and its image has everything that was committed before its term.
    pub i_lead: bool,
}

impl Leadership {
    pub(crate) fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let status = RaftStatus::of(metrics);
        let running = metrics.running_state.is_ok();
        let leader = status.leader.filter(|_| running);
        let own_term_applied = metrics
            .last_applied
            .is_some_and(|id| id.leader_id.term == metrics.current_term);
        Self {
            leader: leader.and_then(|id| Some((id, status.members.get(&id)?.clone()))),
            term: status.term,
            i_lead: running && metrics.state.is_leader() && own_term_applied,
        }
    }
}
