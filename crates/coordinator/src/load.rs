//! Reads a partition of `__consumer_offsets` from its start to where it ended when this node became its leader.

use crate::coordinators::OFFSETS_TOPIC;
use broker::{FetchPartition, FetchPlan, Leadership, ShardRef};
use group::Record;
use records::{Batch, decode_records, split_batches};
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, Offset, TopicPartition, limits};

/// Bytes that are read in one go: their records are taken on the shard, which others need, too.
const READ_BYTES: usize = 256 * 1024;
/// A read that finds nothing committed is asked again after this; it is woken when there is more.
const READ_WAIT: Duration = Duration::from_secs(1);
/// A log that cannot be read is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// The partition has another leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadError {
    NotLeader,
}

/// Gives every record, in order, and their number. ◆ All that is in the log when this begins is waited for until it is
/// committed: a commit of an earlier leader that its followers have may still count, and must not come back later.
pub(crate) async fn read(
    shard: &ShardRef,
    tp: TopicPartition,
    leadership: Leadership,
    mut take: impl FnMut(Record),
) -> Result<u64, LoadError> {
    // An unknown outcome of this very epoch is in the log by now, too.
    let end = shard
        .leadership(tp)
        .filter(|now| now.epoch == leadership.epoch)
        .ok_or(LoadError::NotLeader)?
        .log_end;
    let (mut at, mut records) = (Offset::ZERO, 0);
    while at < end {
        match read_some(shard, tp, leadership.epoch, at).await {
            Ok(batches) => {
                for batch in batches {
                    records += take_batch(tp, &batch, &mut take);
                    at = batch
                        .header
                        .base_offset
                        .plus(i64::from(batch.header.last_offset_delta) + 1);
                }
                // A log that is in memory is read without a pause: everyone else on this shard would wait for its end.
                tokio::task::yield_now().await;
            }
            Err(Failure::StartsAt(log_start)) => at = at.max(log_start),
            Err(Failure::Code(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)) => {
                return Err(LoadError::NotLeader);
            }
            Err(Failure::Code(error)) => {
                tracing::warn!(topic = OFFSETS_TOPIC, partition = tp.partition, offset = %at, %error, "groups cannot be read; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    Ok(records)
}

enum Failure {
    StartsAt(Offset),
    Code(ErrorCode),
}

/// Committed batches from `at` on; waits a while for some.
async fn read_some(
    shard: &ShardRef,
    tp: TopicPartition,
    epoch: LeaderEpoch,
    at: Offset,
) -> Result<Vec<Batch>, Failure> {
    let partition = FetchPartition {
        tp,
        fetch_offset: at,
        current_leader_epoch: epoch,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: READ_BYTES,
    };
    let plan = FetchPlan {
        partitions: vec![partition],
        max_bytes: READ_BYTES,
        min_bytes: 1,
        max_wait: READ_WAIT,
        read_committed: false,
        from_follower: false,
    };
    let Some(fetched) = shard.fetch(plan).await.pop() else {
        return Ok(Vec::new());
    };
    match fetched.error {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange if fetched.log_start > at => return Err(Failure::StartsAt(fetched.log_start)),
        ErrorCode::OffsetOutOfRange => return Err(start_of(shard, tp, epoch).await),
        error => return Err(Failure::Code(error)),
    }
    // What is cut off at the end is read again.
    let batches = split_batches(&fetched.records).map_while(Result::ok);
    Ok(batches
        .filter(|batch| batch.header.base_offset.plus(i64::from(batch.header.last_offset_delta)) >= at)
        .collect())
}

async fn start_of(shard: &ShardRef, tp: TopicPartition, epoch: LeaderEpoch) -> Failure {
    match shard.list_offset(tp, -2, epoch, false).await {
        Ok((start, _, _)) => Failure::StartsAt(start),
        Err(error) => Failure::Code(error.code),
    }
}

/// Records that cannot be read are told of and left out: they were whole when they were written, so another program, or a
/// newer version, wrote them.
fn take_batch(tp: TopicPartition, batch: &Batch, take: &mut impl FnMut(Record)) -> u64 {
    let offset = batch.header.base_offset;
    if batch.header.is_control() {
        return 0;
    }
    let decoded = match decode_records(batch, limits::DECOMPRESSED_BYTES_MAX) {
        Ok(decoded) => decoded,
        Err(error) => {
            tracing::error!(topic = OFFSETS_TOPIC, partition = tp.partition, %offset, %error, "a batch of commits cannot be read: its groups read older offsets");
            return 0;
        }
    };
    let mut taken = 0;
    for record in decoded {
        let Some(key) = &record.key else { continue };
        match Record::decode(key, record.value.as_ref()) {
            Ok(Some(read)) => {
                take(read);
                taken += 1;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(topic = OFFSETS_TOPIC, partition = tp.partition, offset = %record.offset, %error, "a record of a group cannot be read");
            }
        }
    }
    taken
}
