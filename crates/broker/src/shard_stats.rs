use metrics::Counter;
use types::Monotonic;

/// What one shard counts; it alone writes.
#[derive(Debug, Default)]
pub(crate) struct ShardStats {
    produced_records: Counter,
    produced_bytes: Counter,
    /// Read for clients, as the log has them.
    pub fetched_bytes: Counter,
    /// Appended as a follower.
    pub replicated_in_bytes: Counter,
    /// Sent to followers.
    pub replicated_out_bytes: Counter,
    /// Frames to followers that hold records, or how far partitions are committed.
    pub replicated_out_frames: Counter,
    replicas: Counter,
    damaged_replicas: Counter,
    pub stalled_directories: Counter,
    /// Microseconds since the host's start.
    last_tick: Counter,
}

impl ShardStats {
    /// Appended to logs that this shard leads.
    pub fn produced(&self, records: i64, bytes: usize) {
        self.produced_records.add(u64::try_from(records).unwrap_or(0));
        self.produced_bytes.add(bytes as u64);
    }

    /// The shard's timer went off, with so many replicas here.
    pub fn ticked(&self, now: Monotonic, replicas: u64, damaged: u64) {
        self.last_tick.set(u64::try_from(now.0.as_micros()).unwrap_or(u64::MAX));
        self.replicas.set(replicas);
        self.damaged_replicas.set(damaged);
    }

    pub fn produced_records(&self) -> u64 {
        self.produced_records.get()
    }

    pub fn produced_bytes(&self) -> u64 {
        self.produced_bytes.get()
    }

    pub fn replicas(&self) -> u64 {
        self.replicas.get()
    }

    pub fn damaged_replicas(&self) -> u64 {
        self.damaged_replicas.get()
    }

    pub fn last_tick(&self) -> Monotonic {
        Monotonic(std::time::Duration::from_micros(self.last_tick.get()))
    }
}
