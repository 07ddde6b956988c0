use crate::LogConfig;
use crate::batch_scan::BatchScan;
use crate::directory::Directory;
use crate::index::{OffsetEntries, SegmentIndex, relative};
use host::{File, OpenMode, is_out_of_handles};
use records::BatchHeader;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::Offset;

/// Bytes read at once while a position is looked up.
pub(crate) const LOOKUP_CHUNK: usize = 4096;
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
    /// Open from an append on until the log rests; see [`crate::Log::rest`].
    pub(crate) file: Option<Arc<dyn File>>,
    /// In memory while active, or where the file on disk is no good.
    pub(crate) index: Option<SegmentIndex>,
    pub(crate) max_timestamp: Option<(i64, Offset)>,
    /// Timestamp of the first batch, for `segment.ms`.
    pub(crate) first_timestamp: Option<i64>,
    /// Wall clock when the segment was made, or found after a restart: for `segment.ms` where batches carry no timestamp.
    pub(crate) created_ms: i64,
    /// Wall clock of the last append, or of the restart: for `retention.ms` where batches carry no timestamp.
    pub(crate) written_ms: i64,
    /// What is taken off `segment.ms` for this segment.
    pub(crate) jitter_ms: i64,
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
    /// A new, empty segment; replaces a file of its name. For callers that may wait; see [`Segment::begin`].
    pub(crate) fn create(dir: &Directory, log: &Path, base: Offset, config: &LogConfig) -> io::Result<Self> {
        let path = segment_path(log, base, "log");
        let file = dir.disk.open_patiently(&path, OpenMode::Create)?;
        Self::made(dir, path, &*file, base, config)
    }

    /// The same on a shard: without a file handle nothing happens.
    pub(crate) fn begin(dir: &Directory, log: &Path, base: Offset, config: &LogConfig) -> io::Result<Self> {
        let path = segment_path(log, base, "log");
        let file = dir.open_to_keep(&path, OpenMode::Create)?;
        let mut segment = Self::made(dir, path, &*file, base, config)?;
        segment.file = Some(file);
        Ok(segment)
    }

    fn made(dir: &Directory, path: PathBuf, file: &dyn File, base: Offset, config: &LogConfig) -> io::Result<Self> {
        dir.forget_file(&path);
        file.set_len(0)?;
        let mut segment = Self::found(dir, path, base, 0, base);
        segment.make_active(dir, config);
        Ok(segment)
    }

    /// Appends go here from now on: it gets an index in memory, and its share of the jitter.
    pub(crate) fn make_active(&mut self, dir: &Directory, config: &LogConfig) {
        if self.index.is_none() {
            self.index = Some(SegmentIndex::new(self.base, config.index_interval_bytes));
        }
        // Kafka's `LogConfig.randomSegmentJitter`: many logs that were made together do not roll together.
        let bound = config.segment_jitter_ms.min(config.segment_ms);
        self.jitter_ms = match u64::try_from(bound) {
            Ok(bound) if bound > 0 => (dir.host.random_u64() % bound) as i64,
            _ => 0,
        };
    }

    /// A segment that recovery found.
    pub(crate) fn found(dir: &Directory, path: PathBuf, base: Offset, size: u64, next: Offset) -> Self {
        let now_ms = dir.host.wall_ms();
        Self {
            base,
            path,
            size,
            next,
            file: None,
            index: None,
            max_timestamp: None,
            first_timestamp: None,
            created_ms: now_ms,
            written_ms: now_ms,
            jitter_ms: 0,
            allocated: 0,
        }
    }

    /// Kafka's `largestTimestamp`, which retention looks at.
    pub(crate) fn largest_timestamp(&self) -> i64 {
        let largest = self.max_timestamp.map(|(timestamp, _)| timestamp);
        largest.filter(|timestamp| *timestamp >= 0).unwrap_or(self.written_ms)
    }

    /// The segment's files, whether they are there or not.
    pub(crate) fn paths(&self) -> [PathBuf; 3] {
        [self.path.clone(), self.index_path(), self.time_index_path()]
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

    pub(crate) fn entries(&self, dir: &Directory) -> io::Result<OffsetEntries<'_>> {
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

    /// Has the file open for appends. Nothing happens where there is no handle for it.
    pub(crate) fn open_to_append(&mut self, dir: &Directory) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(dir.open_to_keep(&self.path, OpenMode::Write)?);
        }
        Ok(())
    }

    /// One write at the end. What it takes of the file system is taken from the directory's room.
    pub(crate) fn append(&mut self, dir: &Directory, bytes: &[u8], wall_ms: i64) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(dir.open_to_keep(&self.path, OpenMode::Write)?),
        };
        let end = self.size + bytes.len() as u64;
        if end > self.allocated {
            let mut ahead = bytes.len() as u64;
            if end > ALLOCATE_FROM && dir.room.left_bytes() > ALLOCATE_AHEAD + ahead {
                ahead += ALLOCATE_AHEAD;
                file.allocate(self.size, ahead)?;
                self.allocated = self.size + ahead;
            }
            dir.room.take(ahead);
        }
        file.write_all_at(bytes, self.size)?;
        self.size = end;
        self.written_ms = wall_ms;
        Ok(())
    }

    /// Cuts off what a failed write left behind the last whole batch.
    pub(crate) fn cut_back(&mut self) -> io::Result<()> {
        // What was allocated ahead is gone with it.
        self.allocated = 0;
        self.file.as_ref().map_or(Ok(()), |file| file.set_len(self.size))
    }

    /// Nothing more is to be appended: writes the index files. Answers those that must be synced.
    pub(crate) fn finish_index(&mut self, dir: &Directory) -> io::Result<Vec<Arc<dyn File>>> {
        if let Some(index) = &mut self.index {
            index.finish();
        }
        self.write_index(dir)
    }

    /// Nothing more is appended, and [`Segment::finish_index`] has been called: gives back what was allocated ahead.
    /// Answers the file if it must be synced.
    pub(crate) fn close(&mut self, dir: &Directory) -> io::Result<Option<Arc<dyn File>>> {
        if self.allocated > self.size {
            match self.open_to_append(dir) {
                // Those blocks stay with it.
                Err(error) if is_out_of_handles(&error) => {}
                other => other?,
            }
            if let Some(file) = &self.file {
                // A cut to the length that it has frees the blocks behind it.
                file.set_len(self.size)?;
            }
            self.allocated = 0;
        }
        self.index = None;
        Ok(self.file.take())
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
        scan.first_reaching(target)
    }

    /// Writes what the index files lack; answers those that must be synced before that counts.
    pub(crate) fn write_index(&mut self, dir: &Directory) -> io::Result<Vec<Arc<dyn File>>> {
        let (offsets_path, times_path) = (self.index_path(), self.time_index_path());
        let Some(index) = &mut self.index else {
            return Err(io::Error::other("no index in memory"));
        };
        let mut files = Vec::new();
        let unwritten = [
            (offsets_path, index.unwritten_offsets()),
            (times_path, index.unwritten_times()),
        ];
        for (path, (position, bytes)) in unwritten {
            if position > 0 && bytes.is_empty() {
                continue;
            }
            let file = dir.open_to_keep(&path, OpenMode::Create)?;
            // Behind what is known to be in it there may be anything.
            file.set_len(position)?;
            file.write_all_at(&bytes, position)?;
            files.push(file);
        }
        index.written = (index.offsets.len(), index.times.len());
        Ok(files)
    }

    /// Makes the index files say what the index in memory knows to be in them; removes them if that is nothing.
    pub(crate) fn cut_index_files(&self, dir: &Directory) -> io::Result<Vec<Arc<dyn File>>> {
        let Some((offsets, times)) = self.index.as_ref().map(SegmentIndex::written_bytes) else {
            return Ok(Vec::new());
        };
        if offsets == 0 {
            self.remove_index_files(dir)?;
            return Ok(Vec::new());
        }
        let cut = |path: PathBuf, len| -> io::Result<Arc<dyn File>> {
            let file = dir.disk.open_patiently(&path, OpenMode::Write)?;
            file.set_len(len)?;
            Ok(file)
        };
        Ok(vec![
            cut(self.index_path(), offsets)?,
            cut(self.time_index_path(), times)?,
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
        dir: &Directory,
        file: Arc<dyn File>,
        path: PathBuf,
        base: Offset,
        size: u64,
        config: &LogConfig,
    ) -> io::Result<Self> {
        let mut segment = Self::found(dir, path, base, size, base);
        segment.make_active(dir, config);
        let mut scan = BatchScan::new(file.clone(), 0, size, 256 * 1024);
        while let Some((position, header)) = scan.next_header()? {
            segment.note(&header, position);
        }
        segment.file = Some(file);
        Ok(segment)
    }
}
