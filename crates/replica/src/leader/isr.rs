//! Who should be in the ISR, and the proposals that ask the controller for it.

use super::Leader;
use crate::follower_progress::FollowerProgress;
use crate::{Action, ProposalId};
use std::collections::BTreeSet;
use types::{Broken, Monotonic, NodeId, Offset, broken};

/// The high watermark waits for who joins for this part of `lag_max`.
const JOIN_WAITS_PER_LAG: u32 = 10;

/// Proposals of one leader that are not settled. At most one is in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct Proposals {
    last: u64,
    pending: Option<(ProposalId, BTreeSet<NodeId>)>,
    /// Members of proposals of unknown outcome. At most one of these proposals can be committed, since all
    /// name the same partition epoch; which, only a newer partition epoch tells.
    unknown: BTreeSet<NodeId>,
    /// No proposal before the next tick or image.
    held: bool,
}

impl Proposals {
    /// Everyone who is a member if some unsettled proposal is committed.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.pending
            .iter()
            .flat_map(|(_, isr)| isr)
            .chain(&self.unknown)
            .copied()
    }

    /// Removes the pending proposal if it is this one.
    pub fn take(&mut self, proposal: ProposalId) -> Option<BTreeSet<NodeId>> {
        self.pending.take_if(|(id, _)| *id == proposal).map(|(_, isr)| isr)
    }

    /// ◆ It may or may not be committed: its members hold the high watermark back until that is known.
    pub fn keep_as_unknown(&mut self, proposal: ProposalId) {
        if let Some(isr) = self.take(proposal) {
            self.unknown.extend(isr);
        }
    }

    /// A newer partition epoch: whatever was proposed for the old one is committed in it or never.
    pub fn settle_all(&mut self) {
        self.pending = None;
        self.unknown.clear();
    }

    pub fn hold(&mut self) {
        self.held = true;
    }

    pub fn release(&mut self) {
        self.held = false;
    }

    /// Nothing was asked of the controller that is not answered, and nothing waits to be asked.
    pub fn are_settled(&self) -> bool {
        self.pending.is_none() && self.unknown.is_empty() && !self.held
    }

    fn may_propose(&self) -> bool {
        self.pending.is_none() && !self.held
    }

    fn outcome_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    fn start(&mut self, isr: BTreeSet<NodeId>) -> ProposalId {
        assert!(self.pending.is_none(), "one ISR proposal at a time");
        self.last += 1;
        let proposal = ProposalId(self.last);
        self.pending = Some((proposal, isr));
        proposal
    }
}

impl Leader {
    /// Whether a proposal is possible, and would name somebody new or settle an earlier one. Asked at every
    /// acknowledgement, so it comes before any set is made.
    pub(super) fn proposal_due(&self) -> bool {
        let outside = |node: &&NodeId| !self.view.isr.contains(node);
        let somebody_waits = || {
            let mut outside = self.view.replicas.iter().filter(outside);
            outside.any(|node| self.may_join(*node))
        };
        self.proposals.may_propose() && (self.proposals.outcome_unknown() || somebody_waits())
    }

    /// The committed ISR and everybody worthy of joining it.
    pub(super) fn joined(&self) -> BTreeSet<NodeId> {
        let mut target: BTreeSet<NodeId> = self.view.isr.iter().copied().collect();
        target.insert(self.me);
        target.extend(self.view.replicas.iter().copied().filter(|node| self.may_join(*node)));
        target
    }

    /// ◆ `acked` ≥ HW, or committed records would be missing on a member; its log starts where ours does or later, or what
    /// DeleteRecords acknowledged while it was away would come back with it; and see [`Self::acked_if_eligible`].
    fn may_join(&self, node: NodeId) -> bool {
        let Some(follower) = self.followers.get(&node) else {
            return false;
        };
        let acked = self.acked_if_eligible(follower);
        let has = acked.is_some_and(|acked| acked >= self.bounds.high_watermark || broken(Broken::JoinBehind));
        let starts = follower.positions.map(|positions| positions.log_start);
        has && (starts >= Some(self.bounds.log_start) || broken(Broken::JoinUndeleted))
    }

    /// ◆ `acked`, if that is ≥ the epoch's start, or the follower could hold records that this epoch does not have
    /// (KIP-279); unfenced (KIP-841); and the broker that acknowledged must be the one that is registered now (KIP-903),
    /// its stream standing.
    fn acked_if_eligible(&self, follower: &FollowerProgress) -> Option<Offset> {
        let registered = self.view.unfenced(follower.node);
        let alive = registered.is_some() && registered == follower.stream.map(|(broker_epoch, _)| broker_epoch);
        let speaks = follower.connected && (alive || broken(Broken::JoinInAnEarlierLife));
        let has = |acked: &Offset| *acked >= self.epoch_start || broken(Broken::JoinBehind);
        follower
            .acked(self.view.durability)
            .filter(|acked| speaks && has(acked))
    }

    /// What a follower outside the ISR has acknowledged, if the high watermark waits for it so that it can join.
    ///
    /// A strict follower whose disk takes longer for a sync than the next records take to come is always a step behind a
    /// high watermark that moves without it, and would never be proposed, though as a member it would not be dropped. Who
    /// keeps up but for that step is waited for; who does not come up to the mark within a tenth of `lag_max` is not, nor who
    /// was refused. (Kafka's followers acknowledge from memory and are at the mark with every fetch.)
    pub(super) fn acked_by_joining(&self, follower: &FollowerProgress, now: Monotonic) -> Option<Offset> {
        let keeps_up = follower
            .keeps_up_at
            .is_some_and(|at| now.since(at) <= self.lag_max / JOIN_WAITS_PER_LAG);
        let waited_for = keeps_up && !self.proposals.held && !self.view.isr.contains(&follower.node);
        self.acked_if_eligible(follower).filter(|_| waited_for)
    }

    /// Members of the committed ISR that have not been caught up for `lag_max`.
    pub(super) fn lagging(&self, now: Monotonic) -> Vec<NodeId> {
        let lags = |node: &NodeId| {
            self.followers.get(node).is_some_and(|follower| {
                let behind = follower
                    .acked(self.view.durability)
                    .is_none_or(|acked| acked < self.bounds.log_end);
                behind && now.since(follower.caught_up_at) > self.lag_max
            })
        };
        self.view.isr.iter().copied().filter(lags).collect()
    }

    /// ◆ Proposes `target`, unless a proposal is pending or it is what is committed and nothing is unknown.
    ///
    /// While an outcome is unknown, what is committed is proposed too: a proposal that is taken raises the
    /// partition epoch even if it changes nothing, and with it every earlier one is committed or never will be.
    /// Otherwise a member that was proposed and then died would hold HW back until it returns.
    pub(super) fn propose(&mut self, target: &BTreeSet<NodeId>) -> Option<Action> {
        let committed: BTreeSet<NodeId> = self.view.isr.iter().copied().collect();
        let needless = *target == committed && !self.proposals.outcome_unknown();
        if needless || !self.proposals.may_propose() {
            return None;
        }
        // Members keep the broker epoch of the image: a joining one was checked to speak under it.
        let isr = target
            .iter()
            .map(|node| {
                (
                    *node,
                    self.view.brokers.get(node).map(|(epoch, _)| *epoch).unwrap_or_default(),
                )
            })
            .collect();
        let proposal = self.proposals.start(target.clone());
        Some(Action::ProposeIsr {
            proposal,
            isr,
            leader_epoch: self.view.leader_epoch,
            partition_epoch: self.view.partition_epoch,
        })
    }
}
