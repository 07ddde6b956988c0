use crate::batch_scan::BatchScan;
use crate::index::{OffsetEntries, SegmentIndex, last_time_entry};
use crate::log::Log;
use crate::marks::LogState;
use crate::segment::{Segment, base_of_name, segment_path};
use host::{File, OpenMode};
use records::{BATCH_HEADER_LEN, BatchHeader, verify_crc};
use std::io;
use std::sync::Arc;
use types::{Broken, LeaderEpoch, Offset, broken};

/// Bytes read at once.
const SCAN_CHUNK: usize = 1 << 20;

/// What the segments of a log hold, found without changing anything.
pub(super) struct Walk {
    /// Valid segments; those that were scanned have their index in memory.
    pub(super) segments: Vec<Segment>,
    /// Bases of segments wholly below the log start.
    below: Vec<Offset>,
    /// Bases of segments behind the end.
    behind: Vec<Offset>,
    /// Offset after the last valid batch, or where the log was to be cut.
    pub(super) end: Offset,
    /// Why it ends there, if something follows or is missing.
    pub(super) bad: Option<String>,
    /// End of what looked like data, for the report.
    pub(super) found_until: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    last_epoch: Option<LeaderEpoch>,
    pub(super) bytes_read: u64,
    /// What was found above the mark: base of the segment, and from where to where in it.
    above_mark: Vec<(Offset, u64, u64)>,
}

impl Walk {
    /// Reads the log up to `cut_at`, but for what lies below the recovery point.
    pub(super) fn run(log: &Log, known: &LogState, cut_at: Offset) -> io::Result<Self> {
        let mut bases: Vec<(Offset, u64)> = log
            .dir
            .disk
            .read_dir(&log.path)?
            .iter()
            .filter_map(|entry| Some((base_of_name(&entry.name, "log")?, entry.len)))
            .collect();
        bases.sort_unstable();
        let first = bases
            .partition_point(|(base, _)| *base <= log.log_start)
            .saturating_sub(1);
        let below = bases.drain(..first).map(|(base, _)| base).collect();
        let mut walk = Self {
            segments: Vec::new(),
            below,
            behind: Vec::new(),
            end: log.log_start,
            bad: None,
            found_until: log.log_start,
            epochs: log.epochs.clone(),
            last_epoch: None,
            bytes_read: 0,
            above_mark: Vec::new(),
        };
        match bases.first() {
            None => walk.bad = Some("there is no segment".to_owned()),
            Some((base, _)) if *base > log.log_start => walk.bad = Some("the first segment is missing".to_owned()),
            Some((base, _)) => walk.end = *base,
        }
        let below = |base: Offset| known.recovery_point.min(cut_at) > base;
        for (index, (base, len)) in bases.iter().copied().enumerate() {
            if walk.bad.is_none() && base != walk.end {
                walk.bad = Some(format!("the segment at {base} does not follow offset {}", walk.end));
            }
            if walk.bad.is_some() || (base >= cut_at && index > 0) {
                walk.behind.push(base);
                continue;
            }
            let next_base = bases.get(index + 1).map(|(base, _)| *base);
            // ◆ Only a segment all of which, and the start of the next, is below: its index files were synced with that.
            let checked = match next_base.filter(|next| below(*next)) {
                Some(next) => walk.check_rolled(log, base, len, next)?,
                None => None,
            };
            match checked {
                Some(segment) => {
                    walk.end = segment.next;
                    walk.segments.push(segment);
                }
                None => walk.scan(log, base, len, known, cut_at)?,
            }
        }
        walk.found_until = walk
            .found_until
            .max(walk.end)
            .max(walk.behind.last().copied().unwrap_or_default());
        Ok(walk)
    }

    /// A rolled segment below the mark is taken without reading it if its index is there and from the last
    /// indexed batch on batches go exactly to the end of the file and the base of the next segment.
    fn check_rolled(&mut self, log: &Log, base: Offset, len: u64, next: Offset) -> io::Result<Option<Segment>> {
        let path = segment_path(&log.path, base, "log");
        let mut segment = Segment::found(&log.dir, path.clone(), base, len, next);
        let disk = &log.dir.disk;
        let (Ok(index), Ok(times)) = (
            disk.open(&segment.index_path(), OpenMode::Read),
            disk.open(&segment.time_index_path(), OpenMode::Read),
        ) else {
            return Ok(None);
        };
        let (Ok(entry), Ok(time)) = (OffsetEntries::of_file(index)?.last(), last_time_entry(&*times, base)) else {
            return Ok(None);
        };
        let start = entry.map_or(0, |(_, position)| u64::from(position));
        // Without an entry no batch has a timestamp.
        segment.max_timestamp = time;
        if start > len {
            return Ok(None);
        }
        let mut scan = BatchScan::new(disk.open(&path, OpenMode::Read)?, start, len, 64 * 1024);
        let mut end = None;
        while let Some((position, header)) = scan.next_header()? {
            if position == start && entry.is_some_and(|(offset, _)| header.last_offset() != base.plus(offset.into())) {
                return Ok(None);
            }
            end = Some(header.next_offset());
        }
        self.bytes_read += scan.bytes_read;
        let whole = scan.position() == len && end.unwrap_or(base) == next;
        Ok(whole.then_some(segment))
    }

    /// Reads every batch of a segment that is not below the recovery point, up to the first bad one or `cut_at`.
    ///
    /// ◆ A batch's CRC covers neither its base offset nor its leader epoch. What was durable ended with a batch, so one that
    /// leads from below the mark to beyond it has a damaged offset, and hides what was there. Below the mark every epoch is
    /// in the journal; a damaged one would keep the replica from following anybody.
    fn scan(&mut self, log: &Log, base: Offset, len: u64, known: &LogState, cut_at: Offset) -> io::Result<()> {
        let path = segment_path(&log.path, base, "log");
        let file = log.dir.disk.open(&path, OpenMode::Read)?;
        let mut segment = Segment::found(&log.dir, path, base, 0, base);
        let up_to = known.recovery_point.min(cut_at);
        let (start, mut expected) = self.resume(log, &file, &mut segment, len, up_to)?;
        segment.size = start;
        let mut scan = BatchScan::new(file, start, len, SCAN_CHUNK);
        let mark = known.durable;
        let mut above_mark = None;
        while let Some((position, header, bytes)) = scan.next_batch()? {
            if header.next_offset() > cut_at {
                self.bad = Some("the log was truncated here".to_owned());
                break;
            }
            let fits = header.base_offset >= expected && header.last_offset().0 - base.0 <= i64::from(i32::MAX);
            let (from, to) = (header.base_offset, header.next_offset());
            let beyond = mark > log.log_start && ((expected < mark && from > mark) || (from < mark && to > mark));
            if !fits || beyond || (from < mark && !self.had_epoch(log, &header)) || !verify_crc(bytes) {
                self.bad = Some(format!("the batch at position {position} of segment {base} is damaged"));
                break;
            }
            let is_newer = self.epochs.last().is_none_or(|(epoch, _)| header.leader_epoch > *epoch);
            if is_newer && header.leader_epoch.0 >= 0 && !broken(Broken::ForgetFoundEpochs) {
                self.epochs.push((header.leader_epoch, header.base_offset));
            }
            // ◆ Where the log start has passed what was flushed, no mark says of anything in this segment that it is on disk.
            if from >= mark || mark <= log.log_start {
                above_mark.get_or_insert(position);
            }
            segment.note(&header, position);
            expected = header.next_offset();
            segment.size = position + header.size() as u64;
            self.last_epoch = Some(header.leader_epoch);
        }
        if self.bad.is_none() && segment.size < len {
            self.bad = Some(format!(
                "segment {base} has no whole batch at position {}",
                segment.size
            ));
            // Something is there that was to be more records.
            self.found_until = expected.plus(1);
        }
        self.bytes_read += scan.bytes_read;
        self.above_mark
            .extend(above_mark.map(|position| (base, position, segment.size)));
        self.end = expected;
        segment.next = expected;
        self.segments.push(segment);
        Ok(())
    }

    /// Whether a durable batch may have its epoch: epochs do not fall, and none is above what the journal says.
    fn had_epoch(&self, log: &Log, header: &BatchHeader) -> bool {
        let at = header.base_offset.max(log.log_start);
        let covering = log.epochs.partition_point(|(_, start)| *start <= at);
        let known = covering.checked_sub(1).map(|index| log.epochs[index].0);
        known.is_none_or(|known| header.leader_epoch <= known)
            && self.last_epoch.is_none_or(|last| header.leader_epoch >= last)
    }

    /// Takes the index of what lies below `up_to` from the segment's files, where they agree with the segment; answers
    /// from where on it is to be read: position, and the offset that must come there.
    fn resume(
        &mut self,
        log: &Log,
        file: &Arc<dyn File>,
        segment: &mut Segment,
        len: u64,
        up_to: Offset,
    ) -> io::Result<(u64, Offset)> {
        let (base, interval) = (segment.base, log.config.index_interval_bytes);
        let index = match up_to > base {
            true => self.read_index(log, segment, len, up_to)?,
            false => None,
        };
        let resumed = index.and_then(|index| Some((index.offsets.last().copied()?, index)));
        if let Some(((offset, position), index)) = resumed {
            let header = |position| BatchScan::new(file.clone(), position, len, BATCH_HEADER_LEN).next_header();
            if let (Some((_, first)), Some((position, at))) = (header(0)?, header(u64::from(position))?)
                && first.base_offset >= base
                && at.last_offset() == base.plus(i64::from(offset))
                && at.base_offset >= base
            {
                segment.first_timestamp = Some(first.max_timestamp);
                segment.max_timestamp = index.max_timestamp();
                segment.index = Some(index);
                return Ok((position, at.base_offset));
            }
        }
        segment.index = Some(SegmentIndex::new(base, interval));
        Ok((0, base))
    }

    fn read_index(
        &mut self,
        log: &Log,
        segment: &Segment,
        len: u64,
        up_to: Offset,
    ) -> io::Result<Option<SegmentIndex>> {
        let disk = &log.dir.disk;
        let mut files = Vec::new();
        for path in [segment.index_path(), segment.time_index_path()] {
            let file = match disk.open(&path, OpenMode::Read) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            // More than an entry for each batch is no index of this segment.
            let size = file.len()?;
            if size > len {
                return Ok(None);
            }
            let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, 0)?;
            self.bytes_read += size;
            files.push(bytes);
        }
        let interval = log.config.index_interval_bytes;
        Ok(SegmentIndex::resume(
            (&files[0], &files[1]),
            segment.base,
            interval,
            len,
            up_to,
        ))
    }

    /// Makes the files what was found: removes what is behind the end, cuts the last segment, writes missing
    /// indexes, and again what lies above the mark. The caller syncs.
    pub(super) fn apply(self, log: &mut Log) -> io::Result<()> {
        let dir = log.dir.clone();
        for base in self.below.iter().chain(&self.behind) {
            Segment::found(&dir, segment_path(&log.path, *base, "log"), *base, 0, *base).remove_files(&dir)?;
        }
        if self.segments.is_empty() || self.end < log.log_start {
            // Nothing at or above the log start is left.
            // Epochs that are durable stay so: the log start may have moved past records that were not.
            let epochs = std::mem::take(&mut log.epochs);
            log.start_over(log.log_start)?;
            log.epochs = epochs;
            return Ok(());
        }
        log.segments = self.segments;
        log.indexed = log.active().map_or(log.log_start, |active| active.base);
        log.log_end = self.end;
        log.epochs = self.epochs;
        let count = log.segments.len();
        for (index, segment) in log.segments.iter_mut().enumerate() {
            let active = index + 1 == count;
            if segment.index.is_none() && !active {
                continue;
            }
            let file = dir.disk.open(&segment.path, OpenMode::Write)?;
            if file.len()? != segment.size {
                file.set_len(segment.size)?;
            }
            for (_, from, to) in self.above_mark.iter().filter(|(base, ..)| *base == segment.base) {
                write_again(&*file, *from, *to)?;
            }
            if active {
                if segment.index.is_none() {
                    let (path, base, size) = (segment.path.clone(), segment.base, segment.size);
                    let rebuilt = Segment::reopened(&dir, file.clone(), path, base, size, &log.config)?;
                    *segment = rebuilt;
                    segment.next = log.log_end;
                }
                segment.make_active(&dir, &log.config);
                log.unsynced.extend(segment.cut_index_files(&dir)?);
                segment.file = Some(file);
            } else {
                segment.file = Some(file);
                log.unsynced.extend(segment.finish_index(&dir)?);
                log.unsynced.extend(segment.close(&dir)?);
            }
        }
        log.remove_snapshots_above(log.log_end)?;
        let end = log.log_end;
        log.epochs.retain(|(_, start)| *start <= end);
        log.last_epoch = match self.last_epoch {
            Some(epoch) => epoch,
            None if end == log.log_start => LeaderEpoch::NONE,
            None => log
                .epochs
                .iter()
                .rev()
                .find(|(_, start)| *start < end)
                .map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch),
        };
        Ok(())
    }
}

/// ◆ Writes these bytes of a file over themselves. They were read from the page cache, and where a sync has failed before, the
/// cache alone has them: Linux counts their pages as clean, and a later sync does nothing and succeeds.
fn write_again(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut chunk = vec![0; SCAN_CHUNK];
    let mut position = from;
    while position < to {
        let count = usize::try_from(to - position).map_or(SCAN_CHUNK, |left| left.min(SCAN_CHUNK));
        file.read_exact_at(&mut chunk[..count], position)?;
        file.write_all_at(&chunk[..count], position)?;
        position += count as u64;
    }
    Ok(())
}
