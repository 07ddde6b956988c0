use super::Turn;
use crate::appends::Then;
use crate::effect::Ticket;
use crate::request::{GroupState, SyncGroup, Synced};
use bytes::Bytes;
use std::collections::BTreeMap;
use types::ErrorCode;

impl Turn<'_> {
    /// SyncGroup: the leader's brings the assignments, everyone's is answered with its own once they are written down.
    pub(crate) fn sync(&mut self, ticket: Ticket, request: SyncGroup) {
        if let Err(error) = self.check_sync(&request) {
            return self.answer_sync(ticket, Synced::failed(error));
        }
        match self.group.state() {
            GroupState::Empty | GroupState::Dead => {
                self.answer_sync(ticket, Synced::failed(ErrorCode::UnknownMemberId));
            }
            GroupState::PreparingRebalance => {
                self.answer_sync(ticket, Synced::failed(ErrorCode::RebalanceInProgress));
            }
            GroupState::CompletingRebalance => self.await_assignment(ticket, request),
            GroupState::Stable => {
                self.synced(&request.member_id);
                let assignment = self.assignment(&request.member_id);
                let synced = self.assigned(assignment);
                self.answer_sync(ticket, synced);
            }
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        let instance_id = request.group_instance_id.as_deref();
        self.group.check_member(&request.member_id, instance_id)?;
        if request.generation_id != self.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let other = |asked: &Option<String>, known: &Option<String>| asked.is_some() && asked != known;
        if other(&request.protocol_type, &self.group.protocol_type)
            || other(&request.protocol_name, &self.group.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn await_assignment(&mut self, ticket: Ticket, request: SyncGroup) {
        self.synced(&request.member_id);
        let waiting = self.group.member_mut(&request.member_id);
        if let Some(before) = waiting.and_then(|member| member.awaiting_sync.replace(ticket)) {
            // Its client has given up on that one.
            self.answer_sync(before, Synced::failed(ErrorCode::RebalanceInProgress));
        }
        if !self.group.is_leader(&request.member_id) {
            return;
        }
        self.group.recorded = true;
        let known = |id: &String| self.group.member(id).is_some();
        let assignments = request.assignments.into_iter().filter(|(id, _)| known(id)).collect();
        let record = self.group_record(&assignments);
        let then = Then::Assign {
            group_id: self.group.id.clone(),
            generation: self.group.generation,
            assignments,
        };
        self.out.append(vec![record], then, self.now.at);
    }

    /// The member is no longer one that has not asked for its assignment.
    fn synced(&mut self, member_id: &str) {
        if self.group.pending_syncs.remove(member_id) && self.group.pending_syncs.is_empty() {
            self.timers.cancel(&self.timer_sync());
        }
    }

    /// The leader's assignments are committed, or are not.
    pub(crate) fn assignments_written(
        &mut self,
        generation: i32,
        assignments: &BTreeMap<String, Bytes>,
        outcome: Result<(), ErrorCode>,
    ) {
        if self.group.state() != GroupState::CompletingRebalance || self.group.generation != generation {
            // Someone else has joined, and everybody waits for the next generation.
            return;
        }
        match outcome {
            Ok(()) => {
                self.group.set_assignments(assignments);
                self.hand_out(ErrorCode::None);
                self.group.go(GroupState::Stable, self.now.wall_ms);
            }
            Err(error) => {
                self.group.set_assignments(&BTreeMap::new());
                self.hand_out(error);
                self.prepare_rebalance();
            }
        }
    }

    /// Answers everyone who waits for its assignment.
    pub(super) fn hand_out(&mut self, error: ErrorCode) {
        for member_id in self.group.member_ids() {
            let waiting = self.group.member_mut(&member_id);
            let Some(ticket) = waiting.and_then(|member| member.awaiting_sync.take()) else {
                continue;
            };
            let synced = match error {
                ErrorCode::None => self.assigned(self.assignment(&member_id)),
                error => Synced::failed(error),
            };
            self.answer_sync(ticket, synced);
            self.renew_session(&member_id);
        }
    }

    fn assignment(&self, member_id: &str) -> Bytes {
        let member = self.group.member(member_id);
        member.map(|member| member.assignment.clone()).unwrap_or_default()
    }

    fn assigned(&self, assignment: Bytes) -> Synced {
        Synced {
            error: ErrorCode::None,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            assignment,
        }
    }
}
