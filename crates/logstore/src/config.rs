/// What a topic's configuration means for its segments. Names and defaults are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `segment.ms`: a segment rolls when it spans more, by the timestamps of its batches.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most so much is taken off `segment.ms`, another amount for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment rolls when one of its indexes would be larger.
    pub segment_index_bytes: u32,
    /// `cleanup.policy` contains `delete`: `retention.*` apply.
    pub delete: bool,
    /// `retention.ms`; negative: for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative: any size.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: removed files stay so long under another name.
    pub file_delete_delay_ms: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 3600 * 1000;
        Self {
            segment_bytes: 1 << 30,
            index_interval_bytes: 4096,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            delete: true,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
        }
    }
}
