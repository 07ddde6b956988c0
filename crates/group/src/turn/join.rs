use super::{NEW_MEMBER_JOIN_TIMEOUT, Turn};
use crate::appends::Then;
use crate::effect::Ticket;
use crate::member::{Member, millis};
use crate::request::{GroupState, JoinGroup, Synced};
use types::{ErrorCode, limits};

impl Turn<'_> {
    /// JoinGroup; `fresh_id` is what the coordinator calls a member that has no id yet.
    pub(crate) fn join(&mut self, ticket: Ticket, request: &JoinGroup, fresh_id: &str) {
        let is_new = request.member_id.is_empty();
        if let Err(error) = self.check_join(request) {
            if !is_new && error == ErrorCode::GroupMaxSizeReached {
                self.group.forget_pending(&request.member_id);
            }
            return self.refuse_join(ticket, error, &request.member_id);
        }
        match (&request.group_instance_id, is_new) {
            (Some(instance_id), true) => match self.group.instance(instance_id).cloned() {
                Some(old_id) => self.join_in_place_of(ticket, request, &old_id, fresh_id),
                None => self.add_and_rebalance(ticket, request, fresh_id),
            },
            (None, true) if request.requires_known_member_id => {
                self.group.add_pending(fresh_id);
                let end = self.now.at.plus(millis(request.session_timeout_ms));
                self.timers.set(self.timer_pending(fresh_id), end);
                self.refuse_join(ticket, ErrorCode::MemberIdRequired, fresh_id);
            }
            (None, true) => self.add_and_rebalance(ticket, request, fresh_id),
            (_, false) => self.join_again(ticket, request),
        }
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        if !self.has_place(request) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.group.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether the group has room: Kafka counts by `group.max.size`; ids that were given out and bytes are counted too.
    fn has_place(&self, request: &JoinGroup) -> bool {
        let (group, most) = (&self.group, self.config.group_max_size);
        let member = group.member(&request.member_id);
        let freed = member.map_or(0, Member::bytes);
        let bytes = (group.bytes() + request.bytes()).saturating_sub(freed);
        let place = match group.state() {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || group.awaiting_join() < most
            }
            GroupState::CompletingRebalance | GroupState::Stable => member.is_some() || group.len() < most,
        };
        let known = member.is_some() || group.pending_joins.contains(&request.member_id);
        place && bytes <= limits::GROUP_BYTES_MAX && (known || group.pending_joins.len() < most)
    }

    /// A member that has an id.
    fn join_again(&mut self, ticket: Ticket, request: &JoinGroup) {
        let member_id = &request.member_id;
        if self.group.pending_joins.contains(member_id) && request.group_instance_id.is_none() {
            self.timers.cancel(&self.timer_pending(member_id));
            return self.add_and_rebalance(ticket, request, member_id);
        }
        let instance_id = request.group_instance_id.as_deref();
        if let Err(error) = self.group.check_member(member_id, instance_id) {
            return self.refuse_join(ticket, error, member_id);
        }
        let same = self
            .group
            .member(member_id)
            .is_some_and(|member| member.protocols == request.protocols);
        let leads = self.group.is_leader(member_id);
        match self.group.state() {
            GroupState::PreparingRebalance => self.update_and_rebalance(ticket, request),
            // It joined before, and the answer was lost.
            GroupState::CompletingRebalance if same => {
                let joined = self.joined(member_id, leads);
                self.answer_join(ticket, joined);
            }
            GroupState::CompletingRebalance => self.update_and_rebalance(ticket, request),
            // A leader that joins again wants a rebalance: the topics that its group reads have changed.
            GroupState::Stable if leads || !same => self.update_and_rebalance(ticket, request),
            GroupState::Stable => {
                let joined = self.joined(member_id, false);
                self.answer_join(ticket, joined);
            }
            GroupState::Empty | GroupState::Dead => {
                self.refuse_join(ticket, ErrorCode::UnknownMemberId, member_id);
            }
        }
    }

    fn add_and_rebalance(&mut self, ticket: Ticket, request: &JoinGroup, member_id: &str) {
        if self.group.is_initial() {
            self.group.new_member_added = true;
        }
        let mut member = Member::new(request, member_id.to_owned());
        member.awaiting_join = Some(ticket);
        self.group.add(member, &request.protocol_type);
        self.extend_session(member_id, NEW_MEMBER_JOIN_TIMEOUT);
        self.rebalance();
    }

    fn update_and_rebalance(&mut self, ticket: Ticket, request: &JoinGroup) {
        let member_id = &request.member_id;
        self.group.update(member_id, request);
        if let Some(before) = self.group.await_join(member_id, ticket) {
            // Its client has given up on that one.
            self.refuse_join(before, ErrorCode::RebalanceInProgress, member_id);
        }
        self.rebalance();
    }

    /// A static member has come back without its id (KIP-345): it gets a new one, and its former self is fenced. If nothing
    /// about the group changes with it, there is no rebalance.
    fn join_in_place_of(&mut self, ticket: Ticket, request: &JoinGroup, old_id: &str, new_id: &str) {
        let old_leader = self.group.leader.clone().unwrap_or_default();
        self.timers.cancel(&self.timer_session(old_id));
        let Some(old) = self.group.replace(old_id, new_id) else {
            return self.refuse_join(ticket, ErrorCode::UnknownMemberId, old_id);
        };
        if let Some(waiting) = old.awaiting_join {
            self.refuse_join(waiting, ErrorCode::FencedInstanceId, old_id);
        }
        if let Some(waiting) = old.awaiting_sync {
            self.answer_sync(waiting, Synced::failed(ErrorCode::FencedInstanceId));
        }
        self.group.update(new_id, request);
        self.renew_session(new_id);
        if self.group.state() == GroupState::Stable && self.group.preferred_protocol() == self.group.protocol {
            return self.keep_place(ticket, request, new_id, old_leader);
        }
        let _ = self.group.await_join(new_id, ticket);
        match self.group.state() {
            // While assignments are made, the leader may have been told the old id.
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(),
            _ => self.complete_join_if_all_are_here(),
        }
    }

    /// The member goes on where its former self was, once its new id is written down.
    fn keep_place(&mut self, ticket: Ticket, request: &JoinGroup, member_id: &str, old_leader: String) {
        let leads = self.group.is_leader(member_id);
        let skips = request.supports_skipping_assignment;
        let mut joined = self.joined(member_id, skips && leads);
        joined.skip_assignment = skips && leads;
        if !skips {
            // An older client that is told that it leads would assign anew, so it is told of its former self.
            joined.leader = old_leader;
        }
        let record = self.group_record(&self.group.assignments());
        let then = Then::Replaced(ticket, joined);
        self.out.append(vec![record], then, self.now.at);
    }
}
