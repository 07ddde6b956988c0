//! What moves a classic group, as `GroupMetadataManager` of Apache Kafka does it: one file for each half of a rebalance, and
//! one for how members come to an end.

mod departure;
mod join;
mod rebalance;
mod sync;

use crate::appends::Out;
use crate::classic_group::ClassicGroup;
use crate::config::GroupConfig;
use crate::effect::{Answer, Ticket};
use crate::now::Now;
use crate::record::Record;
use crate::request::{Joined, Synced};
use crate::timers::{Timer, Timers};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use types::ErrorCode;

/// A new member's first join is answered within this, or it is forgotten: it cannot send heartbeats before it knows its id.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// One event at one group.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a GroupConfig,
    pub(crate) group: &'a mut ClassicGroup,
    pub(crate) timers: &'a mut Timers,
    pub(crate) out: &'a mut Out,
    pub(crate) now: Now,
}

impl Turn<'_> {
    fn answer_join(&mut self, ticket: Ticket, joined: Joined) {
        self.out.answer(ticket, Answer::Joined(joined));
    }

    fn refuse_join(&mut self, ticket: Ticket, error: ErrorCode, member_id: &str) {
        self.answer_join(ticket, Joined::failed(error, member_id));
    }

    fn answer_sync(&mut self, ticket: Ticket, synced: Synced) {
        self.out.answer(ticket, Answer::Synced(synced));
    }

    /// The state of the generation, for one member.
    fn joined(&self, member_id: &str, as_leader: bool) -> Joined {
        Joined {
            error: ErrorCode::None,
            generation_id: self.group.generation,
            protocol_type: self.group.protocol_type.clone(),
            protocol_name: self.group.protocol.clone(),
            leader: self.group.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: match as_leader {
                true => self.group.joined_members(),
                false => Vec::new(),
            },
        }
    }

    fn timer_join(&self) -> Timer {
        Timer::Join {
            group_id: self.group.id.clone(),
        }
    }

    fn timer_sync(&self) -> Timer {
        Timer::Sync {
            group_id: self.group.id.clone(),
        }
    }

    fn timer_session(&self, member_id: &str) -> Timer {
        Timer::Session {
            group_id: self.group.id.clone(),
            member_id: member_id.to_owned(),
        }
    }

    fn timer_pending(&self, member_id: &str) -> Timer {
        Timer::PendingMember {
            group_id: self.group.id.clone(),
            member_id: member_id.to_owned(),
        }
    }

    /// The member was heard of.
    pub(crate) fn renew_session(&mut self, member_id: &str) {
        let Some(member) = self.group.member(member_id) else {
            return;
        };
        self.extend_session(member_id, member.session_timeout);
    }

    fn extend_session(&mut self, member_id: &str, by: Duration) {
        let expires = self.now.at.plus(by);
        let Some(member) = self.group.member_mut(member_id) else {
            return;
        };
        let earlier = expires < std::mem::replace(&mut member.expires, expires);
        let timer = self.timer_session(member_id);
        // A timer that is due too early looks again; most heartbeats move no timer.
        if earlier || !self.timers.is_set(&timer) {
            self.timers.set(timer, expires);
        }
    }

    fn group_record(&self, assignments: &BTreeMap<String, Bytes>) -> Record {
        Record::Group {
            group_id: self.group.id.clone(),
            value: Some(self.group.record(assignments)),
        }
    }
}
