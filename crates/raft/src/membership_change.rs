use crate::network::address;
use crate::raft_error::ProposeError;
use crate::raft_node::RaftNode;
use crate::raft_status::RaftStatus;
use metadata::Endpoint;
use openraft::errors::{
    ChangeMembershipError, ClientWriteError, ForwardReason, ForwardToLeader, RaftError as ApiError,
};
use openraft::type_config::async_runtime::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};
use std::collections::BTreeSet;
use types::RaftId;

/// Who belongs to the group and who leads it. Changes go one at a time.
impl RaftNode {
    /// Adds a member that gets the log but has no vote, or gives a member its new endpoint. Returns when that
    /// is committed, which is before the member has caught up: see [`RaftStatus::matched`].
    ///
    /// # Errors
    /// [`ProposeError`]; after [`ProposeError::Unknown`] repeating it is safe, as with every membership change.
    pub async fn add_learner(&self, id: RaftId, at: Endpoint) -> Result<(), ProposeError> {
        let node = BasicNode::new(address(&at));
        self.change(|status| match status.members.get(&id) {
            Some(known) if *known == at => None,
            // The receiver checks that it is the target, so a wrong endpoint cannot split the group.
            Some(_) => Some((ChangeMembers::SetNodes([(id.0, node.clone())].into()), true)),
            None => Some((ChangeMembers::AddNodes([(id.0, node.clone())].into()), true)),
        })
        .await
    }

    /// Makes exactly these members voters; they must be members. Others stay as learners.
    ///
    /// # Errors
    /// As [`Self::add_learner`].
    pub async fn change_voters(&self, voters: BTreeSet<RaftId>) -> Result<(), ProposeError> {
        if voters.is_empty() {
            return Err(ProposeError::Invalid("no voters".into()));
        }
        self.change(|status| {
            let ids: BTreeSet<u64> = voters.iter().map(|id| id.0).collect();
            (status.voters != voters || !status.settled).then_some((ChangeMembers::ReplaceAllVoters(ids), true))
        })
        .await
    }

    /// Removes a learner or voter from the group.
    ///
    /// # Errors
    /// As [`Self::add_learner`].
    pub async fn remove(&self, id: RaftId) -> Result<(), ProposeError> {
        self.change(|status| {
            if status.voters.contains(&id) {
                Some((ChangeMembers::RemoveVoters([id.0].into()), false))
            } else {
                status
                    .members
                    .contains_key(&id)
                    .then(|| (ChangeMembers::RemoveNodes([id.0].into()), false))
            }
        })
        .await
    }

    /// Hands leadership to a voter, once it has caught up, and returns when this node sees it lead.
    ///
    /// # Errors
    /// [`ProposeError::Invalid`] if it is no voter or does not catch up in time; [`ProposeError::Unknown`] if it
    /// did not take over in time.
    pub async fn transfer_leader(&self, to: RaftId) -> Result<(), ProposeError> {
        let _one = self.changing.lock().await;
        let mut metrics = self.raft.metrics();
        let ready = async {
            loop {
                self.running()?;
                let status = self.status();
                if status.leader != Some(self.id) {
                    return Err(ProposeError::NotLeader { hint: self.hint() });
                }
                if !status.voters.contains(&to) {
                    return Err(ProposeError::Invalid(format!("{to} is not a voter")));
                }
                if status
                    .matched
                    .get(&to)
                    .is_some_and(|matched| *matched >= status.last_log)
                {
                    return Ok(());
                }
                metrics.changed().await.map_err(|_| ProposeError::Shutdown)?;
            }
        };
        tokio::time::timeout(self.timings.call_timeout, ready)
            .await
            .map_err(|_| ProposeError::Invalid(format!("{to} has not caught up")))??;
        if to == self.id {
            return Ok(());
        }
        self.raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(|_| ProposeError::Shutdown)?;
        let mut metrics = self.raft.metrics();
        let taken = async {
            while self.status().leader != Some(to) {
                metrics.changed().await.map_err(|_| ProposeError::Shutdown)?;
            }
            Ok(())
        };
        tokio::time::timeout(self.timings.call_timeout, taken)
            .await
            .map_err(|_| ProposeError::Unknown)?
    }

    /// Makes the membership change that `plan` sees fit, one at a time; `None` has nothing to change.
    async fn change(
        &self,
        plan: impl Fn(&RaftStatus) -> Option<(ChangeMembers<u64, BasicNode>, bool)>,
    ) -> Result<(), ProposeError> {
        let _one = self.changing.lock().await;
        let start = self.host.now();
        loop {
            self.running()?;
            let status = self.status();
            if status.leader != Some(self.id) {
                return Err(ProposeError::NotLeader { hint: self.hint() });
            }
            let Some((members, retain)) = plan(&status) else {
                return Ok(());
            };
            let forward = match self.raft.change_membership(members, retain).await {
                Ok(done) => {
                    // The next change is planned on the status, which may be behind what was just answered.
                    let mut metrics = self.raft.metrics();
                    while metrics.borrow_watched().membership_config.log_id().as_ref() < Some(&done.log_id) {
                        if metrics.changed().await.is_err() {
                            break;
                        }
                    }
                    return Ok(());
                }
                Err(ApiError::APIError(ClientWriteError::ForwardToLeader(forward))) => forward,
                // The change before, or the own term's first entry, is not committed yet.
                Err(ApiError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
                ))) => ForwardToLeader::empty().with_reason(ForwardReason::LeaseExpired),
                Err(ApiError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                    return Err(ProposeError::Invalid(error.to_string()));
                }
                Err(_) => return Err(ProposeError::Unknown),
            };
            self.retry(start, forward).await?;
        }
    }
}
