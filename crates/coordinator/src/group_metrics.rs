//! What coordinators count, and the families of it.

use metrics::{Counter, Page, Source};
use std::sync::{Arc, Mutex, PoisonError};

/// What the coordinators of one shard count; it alone writes.
#[derive(Debug, Default)]
pub(crate) struct GroupStats {
    pub(crate) groups: Counter,
    pub(crate) memory_bytes: Counter,
    /// Partitions whose records are being read.
    pub(crate) loading: Counter,
    pub(crate) loads: Counter,
    pub(crate) committed_offsets: Counter,
    pub(crate) generations: Counter,
}

/// The coordinators of a node, for whoever watches it.
#[derive(Debug, Default)]
pub struct GroupMetrics {
    shards: Mutex<Vec<Arc<GroupStats>>>,
}

impl GroupMetrics {
    /// Those of a shard that starts.
    pub(crate) fn shard(&self) -> Arc<GroupStats> {
        let stats = Arc::<GroupStats>::default();
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.push(stats.clone());
        stats
    }
}

impl Source for GroupMetrics {
    fn write(&self, page: &mut Page) {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sum = |counter: fn(&GroupStats) -> &Counter| shards.iter().map(|shard| counter(shard).get()).sum::<u64>();
        page.gauge(
            "ottla_groups",
            "Consumer groups that this node coordinates.",
            sum(|shard| &shard.groups),
        );
        page.gauge(
            "ottla_group_memory_bytes",
            "Memory that the groups of this node take, with their members and committed offsets.",
            sum(|shard| &shard.memory_bytes),
        );
        page.gauge(
            "ottla_group_partitions_loading",
            "Partitions of __consumer_offsets led here whose records are still being read.",
            sum(|shard| &shard.loading),
        );
        page.counter(
            "ottla_group_partition_loads_total",
            "Partitions of __consumer_offsets that were read when this node became their leader.",
            sum(|shard| &shard.loads),
        );
        page.counter(
            "ottla_committed_offsets_total",
            "Offsets that groups committed, a partition each.",
            sum(|shard| &shard.committed_offsets),
        );
        page.counter(
            "ottla_group_generations_total",
            "Rebalances that came to their end: generations of groups that began.",
            sum(|shard| &shard.generations),
        );
    }
}
