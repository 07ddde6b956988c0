//! The loads of `ottla bench` by librdkafka. It blocks and polls, so they run on threads, and the runtime only tells how far
//! they are.
//!
//! Properties that a load does not set are librdkafka's defaults, since that is what its users have; `--help` lists those
//! that are set.

mod consume;
mod deliveries;
mod latency;
mod produce;
mod producer;
mod reader;
mod round_robin;

use super::latency::Latency;
use super::produce::Produce;
use super::progress::Progress;
use super::report::Report;
use super::target::Leaders;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// For how long a poll waits, where nothing comes: so late is a stop noticed.
const POLL: Duration = Duration::from_millis(100);
/// A thread that sleeps less is late anyway: records that are due sooner are sent together.
const SLEEP_MIN: Duration = Duration::from_micros(200);

/// Offsets by partition.
type Positions = BTreeMap<i32, i64>;

/// What a topic holds: from `starts` up to `ends`, which are not part of it.
pub(super) struct Span {
    pub starts: Positions,
    pub ends: Positions,
}

pub(super) async fn produce(
    load: Produce,
    bootstrap: &str,
    leaders: Leaders,
    ends: Positions,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (bootstrap, counted) = (bootstrap.to_owned(), progress.clone());
    telling(progress, move || {
        produce::run(&load, &bootstrap, &leaders, &ends, &counted)
    })
    .await
}

pub(super) async fn latency(
    load: Latency,
    bootstrap: &str,
    ends: Positions,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (bootstrap, counted) = (bootstrap.to_owned(), progress.clone());
    telling(progress, move || latency::run(&load, &bootstrap, &ends, &counted)).await
}

pub(super) async fn consume(
    consumers: u32,
    bootstrap: &str,
    topic: String,
    span: Span,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (bootstrap, counted) = (bootstrap.to_owned(), progress.clone());
    telling(progress, move || {
        consume::run(consumers, &bootstrap, &topic, &span, &counted)
    })
    .await
}

async fn telling(
    progress: Progress,
    load: impl FnOnce() -> anyhow::Result<Report> + Send + 'static,
) -> anyhow::Result<Report> {
    let told = tokio::task::spawn_local(async move { progress.tell().await });
    let report = tokio::task::spawn_blocking(load).await;
    told.abort();
    let client = format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1);
    Ok(Report { client, ..report?? })
}

/// Calls `send` with each time that something is due, as soon as it is, until `send` ends it or `until` is reached.
fn pace(first: Instant, interval: Duration, until: Instant, mut send: impl FnMut(Instant) -> ControlFlow<()>) {
    let mut due = first;
    while due < until {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left.max(SLEEP_MIN));
        }
        if send(due).is_break() {
            return;
        }
        due += interval;
    }
}
