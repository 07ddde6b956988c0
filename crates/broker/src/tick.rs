//! What a shard does at each of its ticks.

use crate::partition_cell::PartitionRef;
use crate::shard::ShardRef;
use crate::{damage, isr, offline, stalls};
use types::TopicPartition;

/// Ticks between checkpoints of the high watermarks.
const CHECKPOINT_TICKS: u64 = 10;
/// Bytes of a log after which its producer states are written down again.
const SNAPSHOT_BYTES: usize = 64 * 1024 * 1024;

impl ShardRef {
    /// Every half second: lag, background flushes, stalls, and what waits for room.
    pub(crate) fn tick(&self, ticks: u64) {
        let now = self.links().host.now();
        let wall_ms = self.links().host.wall_ms();
        let checkpoints = ticks.is_multiple_of(CHECKPOINT_TICKS);
        let due = self.due(checkpoints);
        let mut damaged = 0;
        for (_, partition) in &due {
            damaged += u64::from(partition.borrow().is_damaged());
            self.guarded(partition, |partition| {
                partition.tick(now, wall_ms);
                // There is room again where a follower waited for it.
                if partition.may_resume() {
                    self.look_again();
                }
                if checkpoints && partition.checkpoint(SNAPSHOT_BYTES) {
                    partition.flush();
                }
            });
        }
        let replicas = self.replicas() as u64;
        self.links().stats.ticked(now, replicas, damaged);
        self.broker().check_storage();
        if self.index() == 0 {
            self.broker().tidy_directories();
            self.broker().measure_room();
            offline::report_failed_directories(self);
        }
        offline::make_where_there_is_room(self);
        self.leave_what_is_not_followed(&due);
        self.restate_refused();
        isr::mark_strict(self, &due);
        damage::report(self, &due);
        stalls::resign_where_flushes_stall(self, &due, now);
        for (_, partition) in &due {
            if !partition.borrow().is_at_rest() {
                self.stir(partition);
            }
        }
        if checkpoints && self.index() == 0 {
            self.broker().write_checkpoints();
        }
    }

    /// Replicas that stopped by themselves (no room, a failed directory): their leaders must not go on sending, for what
    /// nobody acknowledges fills the window of all that is on the stream.
    fn leave_what_is_not_followed(&self, partitions: &[(TopicPartition, PartitionRef)]) {
        for (tp, partition) in partitions {
            if !partition.borrow().follows() {
                self.unfollow(*tp);
            }
        }
    }

    pub(crate) fn enforce_retention(&self) {
        for (tp, _) in self.partitions() {
            self.with(tp, |partition| partition.enforce_retention());
        }
    }
}
