use super::Turn;
use crate::appends::Then;
use crate::request::GroupState;
use std::collections::BTreeMap;
use types::ErrorCode;

impl Turn<'_> {
    /// Someone came, left or changed: everyone is asked to join again, unless that is under way, in which case it may now be
    /// over.
    pub(crate) fn rebalance(&mut self) {
        match self.group.can_rebalance() {
            true => self.prepare_rebalance(),
            false => self.complete_join_if_all_are_here(),
        }
    }

    pub(super) fn prepare_rebalance(&mut self) {
        if self.group.state() == GroupState::CompletingRebalance {
            // Who waits for its assignment joins again.
            self.group.set_assignments(&BTreeMap::new());
            self.hand_out(ErrorCode::RebalanceInProgress);
        }
        self.timers.cancel(&self.timer_sync());
        let first = self.group.state() == GroupState::Empty;
        self.group.go(GroupState::PreparingRebalance, self.now.wall_ms);
        if first {
            let delay = self.config.group_initial_rebalance_delay;
            let remaining = self.group.rebalance_timeout().saturating_sub(delay);
            self.group.initial_remaining = Some(remaining);
            self.timers.set(self.timer_join(), self.now.at.plus(delay));
        } else if self.group.all_joined() {
            self.complete_join();
        } else {
            self.wait_for_joins();
        }
    }

    fn wait_for_joins(&mut self) {
        let end = self.now.at.plus(self.group.rebalance_timeout());
        self.timers.set(self.timer_join(), end);
    }

    /// An empty group waits out its delay in any case.
    pub(super) fn complete_join_if_all_are_here(&mut self) {
        let waiting = self.group.state() == GroupState::PreparingRebalance && !self.group.is_initial();
        if waiting && self.group.all_joined() {
            self.complete_join();
        }
    }

    /// The time to join is over.
    pub(crate) fn join_timer(&mut self) {
        if self.group.state() != GroupState::PreparingRebalance {
            return;
        }
        let delay = self.config.group_initial_rebalance_delay;
        match self.group.initial_remaining {
            // More members came meanwhile, and more may come.
            Some(remaining) if self.group.new_member_added && !remaining.is_zero() => {
                self.group.new_member_added = false;
                self.group.initial_remaining = Some(remaining.saturating_sub(delay));
                let next = self.now.at.plus(delay.min(remaining));
                self.timers.set(self.timer_join(), next);
            }
            _ => self.complete_join(),
        }
    }

    /// The next generation begins with those who have joined; static members that have not are waited for as long as their
    /// sessions last.
    pub(super) fn complete_join(&mut self) {
        self.timers.cancel(&self.timer_join());
        for member_id in self.group.absent_dynamic_members() {
            self.forget(&member_id);
        }
        if !self.group.elect_joined_leader() && !self.group.is_empty() {
            return self.wait_for_joins();
        }
        self.group.initial_remaining = None;
        self.group.new_member_added = false;
        self.group.next_generation(self.now.wall_ms);
        self.out.generations += 1;
        if self.group.is_empty() {
            self.group.recorded = true;
            let record = self.group_record(&BTreeMap::new());
            return self.out.append(vec![record], Then::Nothing, self.now.at);
        }
        for member_id in self.group.member_ids() {
            if let Some(ticket) = self.group.take_join(&member_id) {
                let joined = self.joined(&member_id, self.group.is_leader(&member_id));
                self.answer_join(ticket, joined);
            }
            if let Some(member) = self.group.member_mut(&member_id) {
                member.is_new = false;
            }
            self.renew_session(&member_id);
            self.group.pending_syncs.insert(member_id);
        }
        let end = self.now.at.plus(self.group.rebalance_timeout());
        self.timers.set(self.timer_sync(), end);
    }

    /// Members that have not asked for their assignment by now are gone.
    pub(crate) fn sync_timer(&mut self) {
        if !matches!(self.group.state(), GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        let silent = std::mem::take(&mut self.group.pending_syncs);
        if silent.is_empty() {
            return;
        }
        for member_id in silent {
            self.forget(&member_id);
        }
        self.prepare_rebalance();
    }
}
