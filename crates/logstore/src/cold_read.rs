use crate::batch_scan::BatchScan;
use crate::direct_reads::DirectRead;
use crate::directory::Directory;
use crate::index::{OffsetEntries, relative};
use crate::log::Log;
use crate::marks::LogKey;
use crate::read_now::ReadNow;
use crate::read_once::SegmentKey;
use crate::rot::Chain;
use crate::segment::{LOOKUP_CHUNK, Segment};
use crate::{LogError, LogSlice};
use host::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use types::Offset;

/// What a look-up reads beside the bytes that are wanted: an index entry's batch and those up to the one looked for.
const LOOKUP_ROOM: u64 = 64 * 1024;

/// A read of a segment whose place in the file is still to be found, which needs the index and batches' headers. It
/// borrows nothing, so it is carried out wherever waiting for the disk does no harm.
#[derive(Clone)]
pub struct ColdRead {
    dir: Arc<Directory>,
    key: LogKey,
    generation: u64,
    path: PathBuf,
    /// Of the active segment, or what was found open.
    file: Option<Arc<dyn File>>,
    /// Of the segment, which nobody writes to.
    direct: Option<SegmentKey>,
    base: Offset,
    size: u64,
    next: Offset,
    from: Offset,
    up_to: Offset,
    max_bytes: usize,
    at_least_one: bool,
    /// By an index in memory, or one that was found open; else the segment has a file of it.
    starts: Option<Starts>,
    chain: Chain,
}

/// Positions at or before those that are looked for, by the sparse index.
#[derive(Debug, Clone, Copy)]
struct Starts {
    from: u64,
    up_to: u64,
    limit: u64,
}

impl ColdRead {
    /// Of the one segment that holds `from`, which is below `up_to` and both within the log.
    pub(crate) fn new(
        log: &Log,
        segment: &Segment,
        (from, up_to): (Offset, Offset),
        max_bytes: usize,
        at_least_one: bool,
    ) -> Self {
        let mut read = Self {
            dir: log.dir.clone(),
            key: log.key,
            generation: log.generation,
            path: segment.path.clone(),
            file: segment.file.clone(),
            // Only the active segment has an index in memory, and one that is not synced yet a file of its own.
            direct: (segment.index.is_none() && segment.file.is_none()).then_some((
                log.key,
                log.generation,
                segment.base,
            )),
            base: segment.base,
            size: segment.size,
            next: segment.next,
            from,
            up_to,
            max_bytes,
            at_least_one,
            starts: None,
            chain: Chain::new(log, from, up_to),
        };
        let in_memory = segment.index.as_ref();
        // What is in memory cannot fail.
        read.starts = in_memory.and_then(|index| read.starts_by(&OffsetEntries::Memory(&index.offsets)).ok());
        read
    }

    /// The most that it reads, but for a first batch that is larger.
    pub(crate) fn len_max(&self) -> usize {
        usize::try_from(self.size).map_or(self.max_bytes, |size| size.min(self.max_bytes))
    }

    fn starts_by(&self, entries: &OffsetEntries<'_>) -> io::Result<Starts> {
        let start_of = |target: Offset| {
            let wanted = relative(self.base, target.max(self.base));
            entries.last_where(|offset, _| offset <= wanted)
        };
        let from = start_of(self.from)?;
        let limit = from.saturating_add(self.max_bytes as u64);
        Ok(Starts {
            from,
            up_to: start_of(self.up_to)?,
            limit: entries.last_where(|_, position| u64::from(position) <= limit)?,
        })
    }

    /// [`ColdRead::resolve`] on a shard; `None` where it would wait for the disk.
    pub(crate) fn resolve_now(&mut self) -> Option<Result<LogSlice, LogError>> {
        if !self.is_cached() {
            return None;
        }
        match self.resolve_by(ReadNow::of) {
            Err(LogError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            resolved => Some(resolved),
        }
    }

    /// Whether it is likely that [`ColdRead::resolve`] does not wait for the disk: what it reads is in memory or on its way
    /// there, and no file must be opened for it.
    fn is_cached(&mut self) -> bool {
        self.file = self.file.take().or_else(|| self.dir.file_if_open(&self.path));
        self.starts = self.starts.or_else(|| self.starts_if_cached());
        let (Some(file), Some(starts)) = (&self.file, self.starts) else {
            return false;
        };
        let cached = |from: u64, len: u64| {
            let end = from.saturating_add(len).min(self.size);
            end <= from || file.is_cached(from, end - from)
        };
        cached(starts.from, (self.max_bytes as u64).saturating_add(LOOKUP_ROOM))
            && (self.up_to >= self.next || cached(starts.up_to, LOOKUP_ROOM))
    }

    fn starts_if_cached(&self) -> Option<Starts> {
        let index = self.dir.file_if_open(&self.index_path())?;
        if !index.is_cached(0, index.len().ok()?) {
            return None;
        }
        self.starts_by(&OffsetEntries::of_file(ReadNow::of(index)).ok()?).ok()
    }

    fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// Finds the place; blocking.
    ///
    /// # Errors
    /// [`LogError::Rot`]: ◆ what the segment holds and cannot be found there is damaged, and going on behind it would
    /// skip records; [`LogError::OffsetOutOfRange`] if retention has taken the segment meanwhile; [`LogError::Gone`];
    /// [`LogError::Io`].
    pub(crate) fn resolve(&self) -> Result<LogSlice, LogError> {
        self.resolve_by(|file| file)
    }

    /// Headers are read through what `reader` makes of the file.
    fn resolve_by(&self, reader: impl Fn(Arc<dyn File>) -> Arc<dyn File>) -> Result<LogSlice, LogError> {
        let lost = || self.chain.broken("the batch cannot be found in its segment");
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => lost().into(),
            _ => LogError::from(error),
        };
        let starts = match self.starts {
            Some(starts) => starts,
            None => self.starts_by_file().map_err(failed)?,
        };
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.open()?.map_err(failed)?,
        };
        let reads = reader(file.clone());
        let find = |start: u64, target: Offset| {
            let mut scan = BatchScan::new(reads.clone(), start.min(self.size), self.size, LOOKUP_CHUNK);
            scan.first_reaching(target).map_err(failed)
        };
        let (start, first) = match find(starts.from, self.from)? {
            Some(found) if found.1.base_offset <= self.from => found,
            _ => return Err(lost().into()),
        };
        if first.next_offset() > self.up_to {
            return Ok(LogSlice::Empty);
        }
        // Where the batch that contains `up_to` starts, nothing more may be read.
        let bound = match self.up_to >= self.next {
            true => self.size,
            false => find(starts.up_to, self.up_to)?.ok_or_else(lost)?.0,
        };
        let wanted = start.saturating_add(self.max_bytes as u64);
        let end = match wanted >= bound {
            true => bound,
            false => whole_batches(&reads, starts.limit.max(start), self.size, wanted).map_err(failed)?,
        };
        let first_end = start + first.size() as u64;
        let end = if self.at_least_one { end.max(first_end) } else { end };
        if end < first_end {
            return Ok(LogSlice::Empty);
        }
        Ok(LogSlice::File {
            file,
            position: start,
            len: usize::try_from(end - start).map_err(io::Error::other)?,
            chain: self.chain.clone(),
            direct: self.direct.map(|segment| DirectRead::new(self.dir.clone(), segment)),
        })
    }

    fn starts_by_file(&self) -> io::Result<Starts> {
        match self.dir.open_file(&self.index_path()) {
            Ok(file) => self.starts_by(&OffsetEntries::of_file(file)?),
            // Lost after recovery looked: slower, not wrong.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.starts_by(&OffsetEntries::Memory(&[])),
            Err(error) => Err(error),
        }
    }

    /// ◆ The name may mean another log's file by now, or none: the journal knows that before any file of the log is renamed
    /// or cut, so it is asked after all files have been opened.
    fn open(&self) -> Result<io::Result<Arc<dyn File>>, LogError> {
        let opened = self.dir.open_file(&self.path);
        let marks = self.dir.marks();
        let ours = marks.state().logs.get(&self.key);
        let Some(log) = ours.filter(|log| !log.deleting && log.generation == self.generation) else {
            return Err(LogError::Gone);
        };
        if log.log_start > self.from {
            return Err(LogError::OffsetOutOfRange {
                offset: self.from,
                log_start: log.log_start,
                log_end: self.up_to.max(log.log_start),
            });
        }
        Ok(opened)
    }
}

/// End of the last whole batch that ends at `limit` or before, looking from `start`, a batch's start.
fn whole_batches(file: &Arc<dyn File>, start: u64, size: u64, limit: u64) -> io::Result<u64> {
    if limit >= size {
        return Ok(size);
    }
    let mut scan = BatchScan::new(file.clone(), start, size, LOOKUP_CHUNK);
    let mut end = scan.position();
    while scan.next_header()?.is_some() && scan.position() <= limit {
        end = scan.position();
    }
    Ok(end)
}
