use super::Format;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A line a second on standard error, while a run lasts.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    format: Format,
    records: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Progress {
    pub fn new(format: Format) -> Self {
        Self {
            format,
            records: Arc::default(),
            bytes: Arc::default(),
        }
    }

    pub fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Never ends.
    pub async fn tell(&self) {
        let mut timer = tokio::time::interval(Duration::from_secs(1));
        timer.tick().await;
        let (mut records, mut bytes, mut seconds) = (0, 0, 0u64);
        loop {
            timer.tick().await;
            seconds += 1;
            let now = (self.records.load(Relaxed), self.bytes.load(Relaxed));
            if self.format == Format::Text {
                let (more, mb) = (now.0 - records, (now.1 - bytes) as f64 / 1e6);
                eprintln!("{seconds:>4} s: {more} records/s, {mb:.1} MB/s");
            }
            (records, bytes) = now;
        }
    }
}
