use super::errand::Cut;
use super::{Partition, Role};
use crate::links::mark_all;
use logstore::{Rot, RotFound, ScrubJob, Scrubbed};
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, Monotonic, Offset, PartitionEpoch, TopicPartition};

/// Where nobody else could lead, the controller is asked again this often.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Damage in this replica's log below its durable mark.
pub(super) struct Damage {
    offset: Offset,
    /// The last in which this replica had it in its log. ◆ That is thrown away in a later one only: until then the leader
    /// counts what was acknowledged from it.
    leader_epoch: LeaderEpoch,
    noticed: Monotonic,
    stage: Stage,
    /// When the controller was asked last, and about which state of the partition.
    asked: Option<(PartitionEpoch, Monotonic)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The controller is to take this replica out of ISR and ELR.
    Found,
    /// It does not, for nobody else could lead.
    OnlyCopy,
    /// The log was emptied and comes again from the leader.
    Copying,
}

impl Partition {
    /// Whether the log is damaged below its durable mark and not yet whole again.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_some() || self.log.as_ref().is_some_and(|log| log.corrupt_at().is_some())
    }

    /// A read met damage. Nothing of it was sent; whether the log is damaged or its index only is found out on a pool.
    pub fn suspect(&mut self, rot: &Rot) {
        if self.damage.is_some() || self.suspected.is_some() {
            return;
        }
        tracing::warn!(topic = self.topic, partition = self.tp.partition, %rot, "a read met damage: nothing of it is sent, looking closer");
        self.suspected = Some(rot.offset);
        self.links.suspect(self.tp);
    }

    /// What there is to look at closer.
    pub fn inspection(&self) -> Option<ScrubJob> {
        self.log.as_ref()?.inspect(self.suspected?)
    }

    /// The next part of the slow scrub, if one is due.
    pub fn next_scrub(&self, now_ms: i64, interval_ms: i64, bytes_max: u64) -> Option<ScrubJob> {
        let log = self.log.as_ref().filter(|_| self.damage.is_none())?;
        log.next_scrub(now_ms, interval_ms, bytes_max)
    }

    /// A part of the log was looked at.
    pub fn scrubbed(&mut self, done: Scrubbed, now: Monotonic) {
        // Away on an errand, which may be to throw it away: whatever it was is found again.
        let suspected = self.suspected.take();
        let Some(log) = self.log.as_mut() else { return };
        match log.finish_scrub(done) {
            Some(found) => self.damaged(&found, now),
            // The index was bad, and was made anew: followers wait for what could not be read.
            None if suspected.is_some() => mark_all(self.streams.values(), self.tp),
            None => {}
        }
    }

    /// The looking itself failed.
    pub fn not_scrubbed(&mut self) {
        self.suspected = None;
    }

    fn damaged(&mut self, found: &RotFound, now: Monotonic) {
        if self.damage.is_some() {
            return;
        }
        self.damage = Some(Damage {
            offset: found.rot.offset,
            leader_epoch: self.view.leader_epoch,
            noticed: now,
            stage: Stage::Found,
            asked: None,
        });
        tracing::error!(topic = self.topic, partition = self.tp.partition, rot = %found.rot, leads = matches!(self.role, Role::Leader(_)),
            unnoticed_ms = unnoticed_ms(found, self.links.host.wall_ms()),
            "the log is damaged on disk: nothing of the damaged batch is sent. If another replica can lead, this one leaves the ISR and is copied again by itself; check the disk");
    }

    /// What to report to the controller, once for each state of the partition and every now and then.
    pub fn take_report(&mut self, now: Monotonic) -> Option<(TopicPartition, LeaderEpoch)> {
        let (tp, view) = (self.tp, &self.view);
        let damage = self.damage.as_mut().filter(|damage| damage.stage != Stage::Copying)?;
        let state = view.partition_epoch;
        if damage
            .asked
            .is_some_and(|(asked, at)| asked == state && now.since(at) < ASK_AGAIN)
        {
            return None;
        }
        damage.asked = Some((state, now));
        Some((tp, view.leader_epoch))
    }

    /// The controller's answer.
    pub fn reported(&mut self, code: ErrorCode) {
        let Some(damage) = self.damage.as_mut() else { return };
        match code {
            // The image tells.
            ErrorCode::None => {}
            ErrorCode::EligibleLeadersNotAvailable if damage.stage == Stage::Found => {
                damage.stage = Stage::OnlyCopy;
                tracing::error!(topic = self.topic, partition = self.tp.partition, offset = %damage.offset,
                    "no other replica could lead: this damaged one stays and serves what is good in it; reads of the damaged batch fail. It is copied again as soon as another replica in the ISR or ELR is back. If there is none, restore the batch from a backup, or delete the records up to it");
            }
            ErrorCode::EligibleLeadersNotAvailable => {}
            code => {
                tracing::debug!(
                    topic = self.topic,
                    partition = self.tp.partition,
                    ?code,
                    "the controller did not take the report of damage: again later"
                );
                damage.asked = None;
            }
        }
    }

    /// ◆ Empties a damaged log, but only out of ISR and ELR, and in a leader epoch in which nobody has heard of it: as a
    /// member it would be elected, or counted, for what it no longer has. Whether that must wait, and following with it.
    pub(super) fn start_over_if_damaged(&mut self) -> bool {
        let me = self.links.node_id;
        let out = !self.view.isr.contains(&me) && !self.view.elr.contains(&me);
        let Some((damage, log)) = self.damage.as_mut().zip(self.log.as_ref()) else {
            return false;
        };
        if out && damage.stage != Stage::Copying && self.view.leader_epoch > damage.leader_epoch {
            if self.moving_log_start {
                // The shard looks at the image again when that is done.
                return true;
            }
            damage.stage = Stage::Copying;
            tracing::warn!(topic = self.topic, partition = self.tp.partition, leader_epoch = %self.view.leader_epoch,
                "out of the ISR: the damaged log is emptied and copied again from the leader");
            let start = log.log_start_offset();
            self.send_away(Cut::StartOver(start));
        } else {
            damage.leader_epoch = damage.leader_epoch.max(self.view.leader_epoch);
        }
        false
    }

    /// Recovery found damage, and the registration took the replica out: its log is copied again.
    pub(super) fn copies_again(&mut self, now: Monotonic) {
        self.damage = Some(Damage {
            offset: self.bounds.log_end,
            leader_epoch: self.view.leader_epoch,
            noticed: now,
            stage: Stage::Copying,
            asked: None,
        });
    }

    /// A replica that was copied again is whole once it is back in the ISR.
    pub(super) fn note_whole(&mut self, now: Monotonic) {
        let whole = |damage: &mut Damage| damage.stage == Stage::Copying && self.view.isr.contains(&self.links.node_id);
        if let Some(damage) = self.damage.take_if(whole) {
            tracing::info!(topic = self.topic, partition = self.tp.partition, offset = %damage.offset,
                after_ms = u64::try_from(now.since(damage.noticed).as_millis()).unwrap_or(u64::MAX),
                "the damaged replica was copied again and is whole: it is back in the ISR");
        }
    }
}

/// Since the place was last known to be good; −1: not known.
pub(crate) fn unnoticed_ms(found: &RotFound, now_ms: i64) -> i64 {
    found.good_at_ms.map_or(-1, |good| now_ms.saturating_sub(good).max(0))
}
