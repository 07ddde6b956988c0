//! Offsets that nobody needs any more (KIP-211), as Kafka's `OffsetExpirationCondition` says.

use super::Coordinator;
use super::delete::tombstone;
use crate::appends::Then;
use crate::classic_group::ClassicGroup;
use crate::now::Now;
use crate::record::{CommittedOffset, Record};
use crate::request::GroupState;
use crate::timers::Timer;

impl Coordinator {
    /// Forgets offsets whose time is over, and groups that have nothing left.
    pub(super) fn expire(&mut self, now: Now) {
        let next = now.at.plus(self.config.offsets_retention_check_interval);
        self.timers.set(Timer::Expiry, next);
        let mut records = Vec::new();
        for group in self.groups.values() {
            self.expire_group(group, now.wall_ms, &mut records);
        }
        if !records.is_empty() {
            self.append_tombstones(records, Then::Nothing, now);
        }
    }

    fn expire_group(&self, group: &ClassicGroup, now_ms: i64, records: &mut Vec<Record>) {
        let mut left = self.offsets.keys(&group.id).len();
        for (topic, partition, committed) in self.offsets.of(&group.id) {
            if self.is_over(group, topic, committed, now_ms) {
                records.push(tombstone(&group.id, topic, partition));
                left -= 1;
            }
        }
        if left == 0 && group.recorded && group.state() == GroupState::Empty {
            records.push(Record::Group {
                group_id: group.id.clone(),
                value: None,
            });
        }
    }

    fn is_over(&self, group: &ClassicGroup, topic: &str, committed: &CommittedOffset, now_ms: i64) -> bool {
        let unused_since = match (&group.protocol_type, group.state()) {
            // It never had members.
            (None, _) => committed.commit_timestamp,
            (Some(_), GroupState::Empty) => match group.state_since_ms {
                -1 => committed.commit_timestamp,
                since => since,
            },
            (Some(_), GroupState::Stable) if group.knows_subscriptions() && !group.subscribes_to(topic) => {
                committed.commit_timestamp
            }
            _ => return false,
        };
        if committed.expire_timestamp != -1 {
            return now_ms >= committed.expire_timestamp;
        }
        let retention = i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        now_ms.saturating_sub(unused_since) >= retention
    }
}
