use crate::network::endpoint;
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
    /// Metrics change with every heartbeat: nothing here may cost more than a look.
    pub(crate) fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let running = metrics.running_state.is_ok();
        let leader = metrics.current_leader.filter(|_| running);
        let node = leader.and_then(|id| metrics.membership_config.membership().get_node(&id));
        let own_term_applied = metrics
            .last_applied
            .is_some_and(|id| id.leader_id.term == metrics.current_term);
        Self {
            leader: leader.and_then(|id| Some((RaftId(id), endpoint(&node?.addr)?))),
            term: metrics.current_term,
            i_lead: running && metrics.state.is_leader() && own_term_applied,
        }
    }
}
