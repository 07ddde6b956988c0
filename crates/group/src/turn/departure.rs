use super::Turn;
use crate::request::{GroupState, Heartbeat, LeavingMember, Synced};
use types::ErrorCode;

impl Turn<'_> {
    /// Heartbeat.
    pub(crate) fn heartbeat(&mut self, request: &Heartbeat) -> ErrorCode {
        let instance_id = request.group_instance_id.as_deref();
        if let Err(error) = self.group.check_member(&request.member_id, instance_id) {
            return error;
        }
        if request.generation_id != self.group.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.group.state() {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                self.renew_session(&request.member_id);
                ErrorCode::RebalanceInProgress
            }
            // Members may have been told of a generation before its assignments are there.
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.renew_session(&request.member_id);
                ErrorCode::None
            }
        }
    }

    /// LeaveGroup: an answer for each member.
    pub(crate) fn leave(&mut self, members: &[LeavingMember]) -> Vec<ErrorCode> {
        let before = self.group.len();
        let answers = members.iter().map(|member| self.leave_one(member)).collect();
        if self.group.len() < before {
            self.rebalance();
        }
        answers
    }

    fn leave_one(&mut self, leaving: &LeavingMember) -> ErrorCode {
        let instance_id = leaving.group_instance_id.as_deref();
        if self.group.forget_pending(&leaving.member_id) {
            self.timers.cancel(&self.timer_pending(&leaving.member_id));
            self.complete_join_if_all_are_here();
            return ErrorCode::None;
        }
        // An operator removes a static member by the name of its instance alone.
        let by_instance = instance_id.filter(|_| leaving.member_id.is_empty());
        let member_id = match by_instance {
            Some(instance_id) => self.group.instance(instance_id).cloned().unwrap_or_default(),
            None => leaving.member_id.clone(),
        };
        if let Err(error) = self.group.check_member(&member_id, instance_id) {
            return error;
        }
        self.forget(&member_id);
        ErrorCode::None
    }

    /// The member's session may be over.
    pub(crate) fn session_timer(&mut self, member_id: &str) {
        let Some(member) = self.group.member(member_id) else {
            return;
        };
        let waits = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
        if member.expires > self.now.at {
            let (timer, expires) = (self.timer_session(member_id), member.expires);
            return self.timers.set(timer, expires);
        }
        // Who waits for an answer of ours cannot speak; its session goes on with the answer.
        if waits && !member.is_new {
            return;
        }
        self.forget(member_id);
        self.rebalance();
    }

    /// A member that was given an id has not come back with it.
    pub(crate) fn pending_timer(&mut self, member_id: &str) {
        if self.group.forget_pending(member_id) {
            self.complete_join_if_all_are_here();
        }
    }

    /// Removes a member. What it waits for is answered; its client joins again if it still lives.
    pub(super) fn forget(&mut self, member_id: &str) {
        self.timers.cancel(&self.timer_session(member_id));
        let Some(member) = self.group.remove(member_id) else {
            return;
        };
        if let Some(ticket) = member.awaiting_join {
            self.refuse_join(ticket, ErrorCode::UnknownMemberId, member_id);
        }
        if let Some(ticket) = member.awaiting_sync {
            self.answer_sync(ticket, Synced::failed(ErrorCode::UnknownMemberId));
        }
    }
}
