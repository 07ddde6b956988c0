//! Damage on disk: what reads met is looked at closer, everything is read again slowly, and the controller is told.

use crate::partition_cell::PartitionRef;
use crate::shard::ShardRef;
use futures::future::LocalBoxFuture;
use host::PoolExt;
use logstore::{Rot, ScrubJob};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{TopicPartition, limits};

/// Pause when nothing is due, at most.
const IDLE: Duration = Duration::from_secs(10);

/// How the logs of a directory are scrubbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScrubSettings {
    /// `log.scrub.bytes.per.second` of each directory; 0: not at all.
    pub bytes_per_second: u64,
    /// `log.scrub.interval.ms`: from the beginning of one pass over a log to that of the next.
    pub interval_ms: i64,
}

impl ScrubSettings {
    pub fn of(properties: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| properties.get(name).and_then(|text| text.parse::<i64>().ok());
        let rate = number("log.scrub.bytes.per.second").and_then(|rate| u64::try_from(rate).ok());
        Self {
            bytes_per_second: rate.unwrap_or(limits::SCRUB_BYTES_PER_SECOND),
            interval_ms: number("log.scrub.interval.ms").unwrap_or(limits::SCRUB_INTERVAL_MS),
        }
    }
}

impl ShardRef {
    /// Tells the owner of `tp` that a read met damage.
    pub(crate) fn suspect(&self, tp: TopicPartition, rot: Rot) {
        self.call(
            tp.shard(self.shards()),
            Box::new(move |shard| {
                shard.with(tp, |partition| partition.suspect(&rot));
            }),
        );
    }
}

/// Looks closer at what reads met.
pub(crate) async fn inspect(shard: ShardRef) {
    loop {
        for tp in shard.links().take_suspects() {
            let job = shard
                .partition(tp)
                .and_then(|partition| partition.borrow().inspection());
            match job {
                Some(job) => {
                    look(&shard, tp, job).await;
                }
                None => {
                    shard.with(tp, |partition| partition.not_scrubbed());
                }
            }
        }
        shard.links().suspected.notified().await;
    }
}

/// Runs a job on a pool; answers the bytes that it read.
async fn look(shard: &ShardRef, tp: TopicPartition, job: ScrubJob) -> u64 {
    let done = shard.broker().scrub_pool().run(move || job.run()).await;
    match done.and_then(|done| done) {
        Ok(done) => {
            let (bytes, now) = (done.bytes_read, shard.links().host.now());
            shard.with(tp, |partition| partition.scrubbed(done, now));
            bytes
        }
        Err(error) => {
            tracing::warn!(topic_id = %tp.topic, partition = tp.partition, %error, "a log cannot be looked at: again later");
            shard.with(tp, |partition| partition.not_scrubbed());
            0
        }
    }
}

/// The slow scrub of this shard's logs. Each shard takes its part of a directory's rate, so that all together keep to it.
pub(crate) async fn scrub(shard: ShardRef) {
    let settings = shard.broker().scrub_settings();
    let rate = match settings.bytes_per_second {
        0 => return,
        rate => (rate / u64::from(shard.shards().max(1))).max(1),
    };
    let idle =
        Duration::from_millis(u64::try_from(settings.interval_ms).unwrap_or(0)).clamp(Duration::from_millis(10), IDLE);
    let mut last = None;
    loop {
        let Some((tp, job)) = next(&shard, last, settings.interval_ms, rate) else {
            tokio::time::sleep(idle).await;
            continue;
        };
        last = Some(tp);
        let bytes = look(&shard, tp, job).await;
        let pause = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
    }
}

/// The next log that is due, from the one looked at last on: one log after the other, as they lie on the disk.
fn next(
    shard: &ShardRef,
    last: Option<TopicPartition>,
    interval_ms: i64,
    rate: u64,
) -> Option<(TopicPartition, ScrubJob)> {
    let now_ms = shard.links().host.wall_ms();
    // A part takes no longer than a second to pay for, and is worth a seek.
    let part = rate.clamp(64 * 1024, limits::SCRUB_PART_BYTES);
    let mut partitions = shard.partitions();
    let begin = partitions.partition_point(|(tp, _)| Some(*tp) < last);
    partitions.rotate_left(begin);
    partitions.into_iter().find_map(|(tp, partition)| {
        let job = partition.borrow().next_scrub(now_ms, interval_ms, part)?;
        Some((tp, job))
    })
}

/// Reports damaged replicas to the controller.
pub(crate) fn report(shard: &ShardRef, partitions: &[(TopicPartition, PartitionRef)]) {
    let now = shard.links().host.now();
    if shard.broker_epoch().is_none() {
        return;
    }
    let replicas: Vec<_> = partitions
        .iter()
        .filter_map(|(_, partition)| partition.borrow_mut().take_report(now))
        .collect();
    if replicas.is_empty() {
        return;
    }
    let asked: Vec<TopicPartition> = replicas.iter().map(|(tp, _)| *tp).collect();
    let answer = shard.broker().control_plane().expel_damaged(replicas);
    let shard = shard.clone();
    let told: LocalBoxFuture<'static, ()> = Box::pin(async move {
        let codes = match answer.await {
            Ok(codes) if codes.len() == asked.len() => codes,
            Ok(_) => vec![types::ErrorCode::UnknownServerError; asked.len()],
            Err(code) => vec![code; asked.len()],
        };
        for (tp, code) in asked.into_iter().zip(codes) {
            shard.with(tp, |partition| partition.reported(code));
        }
    });
    tokio::task::spawn_local(told);
}
