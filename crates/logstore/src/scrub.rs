use crate::batch_scan::BatchScan;
use crate::directory::{Directory, lock};
use crate::index::SegmentIndex;
use crate::log::Log;
use crate::rot::{Chain, Rot};
use host::OpenMode;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, ReplicaIncarnation, TopicPartition};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// EIO: the disk cannot read a sector, which is damage too; other errors say nothing of what is stored.
const EIO: i32 = 5;

/// How far the scrub of a log is. The directory keeps it in `scrub-checkpoint`, so that a restart goes on.
///
/// ```text
/// 0                                    version
/// 1                                    lines
/// orders 0 4711 1700000000000 9000 1690000000000
///   topic, partition, next offset, start of this pass (ms), end of the last whole pass, its start (ms)
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ScrubMark {
    next: Offset,
    started_ms: i64,
    /// Everything below was good in the pass before.
    done_to: Offset,
    /// 0: there was none.
    done_started_ms: i64,
    /// The pass is over; the next begins when it is time.
    idle: bool,
    /// Where `next` is in the files; not written down.
    place: Option<Place>,
}

/// A batch's place in a file, as long as the log is not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    generation: u64,
    base: Offset,
    position: u64,
    /// Of the batch before.
    epoch: LeaderEpoch,
}

pub(crate) type ScrubMarks = BTreeMap<(String, i32), ScrubMark>;

/// A part of one log to be read on a pool.
pub struct ScrubJob {
    dir: Arc<Directory>,
    tp: TopicPartition,
    incarnation: ReplicaIncarnation,
    generation: u64,
    segments: VecDeque<Part>,
    chain: Chain,
    end: Offset,
    bytes_max: u64,
    /// No part of the scrub, but a closer look.
    inspection: bool,
    /// Makes the index of the one segment anew, with an entry after so many bytes.
    index_interval: Option<u32>,
}

struct Part {
    path: PathBuf,
    base: Offset,
    next: Offset,
    position: u64,
    size: u64,
}

/// What a [`ScrubJob`] found.
pub struct Scrubbed {
    pub tp: TopicPartition,
    pub incarnation: ReplicaIncarnation,
    pub bytes_read: u64,
    pub bad: Option<Rot>,
    generation: u64,
    next: Offset,
    end: Offset,
    inspection: bool,
    place: Option<Place>,
    index: Option<(Offset, SegmentIndex)>,
}

/// Damage that was found, and when the place was last known to be good (wall clock, ms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotFound {
    pub rot: Rot,
    pub good_at_ms: Option<i64>,
}

impl ScrubJob {
    /// Reads; blocking.
    ///
    /// # Errors
    /// Of the disk, where they say nothing of what is stored: too many open files and the like.
    pub fn run(mut self) -> io::Result<Scrubbed> {
        let (mut bytes_read, mut place, mut bad, mut index) = (0, None, None, None);
        while let Some(part) = self.segments.pop_front() {
            if self.chain.next() >= self.end || bytes_read >= self.bytes_max {
                break;
            }
            let left = self.bytes_max - bytes_read;
            let outcome = self.read(&part, left, &mut index);
            match outcome {
                Ok(Ok(position)) => {
                    bytes_read += position - part.position;
                    place = Some(Place {
                        generation: self.generation,
                        base: part.base,
                        position,
                        epoch: self.chain.epoch(),
                    });
                }
                Ok(Err(rot)) => {
                    bad = Some(rot);
                    break;
                }
                Err(error) => {
                    let why = match error.kind() {
                        io::ErrorKind::NotFound => "the segment's file is missing",
                        io::ErrorKind::UnexpectedEof => "the file is shorter than it was",
                        _ if error.raw_os_error() == Some(EIO) => "the disk cannot read it",
                        _ => return Err(error),
                    };
                    bad = Some(self.chain.broken(why));
                    break;
                }
            }
        }
        Ok(Scrubbed {
            tp: self.tp,
            incarnation: self.incarnation,
            bytes_read,
            bad,
            generation: self.generation,
            next: self.chain.next(),
            end: self.end,
            inspection: self.inspection,
            place,
            index,
        })
    }

    /// Reads one segment up to about `bytes` further; answers where it stopped.
    fn read(
        &mut self,
        part: &Part,
        bytes: u64,
        index: &mut Option<(Offset, SegmentIndex)>,
    ) -> io::Result<Result<u64, Rot>> {
        let file = self.dir.disk.open(&part.path, OpenMode::Read)?;
        let len = bytes.min(part.size - part.position);
        // What was in memory stays there, and nothing is pushed out of it for a scrub.
        let was_cached = file.is_cached(part.position, len);
        let mut made = self
            .index_interval
            .map(|interval| SegmentIndex::new(part.base, interval));
        let mut scan = BatchScan::new(file.clone(), part.position, part.size, CHUNK);
        let end = self.end.min(part.next);
        while self.chain.next() < end && scan.position() - part.position < bytes {
            let Some((position, header, batch)) = scan.next_batch()? else {
                return Ok(Err(self.chain.broken("there is no whole batch")));
            };
            if let Some(made) = &mut made {
                made.add(&header, position);
            }
            // Below the log start, which lies within this segment.
            if header.last_offset() < self.chain.next() && header.last_offset_delta >= 0 {
                continue;
            }
            if let Err(rot) = self.chain.check(&header, batch) {
                return Ok(Err(rot));
            }
        }
        if !was_cached {
            file.forget_cached(part.position, scan.position() - part.position);
        }
        if let Some(made) = made {
            *index = Some((part.base, made));
        }
        Ok(Ok(scan.position()))
    }
}

impl Log {
    /// The next part of this log to be scrubbed, about `bytes_max` of it; `None` if it is not yet time: a pass begins
    /// `interval_ms` after the one before it began. Only what is durable is read.
    #[must_use]
    pub fn next_scrub(&self, now_ms: i64, interval_ms: i64, bytes_max: u64) -> Option<ScrubJob> {
        if self.check_writable().is_err() || self.durable <= self.log_start {
            return None;
        }
        let mut marks = lock(&self.dir.scrub_marks);
        let mark = marks.entry(self.scrub_key()).or_default();
        if mark.idle || mark.started_ms == 0 {
            // Its clock may have been set back.
            let due = mark.started_ms.saturating_add(interval_ms);
            if mark.started_ms != 0 && now_ms < due && now_ms >= mark.started_ms {
                return None;
            }
            *mark = ScrubMark {
                next: self.log_start,
                started_ms: now_ms.max(1),
                idle: false,
                place: None,
                ..*mark
            };
        }
        let from = mark.next.max(self.log_start);
        let place = mark
            .place
            .filter(|place| from == mark.next && place.generation == self.generation);
        drop(marks);
        Some(self.scrub_job(from, place, bytes_max))
    }

    /// Looks at the whole segment that holds `offset`, where a read found it damaged: the file may be, or its index only.
    #[must_use]
    pub fn inspect(&self, offset: Offset) -> Option<ScrubJob> {
        let held = self.segments.iter().rev().find(|segment| segment.base <= offset)?;
        let mut job = self.scrub_job(held.base.max(self.log_start), None, u64::MAX);
        job.inspection = true;
        job.end = job.end.min(held.next);
        // The index of the active segment is in memory.
        job.index_interval = held.index.is_none().then_some(self.config.index_interval_bytes);
        Some(job)
    }

    fn scrub_job(&self, from: Offset, place: Option<Place>, bytes_max: u64) -> ScrubJob {
        let first = self
            .segments
            .partition_point(|segment| segment.base <= from)
            .saturating_sub(1);
        let part = |segment: &crate::segment::Segment| Part {
            path: segment.path.clone(),
            base: segment.base,
            next: segment.next,
            position: place
                .filter(|place| place.base == segment.base && place.position <= segment.size)
                .map_or(0, |place| place.position),
            size: segment.size,
        };
        ScrubJob {
            dir: self.dir.clone(),
            tp: self.key.tp,
            incarnation: self.key.incarnation,
            generation: self.generation,
            segments: self.segments[first..].iter().map(part).collect(),
            chain: Chain::new(self, from, self.durable).after(place.map_or(LeaderEpoch(0), |place| place.epoch)),
            end: self.durable,
            bytes_max,
            inspection: false,
            index_interval: None,
        }
    }

    /// Takes in what a scrub found. One of a log that was cut meanwhile says nothing.
    pub fn finish_scrub(&mut self, done: Scrubbed) -> Option<RotFound> {
        if done.incarnation != self.key.incarnation || done.generation != self.generation {
            return None;
        }
        if let Some(rot) = done.bad {
            // Deleted while it was read.
            let there = rot.offset >= self.log_start;
            return there.then(|| self.found(rot));
        }
        if let Some((base, index)) = done.index
            && let Some(segment) = self.segments.iter_mut().find(|segment| segment.base == base)
        {
            segment.index = Some(index);
        }
        if !done.inspection
            && let Some(mark) = lock(&self.dir.scrub_marks).get_mut(&self.scrub_key())
        {
            mark.next = done.next;
            mark.place = done.place;
            // What was appended since the job was made is too young to have rotted.
            if done.next >= done.end || done.bytes_read == 0 {
                mark.idle = true;
                (mark.done_to, mark.done_started_ms) = (mark.next, mark.started_ms);
            }
        }
        None
    }

    /// When the place was last known to be good: in this pass, in the one before, or when it was written, as its segment's
    /// timestamps say.
    #[must_use]
    pub fn found(&self, rot: Rot) -> RotFound {
        let mark = lock(&self.dir.scrub_marks)
            .get(&self.scrub_key())
            .copied()
            .unwrap_or_default();
        let passed = [
            (!mark.idle && rot.offset < mark.next, mark.started_ms),
            (rot.offset < mark.done_to, mark.done_started_ms),
        ];
        let seen = passed.iter().find(|(seen, _)| *seen).map(|(_, at)| *at);
        let held = self.segments.iter().rev().find(|segment| segment.base <= rot.offset);
        let written = held
            .and_then(|segment| segment.max_timestamp)
            .map(|(at, _)| at)
            .filter(|at| *at > 0);
        RotFound {
            good_at_ms: seen.or(written),
            rot,
        }
    }

    fn scrub_key(&self) -> (String, i32) {
        (self.name.clone(), self.key.tp.partition)
    }
}

/// `scrub-checkpoint`.
pub(crate) fn to_text(marks: &ScrubMarks) -> String {
    let mut text = format!("0\n{}\n", marks.len());
    for ((topic, partition), mark) in marks {
        let next = if mark.idle { Offset(-1) } else { mark.next };
        let (started, done_to, done_started) = (mark.started_ms, mark.done_to, mark.done_started_ms);
        let _ = writeln!(text, "{topic} {partition} {next} {started} {done_to} {done_started}");
    }
    text
}

/// Empty where anything is wrong: then the scrub begins anew.
pub(crate) fn parse(text: &str) -> ScrubMarks {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (topic, partition) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let mut number = || words.next()?.parse::<i64>().ok();
        let (next, started_ms, done_to, done_started_ms) = (number()?, number()?, number()?, number()?);
        let mark = ScrubMark {
            next: Offset(next.max(0)),
            started_ms,
            done_to: Offset(done_to),
            done_started_ms,
            idle: next < 0,
            place: None,
        };
        Some(((topic, partition), mark))
    };
    let mut lines = text.lines();
    if lines.next() != Some("0")
        || lines.next().and_then(|count| count.parse().ok()) != Some(text.lines().count().saturating_sub(2))
    {
        return ScrubMarks::new();
    }
    lines.map(line).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests;
