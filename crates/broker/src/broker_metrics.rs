//! The families of the data plane.

use crate::Broker;
use crate::broker::WeakBroker;
use crate::shard_stats::ShardStats;
use controller::DataPlane;
use logstore::DirectoryStats;
use metrics::Kind::{Counter, Gauge, Histogram};
use metrics::{Page, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use types::DirectoryId;

impl Broker {
    /// Since the timer of the shard that is latest went off. Shards never wait, so more than some seconds means that one
    /// hangs.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let now = self.host().now();
        let silences = self.stats().into_iter().map(|shard| now.since(shard.last_tick()));
        silences.max().unwrap_or_default()
    }

    /// What its control plane watches of it. Does not keep the broker, which keeps the control plane.
    #[must_use]
    pub fn data_plane(&self) -> Arc<dyn DataPlane> {
        Arc::new(self.downgrade())
    }
}

impl DataPlane for WeakBroker {
    fn silence(&self) -> Duration {
        self.upgrade().map(|broker| broker.silence()).unwrap_or_default()
    }

    fn journal_sequences(&self) -> BTreeMap<DirectoryId, u64> {
        let dirs = self.upgrade().map(|broker| broker.log_dirs()).unwrap_or_default();
        let usable = dirs.into_iter().filter_map(|(_, dir)| dir);
        usable.map(|dir| (dir.id(), dir.sequence())).collect()
    }
}

impl Source for Broker {
    fn write(&self, page: &mut Page) {
        let shards = self.stats();
        let sum = |value: fn(&ShardStats) -> u64| shards.iter().map(|shard| value(shard)).sum::<u64>();
        page.counter(
            "ottla_produced_records_total",
            "Records that clients wrote to partitions led here.",
            sum(ShardStats::produced_records),
        );
        page.counter(
            "ottla_produced_bytes_total",
            "Bytes of record batches that clients wrote to partitions led here.",
            sum(ShardStats::produced_bytes),
        );
        page.counter(
            "ottla_fetched_bytes_total",
            "Bytes of record batches that were read for clients.",
            sum(|shard| shard.fetched_bytes.get()),
        );
        page.counter(
            "ottla_replication_received_bytes_total",
            "Bytes of record batches that replicas here took from their leaders.",
            sum(|shard| shard.replicated_in_bytes.get()),
        );
        page.counter(
            "ottla_replication_sent_bytes_total",
            "Bytes of record batches that leaders here sent to their followers.",
            sum(|shard| shard.replicated_out_bytes.get()),
        );
        page.counter(
            "ottla_replication_sent_frames_total",
            "Frames to followers that hold records, or how far partitions are committed.",
            sum(|shard| shard.replicated_out_frames.get()),
        );
        page.gauge(
            "ottla_replicas",
            "Replicas whose log is on this node.",
            sum(ShardStats::replicas),
        );
        page.gauge(
            "ottla_damaged_replicas",
            "Replicas here whose log is damaged below what was acknowledged: copied again, or offline if it is the only one.",
            sum(ShardStats::damaged_replicas),
        );
        let now = self.host().now();
        let mut silence = page.family(
            "ottla_shard_silence_seconds",
            Gauge,
            "Time since the shard's timer went off, which it does twice a second.",
        );
        for (index, shard) in shards.iter().enumerate() {
            let seconds = now.since(shard.last_tick()).as_secs_f64();
            silence.sample(&[("shard", &index.to_string())], seconds);
        }
        let stalled = shards.iter().map(|shard| shard.stalled_directories.get()).max();
        page.gauge(
            "ottla_stalled_log_directories",
            "Log directories in which a flush takes longer than log.flush.stall.ms.",
            stalled.unwrap_or(0),
        );
        directories(page, &self.directory_stats());
    }
}

fn directories(page: &mut Page, directories: &[DirectoryStats]) {
    let paths: Vec<String> = directories.iter().map(|dir| dir.path.display().to_string()).collect();
    let mut family = |name, help, value: fn(&DirectoryStats) -> u64| {
        let mut family = page.family(name, Gauge, help);
        for (dir, path) in directories.iter().zip(&paths) {
            family.sample(&[("directory", path)], value(dir));
        }
    };
    family(
        "ottla_log_directory_online",
        "1 until a write or sync to the directory fails; then its replicas here are offline until a restart.",
        |dir| u64::from(!dir.offline),
    );
    family(
        "ottla_log_directory_full",
        "1 while the directory takes no records because only its reserve is left.",
        |dir| u64::from(dir.full),
    );
    family(
        "ottla_log_directory_free_bytes",
        "Room on the directory's file system for data of this process, as measured last.",
        |dir| dir.free_bytes,
    );
    family(
        "ottla_log_directory_size_bytes",
        "Size of the directory's file system.",
        |dir| dir.total_bytes,
    );
    family(
        "ottla_log_directory_reserve_bytes",
        "Free space below which the directory takes no more records (log.dir.reserve.bytes).",
        |dir| dir.reserve_bytes,
    );
    family(
        "ottla_journal_bytes",
        "Used of the current file of the directory's journal.",
        |dir| dir.journal_bytes,
    );
    family(
        "ottla_journal_capacity_bytes",
        "Length of that file, at which the journal goes on in its other one.",
        |dir| dir.journal_capacity_bytes,
    );
    family(
        "ottla_journal_segments",
        "Segments whose newest records are on disk in the journal, and not yet in their own file.",
        |dir| dir.journal_uncovered,
    );
    let mut counters = |name, help, value: fn(&DirectoryStats) -> u64| {
        let mut family = page.family(name, Counter, help);
        for (dir, path) in directories.iter().zip(&paths) {
            family.sample(&[("directory", path)], value(dir));
        }
    };
    counters(
        "ottla_journal_direct_rounds_total",
        "Flushes that synced every segment themselves because the journal was nine tenths full.",
        |dir| dir.journal_direct_rounds,
    );
    counters(
        "ottla_journal_waits_total",
        "Segments whose sync acknowledgements waited for because the journal was full.",
        |dir| dir.journal_waits,
    );
    let mut flush = page.family(
        "ottla_log_flush_duration_seconds",
        Histogram,
        "Rounds of the directory's flusher: data, names and marks on disk.",
    );
    for (dir, path) in directories.iter().zip(&paths) {
        flush.histogram(&[("directory", path)], &dir.flush);
    }
}
