use crate::batch_scan::BatchScan;
use crate::directory::Directory;
use crate::index::{OffsetEntries, SegmentIndex, relative};
use host::{File, OpenMode};
use records::BatchHeader;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::Offset;

/// Bytes read at once while a position is looked up.
const LOOKUP_CHUNK: usize = 4096;
/// A log gets blocks ahead only once it has written this much: many small logs must stay small.
const ALLOCATE_FROM: u64 = 1 << 20;
const ALLOCATE_AHEAD: u64 = 16 << 20;

/// One segment of a log: `.log` file and index.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) path: PathBuf,
    /// Bytes of whole batches; the file's size.
    pub(crate) size: u64,
    /// Offset after the last batch.
    pub(crate) next: Offset,
    /// Open while active or unsynced.
    pub(crate) file: Option<Arc<dyn File>>,
    /// In memory while active, or where the file on disk is no good.
    pub(crate) index: Option<SegmentIndex>,
    pub(crate) max_timestamp: Option<(i64, Offset)>,
    /// Timestamp of the first append, for `segment.ms`.
    pub(crate) first_timestamp: Option<i64>,
    allocated: u64,
}

/// Kafka's file name: the base offset with 20 digits.
pub(crate) fn segment_path(directory: &Path, base: Offset, extension: &str) -> PathBuf {
    directory.join(format!("{:020}.{extension}", base.0))
}

/// The base offset in a file name with this extension.
pub(crate) fn base_of_name(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset)
}

impl Segment {
    /// A new, empty segment; replaces a file of its name.
    pub(crate) fn create(dir: &Directory, log: &Path, base: Offset, interval: u32) -> io::Result<Self> {
        let path = segment_path(log, base, "log");
        dir.forget_file(&path);
        let file = dir.disk.open(&path, OpenMode::Create)?;
        file.set_len(0)?;
        Ok(Self {
            base,
            path,
            size: 0,
            next: base,
            file: Some(file),
            index: Some(SegmentIndex::new(base, interval)),
            max_timestamp: None,
            first_timestamp: None,
            allocated: 0,
        })
    }

    /// A segment that recovery found.
    pub(crate) fn found(path: PathBuf, base: Offset, size: u64, next: Offset) -> Self {
        Self {
            base,
            path,
            size,
            next,
            file: None,
            index: None,
            max_timestamp: None,
            first_timestamp: None,
            allocated: 0,
        }
    }

    pub(crate) fn file(&self, dir: &Directory) -> io::Result<Arc<dyn File>> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => dir.open_file(&self.path),
        }
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    pub(crate) fn time_index_path(&self) -> PathBuf {
        self.path.with_extension("timeindex")
    }

    fn entries(&self, dir: &Directory) -> io::Result<OffsetEntries<'_>> {
        match &self.index {
            Some(index) => Ok(OffsetEntries::Memory(&index.offsets)),
            None => match dir.open_file(&self.index_path()) {
                Ok(file) => OffsetEntries::of_file(file),
                // Lost after recovery looked: slower, not wrong.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(OffsetEntries::Memory(&[])),
                Err(error) => Err(error),
            },
        }
    }

    /// One write at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Err(io::Error::other("the segment is not open"));
        };
        let end = self.size + bytes.len() as u64;
        if end > ALLOCATE_FROM && end > self.allocated {
            file.allocate(self.size, ALLOCATE_AHEAD + bytes.len() as u64)?;
            self.allocated = self.size + ALLOCATE_AHEAD + bytes.len() as u64;
        }
        file.write_all_at(bytes, self.size)?;
        self.size = end;
        Ok(())
    }

    /// Takes note of a batch that stands at `position`.
    pub(crate) fn note(&mut self, header: &BatchHeader, position: u64) {
        if let Some(index) = &mut self.index {
            index.add(header, position);
            self.max_timestamp = index.max_timestamp();
        }
        self.first_timestamp.get_or_insert(header.max_timestamp);
        self.next = header.next_offset();
    }

    /// The first batch whose last offset is at least `target`.
    pub(crate) fn batch_at(&self, dir: &Directory, target: Offset) -> io::Result<Option<(u64, BatchHeader)>> {
        if target >= self.next {
            return Ok(None);
        }
        let wanted = relative(self.base, target.max(self.base));
        let start = self.entries(dir)?.last_where(|offset, _| offset <= wanted)?;
        let mut scan = BatchScan::new(self.file(dir)?, start.min(self.size), self.size, LOOKUP_CHUNK);
        while let Some((position, header)) = scan.next_header()? {
            if header.last_offset() >= target {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    /// End of the last whole batch that ends at `limit` or before, looking from `start`, a batch's start.
    pub(crate) fn whole_batches(&self, dir: &Directory, start: u64, limit: u64) -> io::Result<u64> {
        if limit >= self.size {
            return Ok(self.size);
        }
        let indexed = self
            .entries(dir)?
            .last_where(|_, position| u64::from(position) <= limit)?;
        let mut scan = BatchScan::new(self.file(dir)?, indexed.max(start), self.size, LOOKUP_CHUNK);
        let mut end = scan.position();
        while scan.next_header()?.is_some() && scan.position() <= limit {
            end = scan.position();
        }
        Ok(end)
    }

    /// Batches that may hold `timestamp` or later ones.
    pub(crate) fn scan_for_timestamp(&self, dir: &Directory, timestamp: i64) -> io::Result<BatchScan> {
        let start = self
            .index
            .as_ref()
            .map_or(0, |index| index.start_for_timestamp(timestamp));
        Ok(BatchScan::new(self.file(dir)?, start, self.size, 64 * 1024))
    }

    /// Writes both index files; they are durable when they and the directory are synced.
    pub(crate) fn write_index(&mut self, dir: &Directory) -> io::Result<[Arc<dyn File>; 2]> {
        let (offsets, times) = match &mut self.index {
            Some(index) => {
                index.finish();
                (index.offset_bytes(), index.time_bytes())
            }
            None => return Err(io::Error::other("no index in memory")),
        };
        let write = |path: PathBuf, bytes: Vec<u8>| -> io::Result<Arc<dyn File>> {
            dir.forget_file(&path);
            let file = dir.disk.open(&path, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(&bytes, 0)?;
            Ok(file)
        };
        Ok([
            write(self.index_path(), offsets)?,
            write(self.time_index_path(), times)?,
        ])
    }

    /// Removes index files that no longer say what the segment holds.
    pub(crate) fn remove_index_files(&self, dir: &Directory) -> io::Result<()> {
        for path in [self.index_path(), self.time_index_path()] {
            remove_if_there(dir, &path)?;
        }
        Ok(())
    }

    pub(crate) fn remove_files(&self, dir: &Directory) -> io::Result<()> {
        self.remove_index_files(dir)?;
        remove_if_there(dir, &self.path)
    }
}

pub(crate) fn remove_if_there(dir: &Directory, path: &Path) -> io::Result<()> {
    dir.forget_file(path);
    match dir.disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Segment {
    /// A segment that is active again after a truncation: its index is made from what is left.
    pub(crate) fn reopened(
        file: Arc<dyn File>,
        path: PathBuf,
        base: Offset,
        size: u64,
        interval: u32,
    ) -> io::Result<Self> {
        let mut segment = Self::found(path, base, size, base);
        segment.index = Some(SegmentIndex::new(base, interval));
        let mut scan = BatchScan::new(file.clone(), 0, size, 256 * 1024);
        while let Some((position, header)) = scan.next_header()? {
            segment.note(&header, position);
        }
        segment.file = Some(file);
        Ok(segment)
    }
}
