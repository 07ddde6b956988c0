use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run says.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub what: &'static str,
    /// Who wrote and read: "bare", or librdkafka with its version.
    pub client: String,
    /// Length of the part that was measured.
    pub seconds: f64,
    pub records: u64,
    /// Of record batches; of values only where the client is librdkafka or the run `latency`.
    pub bytes: u64,
    pub records_per_second: f64,
    pub mb_per_second: f64,
    /// Answers with an error, connections that broke, and librdkafka's reports of failure: how many of each.
    pub errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Read at the tail meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_mb_per_second: Option<f64>,
    /// Of `failover`, by partition; its latency is of those whose leader is another one afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
}

/// The longest time in which a partition acknowledged nothing.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Pause {
    pub partition: i32,
    /// Node ids; −1: none.
    pub leader_before: i32,
    pub leader_after: i32,
    pub ms: f64,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Times, from a microsecond to a minute, within a thousandth.
#[derive(Debug)]
pub(super) struct Times(Option<Histogram<u64>>);

impl Times {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).ok())
    }

    pub fn add(&mut self, took: Duration) {
        if let Some(times) = &mut self.0 {
            times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }

    #[cfg(feature = "librdkafka")]
    pub fn join(&mut self, more: &Self) {
        if let (Some(times), Some(more)) = (&mut self.0, &more.0) {
            // Both have the same bounds.
            let _ = times.add(more);
        }
    }

    pub fn latency(&self) -> Option<Latency> {
        let times = self.0.as_ref().filter(|times| !times.is_empty())?;
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        Some(Latency {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: times.max() as f64 / 1000.0,
        })
    }
}

impl Report {
    pub fn new(what: &'static str, records: u64, bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
        Self {
            what,
            client: "bare".to_owned(),
            seconds,
            records,
            bytes,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes as f64 / seconds / 1e6,
            ..Self::default()
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} ({}): {} records in {:.1} s: {:.0} records/s, {:.1} MB/s\n",
            self.what, self.client, self.records, self.seconds, self.records_per_second, self.mb_per_second
        );
        if let Some(read) = self.read_mb_per_second {
            text += &format!("read at the tail: {read:.1} MB/s\n");
        }
        for pause in &self.pauses {
            text += &format!(
                "partition {}: nothing was acknowledged for {:.0} ms; leader {} before, {} now\n",
                pause.partition, pause.ms, pause.leader_before, pause.leader_after
            );
        }
        if let Some(latency) = self.latency {
            let what = if self.pauses.is_empty() {
                "latency"
            } else {
                "pauses of partitions whose leader changed,"
            };
            text += &format!(
                "{what} in ms: p50 {:.3}, p90 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}\n",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            );
        }
        for (error, count) in &self.errors {
            text += &format!("{count} failures: {error}\n");
        }
        text
    }
}
