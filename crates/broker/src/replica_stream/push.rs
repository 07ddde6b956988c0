//! The leader's writing half: answers, then what is new of the marked partitions, many in one frame.
//!
//! A high watermark by itself is no news that a follower needs at once: like Raft's commit index, it goes with the next records,
//! of whichever partition. A frame of its own for each would wake every follower twice for a record.

use super::leader_side::{Feed, StreamOut, send};
use super::protocol::{Entry, Frame};
use super::transport::{FrameSink, StreamError};
use crate::partition::Partition;
use crate::shard::ShardRef;
use crate::throttle::Allowance;
use bytes::Bytes;
use logstore::{LogError, LogSlice};
use records::{BatchHeader, split_batches};
use replica::{EntryHeader, digest};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;
use types::{ErrorCode, TopicPartition};

/// Records of one frame; several frames are in flight.
const FRAME_BYTES: usize = 1024 * 1024;
/// Partitions named in one frame.
const FRAME_ENTRIES: usize = 1_000;
/// How long a high watermark waits for records to go with.
const WATERMARK_DELAY: Duration = Duration::from_millis(10);

pub(super) async fn run(shard: &ShardRef, out: &Rc<StreamOut>, mut sink: FrameSink) -> Result<(), StreamError> {
    let keep_alive = shard.timings().stream_keep_alive;
    let now = || shard.links().host.now();
    let mut sent = now();
    // When the first of the high watermarks moved that are not told.
    let mut moved = None;
    loop {
        let answers = std::mem::take(&mut *out.answers.borrow_mut());
        if !answers.is_empty() {
            send(shard, &mut sink, &Frame::Answers(answers)).await?;
            sent = now();
        }
        let (mut entries, throttled) = gather(shard, out).await?;
        if !out.moved.borrow().is_empty() {
            let since = *moved.get_or_insert_with(Instant::now);
            if !entries.is_empty() || since.elapsed() >= WATERMARK_DELAY {
                moved = None;
                watermarks(shard, out, &mut entries);
            }
        }
        if !entries.is_empty() {
            send(shard, &mut sink, &Frame::Data(entries)).await?;
            shard.links().stats.replicated_out_frames.add(1);
            sent = now();
            continue;
        }
        if !out.answers.borrow().is_empty() {
            continue;
        }
        let idle = keep_alive.saturating_sub(now().since(sent));
        let due = moved.map(|since| WATERMARK_DELAY.saturating_sub(since.elapsed()));
        let wait = [throttled, due].into_iter().flatten().fold(idle, Duration::min);
        if tokio::time::timeout(wait, out.wake.notified()).await.is_err() && wait == idle {
            send(shard, &mut sink, &Frame::KeepAlive).await?;
            sent = now();
        }
    }
}

/// One frame's worth of what is new. What does not fit stays marked; a full window waits for acknowledgements, and what is
/// throttled for the time that is given.
async fn gather(shard: &ShardRef, out: &Rc<StreamOut>) -> Result<(Vec<Entry>, Option<Duration>), StreamError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let (mut again, mut throttled) = (Vec::new(), None::<Duration>);
    while entries.len() < FRAME_ENTRIES && bytes < FRAME_BYTES {
        let Some(tp) = out.marked.borrow_mut().pop_first() else {
            break;
        };
        let room = out.room().min(FRAME_BYTES - bytes);
        match entry(shard, out, tp, room).await? {
            Sent::Entry { entry, more } => {
                bytes += entry.records.len();
                entries.push(entry);
                if more {
                    again.push(tp);
                }
            }
            Sent::NoRoom => {
                again.push(tp);
                break;
            }
            Sent::Throttled(wait) => {
                again.push(tp);
                throttled = Some(throttled.map_or(wait, |least| least.min(wait)));
            }
            Sent::Nothing => {}
        }
    }
    // Not woken: the loop comes back by itself, or acknowledgements wake it.
    out.marked.borrow_mut().extend(again);
    Ok((entries, throttled))
}

/// The high watermarks that moved, without records, as many as still fit.
fn watermarks(shard: &ShardRef, out: &Rc<StreamOut>, entries: &mut Vec<Entry>) {
    while entries.len() < FRAME_ENTRIES
        && let Some(tp) = out.moved.borrow_mut().pop_first()
    {
        let Some(partition) = shard.partition(tp) else {
            continue;
        };
        let partition = partition.borrow();
        let mut feeds = out.feeds.borrow_mut();
        let Some(feed) = feeds.get_mut(&tp) else { continue };
        if leads(&partition, out) && partition.leader_epoch() == feed.leader_epoch {
            entries.extend(bounds_alone(tp, &partition, feed));
        }
    }
}

/// What a follower has not been told of where the log starts and how far it is committed.
fn bounds_alone(tp: TopicPartition, partition: &Partition, feed: &mut Feed) -> Option<Entry> {
    let bounds = partition.bounds();
    let told = (bounds.high_watermark, bounds.log_start);
    if feed.told == told {
        return None;
    }
    feed.told = told;
    Some(make(tp, feed, &[], Bytes::new()))
}

enum Sent {
    Entry {
        entry: Entry,
        more: bool,
    },
    NoRoom,
    /// Nothing for so long.
    Throttled(Duration),
    Nothing,
}

async fn entry(shard: &ShardRef, out: &StreamOut, tp: TopicPartition, room: usize) -> Result<Sent, StreamError> {
    let Some(partition) = shard.partition(tp) else {
        return Ok(Sent::Nothing);
    };
    let Some((next, generation)) = out.feeds.borrow().get(&tp).map(|feed| (feed.next, feed.generation)) else {
        return Ok(Sent::Nothing);
    };
    if !leads(&partition.borrow(), out) {
        // A new leader epoch begins with a new position.
        out.close_feed(tp);
        return Ok(Sent::Nothing);
    }
    // A replica that is in sync is never throttled: it would hold the high watermark back.
    let lacking = !partition.borrow().view.isr.contains(&out.node);
    let (image, me, now) = (shard.image(), shard.links().node_id, shard.links().host.now());
    let throttle = shard.broker().throttle();
    let allowance = if lacking && next < partition.borrow().bounds().log_end {
        throttle.allowance(&image, tp, me, out.node, now)
    } else {
        Allowance::Unlimited
    };
    let allowed = match allowance {
        Allowance::Unlimited => room,
        Allowance::Bytes(bytes) => room.min(bytes),
        Allowance::Wait(wait) => return Ok(Sent::Throttled(wait)),
    };
    let read = partition.borrow().read_for_follower(next, allowed.max(1));
    let slice = match read {
        Ok(slice) => slice,
        // ◆ Other partitions' records go on. The follower waits for a leader that has it whole.
        Err(LogError::Rot(rot)) => {
            shard.suspect(tp, rot);
            return Ok(Sent::Nothing);
        }
        // Retention was faster than this follower: it states its position again, and is told to start over.
        Err(LogError::OffsetOutOfRange { .. }) => {
            out.refuse(tp, ErrorCode::OffsetOutOfRange);
            return Ok(Sent::Nothing);
        }
        Err(error) => {
            // The log is away or broken: a fresh statement tells which.
            tracing::warn!(topic = partition.borrow().topic, partition = tp.partition, follower = out.node.0, %error, "cannot read for a follower");
            return Err(StreamError::Unexpected("the log cannot be read"));
        }
    };
    if room == 0 && !slice.is_empty() {
        return Ok(Sent::NoRoom);
    }
    let records = match load(shard, slice).await {
        Ok(records) => records,
        Err(LogError::Rot(rot)) => {
            shard.suspect(tp, rot);
            return Ok(Sent::Nothing);
        }
        Err(LogError::OffsetOutOfRange { .. }) => {
            out.refuse(tp, ErrorCode::OffsetOutOfRange);
            return Ok(Sent::Nothing);
        }
        // It is led, or there, no more.
        Err(LogError::Gone) => return Ok(Sent::Nothing),
        Err(error) => return Err(std::io::Error::other(error.to_string()).into()),
    };
    let headers: Vec<BatchHeader> = split_batches(&records)
        .map_while(Result::ok)
        .map(|batch| batch.header)
        .collect();
    // The read may have waited: the position may have been stated anew, or the epoch be over.
    let partition = partition.borrow();
    let mut feeds = out.feeds.borrow_mut();
    let Some(feed) = feeds
        .get_mut(&tp)
        .filter(|feed| feed.generation == generation && feed.next == next)
    else {
        return Ok(Sent::Nothing);
    };
    if !leads(&partition, out) || partition.leader_epoch() != feed.leader_epoch {
        return Ok(Sent::Nothing);
    }
    let Some(last) = headers.last() else {
        let alone = bounds_alone(tp, &partition, feed);
        return Ok(alone.map_or(Sent::Nothing, |entry| Sent::Entry { entry, more: false }));
    };
    let bounds = partition.bounds();
    feed.told = (bounds.high_watermark, bounds.log_start);
    let entry = make(tp, feed, &headers, records);
    feed.next = last.next_offset();
    feed.previous_epoch = last.leader_epoch;
    feed.in_flight.push_back((feed.next, entry.records.len()));
    out.sent(entry.records.len());
    if allowance != Allowance::Unlimited {
        throttle.sent(&image, tp, me, out.node, entry.records.len());
    }
    shard.links().stats.replicated_out_bytes.add(entry.records.len() as u64);
    let more = feed.next < bounds.log_end;
    Ok(Sent::Entry { entry, more })
}

/// Whether the partition's leader is here and sends on this stream.
fn leads(partition: &Partition, out: &StreamOut) -> bool {
    let stream = partition.streams.get(&out.node);
    stream.is_some_and(|stream| std::ptr::eq(&**stream, out))
}

fn make(tp: TopicPartition, feed: &Feed, headers: &[BatchHeader], records: Bytes) -> Entry {
    let header = EntryHeader {
        leader_epoch: feed.leader_epoch,
        previous_end: feed.next,
        previous_epoch: feed.previous_epoch,
        generation: feed.generation,
        high_watermark: feed.told.0,
        log_start: feed.told.1,
        digest: digest(headers.iter()),
    };
    Entry { tp, header, records }
}

/// From memory, from the page cache, or from the pool that may wait for the disk.
async fn load(shard: &ShardRef, slice: LogSlice) -> Result<Bytes, LogError> {
    match slice.bytes_now() {
        Some(read) => read,
        None => slice.load(shard.cold_pool()).await,
    }
}
