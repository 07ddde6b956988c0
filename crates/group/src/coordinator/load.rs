//! From the log to the state.

use super::Coordinator;
use crate::classic_group::ClassicGroup;
use crate::now::Now;
use crate::record::{CommittedOffset, Record};
use crate::timers::Timer;

impl Coordinator {
    /// A committed record of the log, in its order; before [`Coordinator::loaded`].
    pub fn replay(&mut self, record: Record, now: Now) {
        match record {
            Record::Offset {
                group_id,
                topic,
                partition,
                value,
            } => self.apply_offset(&group_id, &topic, partition, value, now.wall_ms),
            Record::Group {
                group_id,
                value: Some(value),
            } => {
                let group = ClassicGroup::loaded(&group_id, value);
                self.held += group.bytes();
                if let Some(before) = self.groups.insert(group_id, group) {
                    self.held = self.held.saturating_sub(before.bytes());
                }
            }
            Record::Group { group_id, value: None } => {
                if let Some(before) = self.groups.remove(&group_id) {
                    self.held = self.held.saturating_sub(before.bytes());
                }
                if self.offsets.has(&group_id) {
                    self.group(&group_id, now.wall_ms);
                }
            }
        }
        self.account();
    }

    /// The whole log was read: members' sessions begin.
    pub fn loaded(&mut self, now: Now) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for group_id in ids {
            self.turn(&group_id, now, |turn| {
                for member_id in turn.group.member_ids() {
                    turn.renew_session(&member_id);
                }
            });
        }
        let first = now.at.plus(self.config.offsets_retention_check_interval);
        self.timers.set(Timer::Expiry, first);
    }

    pub(super) fn apply_offset(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        value: Option<CommittedOffset>,
        now_ms: i64,
    ) {
        self.offsets.apply(group_id, topic, partition, value);
        match self.offsets.has(group_id) {
            true => {
                self.group(group_id, now_ms);
            }
            false => self.forget_if_unused(group_id),
        }
    }
}
