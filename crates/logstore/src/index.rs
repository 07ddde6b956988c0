use host::File;
use records::BatchHeader;
use std::io;
use std::sync::Arc;
use types::Offset;

const OFFSET_ENTRY: u64 = 8;
const TIME_ENTRY: u64 = 12;

/// Sparse index of one segment, in memory while the segment is active. On disk, as Kafka writes it, all
/// integers big-endian:
///
/// ```text
///  .index      0          4         8            .timeindex  0              8            12
///              ├──────────┼─────────┤                        ├──────────────┼────────────┤
///              │ last     │position │ …                      │ greatest     │ its batch's│ …
///              │ offset of│of that  │                        │ timestamp    │ last offset│
///              │ a batch  │ batch   │                        │ so far       │            │
///              │ − base   │         │                        │              │ − base     │
///              └──────────┴─────────┘                        └──────────────┴────────────┘
/// ```
///
/// An entry is made for the batch that comes after more than `index.interval.bytes` without one.
#[derive(Debug, Clone)]
pub(crate) struct SegmentIndex {
    base: Offset,
    interval: u32,
    pub(crate) offsets: Vec<(u32, u32)>,
    pub(crate) times: Vec<(i64, u32)>,
    /// How many offset and time entries the files on disk have.
    pub(crate) written: (usize, usize),
    bytes_since_entry: u64,
    max_timestamp: Option<(i64, Offset)>,
}

/// Entries of an offset index, wherever they are.
pub(crate) enum OffsetEntries<'a> {
    Memory(&'a [(u32, u32)]),
    File { file: Arc<dyn File>, count: u64 },
}

impl SegmentIndex {
    pub(crate) fn new(base: Offset, interval: u32) -> Self {
        Self {
            base,
            interval,
            offsets: Vec::new(),
            times: Vec::new(),
            written: (0, 0),
            bytes_since_entry: 0,
            max_timestamp: None,
        }
    }

    /// The front part of an index that lies in these files' bytes: entries of batches below `up_to`, which ascend as they
    /// must in a segment of `size` bytes. To be continued with the batch of the last offset entry. `None` if there is
    /// nothing to continue from, or anything that no index has.
    pub(crate) fn resume(
        (offsets, times): (&[u8], &[u8]),
        base: Offset,
        interval: u32,
        size: u64,
        up_to: Offset,
    ) -> Option<Self> {
        let mut index = Self::new(base, interval);
        let below = up_to.0 - base.0;
        for entry in offsets.chunks_exact(OFFSET_ENTRY as usize).map(offset_entry) {
            let (offset, position) = entry?;
            if i64::from(offset) >= below {
                break;
            }
            let before = index.offsets.last();
            let ascends = before.is_none_or(|(last, at)| *last < offset && *at < position);
            if !ascends || u64::from(position) >= size {
                return None;
            }
            index.offsets.push((offset, position));
        }
        let (last, _) = *index.offsets.last()?;
        for entry in times.chunks_exact(TIME_ENTRY as usize).map(time_entry) {
            let (timestamp, offset) = entry?;
            if offset > last {
                break;
            }
            if timestamp < 0 || index.times.last().is_some_and(|(before, _)| *before >= timestamp) {
                return None;
            }
            index.times.push((timestamp, offset));
        }
        index.written = (index.offsets.len(), index.times.len());
        index.max_timestamp = index
            .times
            .last()
            .map(|(timestamp, offset)| (*timestamp, base.plus(i64::from(*offset))));
        Some(index)
    }

    /// Takes note of the batch that stands at `position`.
    pub(crate) fn add(&mut self, header: &BatchHeader, position: u64) {
        let last = header.last_offset();
        if self
            .max_timestamp
            .is_none_or(|(timestamp, _)| header.max_timestamp > timestamp)
        {
            self.max_timestamp = Some((header.max_timestamp, last));
        }
        if self.bytes_since_entry > u64::from(self.interval) {
            // Segments are smaller than 4 GiB and 2³¹ offsets: the log rolls before.
            self.offsets.push((relative(self.base, last), position as u32));
            self.add_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size() as u64;
    }

    fn add_time(&mut self) {
        // A batch without a timestamp has −1, which Kafka's tools take for disorder.
        if let Some((timestamp, offset)) = self.max_timestamp
            && timestamp >= 0
            && self.times.last().is_none_or(|(last, _)| timestamp > *last)
        {
            self.times.push((timestamp, relative(self.base, offset)));
        }
    }

    /// The segment is full, or closed: the greatest timestamp gets its entry, as in Kafka.
    pub(crate) fn finish(&mut self) {
        self.add_time();
    }

    /// Kafka's `OffsetIndex.isFull` and `TimeIndex.isFull`, which keeps room for the entry of a roll, for files of
    /// `bytes_max`.
    pub(crate) fn is_full(&self, bytes_max: u32) -> bool {
        let bytes_max = u64::from(bytes_max);
        self.offsets.len() as u64 >= bytes_max / OFFSET_ENTRY || self.times.len() as u64 + 1 >= bytes_max / TIME_ENTRY
    }

    pub(crate) fn max_timestamp(&self) -> Option<(i64, Offset)> {
        self.max_timestamp
    }

    /// Where the offset entries that are not in the file belong, and their bytes.
    pub(crate) fn unwritten_offsets(&self) -> (u64, Vec<u8>) {
        let bytes = self.offsets[self.written.0..]
            .iter()
            .flat_map(|(offset, at)| [offset.to_be_bytes(), at.to_be_bytes()])
            .flatten()
            .collect();
        (self.written.0 as u64 * OFFSET_ENTRY, bytes)
    }

    /// The same of the time entries.
    pub(crate) fn unwritten_times(&self) -> (u64, Vec<u8>) {
        let mut bytes = Vec::new();
        for (timestamp, offset) in &self.times[self.written.1..] {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        (self.written.1 as u64 * TIME_ENTRY, bytes)
    }

    /// Lengths of the files with what is written.
    pub(crate) fn written_bytes(&self) -> (u64, u64) {
        (self.written.0 as u64 * OFFSET_ENTRY, self.written.1 as u64 * TIME_ENTRY)
    }

    /// Position from which to look for the first batch with a timestamp of at least `timestamp`.
    pub(crate) fn start_for_timestamp(&self, timestamp: i64) -> u64 {
        let before = self.times.partition_point(|(at, _)| *at < timestamp);
        match before.checked_sub(1).and_then(|index| self.times.get(index)) {
            Some((_, offset)) => {
                let entry = self.offsets.partition_point(|(at, _)| at <= offset);
                entry.checked_sub(1).map_or(0, |index| u64::from(self.offsets[index].1))
            }
            None => 0,
        }
    }
}

/// [`SegmentIndex::start_for_timestamp`] by the files of a rolled segment.
pub(crate) fn start_for_timestamp(offsets: &OffsetEntries<'_>, times: &dyn File, timestamp: i64) -> io::Result<u64> {
    let before = partition_point(times.len()? / TIME_ENTRY, |index| {
        Ok(read_time(times, index)?.0 < timestamp)
    })?;
    match before.checked_sub(1) {
        Some(index) => {
            let (_, last) = read_time(times, index)?;
            offsets.last_where(|offset, _| offset <= last)
        }
        None => Ok(0),
    }
}

impl OffsetEntries<'_> {
    pub(crate) fn of_file(file: Arc<dyn File>) -> io::Result<Self> {
        let count = file.len()? / OFFSET_ENTRY;
        Ok(Self::File { file, count })
    }

    fn len(&self) -> u64 {
        match self {
            Self::Memory(entries) => entries.len() as u64,
            Self::File { count, .. } => *count,
        }
    }

    pub(crate) fn get(&self, index: u64) -> io::Result<(u32, u32)> {
        let entry = match self {
            Self::Memory(entries) => entries.get(index as usize).copied(),
            Self::File { file, .. } => {
                let mut bytes = [0; OFFSET_ENTRY as usize];
                file.read_exact_at(&mut bytes, index * OFFSET_ENTRY)?;
                offset_entry(&bytes)
            }
        };
        entry.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(crate) fn last(&self) -> io::Result<Option<(u32, u32)>> {
        self.len().checked_sub(1).map(|index| self.get(index)).transpose()
    }

    /// Position of the last entry that is `before`, which holds for a front part of the entries; 0 if none.
    pub(crate) fn last_where(&self, before: impl Fn(u32, u32) -> bool) -> io::Result<u64> {
        let found = partition_point(self.len(), |index| {
            let (offset, position) = self.get(index)?;
            Ok(before(offset, position))
        })?;
        match found.checked_sub(1) {
            Some(index) => Ok(u64::from(self.get(index)?.1)),
            None => Ok(0),
        }
    }
}

/// The number of entries for which `before` holds: a front part of `count`.
fn partition_point(count: u64, before: impl Fn(u64) -> io::Result<bool>) -> io::Result<u64> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? {
            low = middle + 1
        } else {
            high = middle
        }
    }
    Ok(low)
}

fn offset_entry(bytes: &[u8]) -> Option<(u32, u32)> {
    let (offset, position) = bytes.split_first_chunk::<4>()?;
    Some((
        u32::from_be_bytes(*offset),
        u32::from_be_bytes(*position.first_chunk::<4>()?),
    ))
}

fn time_entry(bytes: &[u8]) -> Option<(i64, u32)> {
    let (timestamp, offset) = bytes.split_first_chunk::<8>()?;
    Some((
        i64::from_be_bytes(*timestamp),
        u32::from_be_bytes(*offset.first_chunk::<4>()?),
    ))
}

fn read_time(file: &dyn File, index: u64) -> io::Result<(i64, u32)> {
    let mut bytes = [0; TIME_ENTRY as usize];
    file.read_exact_at(&mut bytes, index * TIME_ENTRY)?;
    time_entry(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The last entry of a `.timeindex`; `None` if it is empty.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is not whole.
pub(crate) fn last_time_entry(file: &dyn File, base: Offset) -> io::Result<Option<(i64, Offset)>> {
    let len = file.len()?;
    if !len.is_multiple_of(TIME_ENTRY) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let last = (len / TIME_ENTRY).checked_sub(1);
    let last = last.map(|index| read_time(file, index)).transpose()?;
    Ok(last.map(|(timestamp, offset)| (timestamp, base.plus(i64::from(offset)))))
}

/// `offset` − `base`, within 0..2³¹ because a segment rolls before it holds more.
pub(crate) fn relative(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.0 - base.0).unwrap_or(u32::MAX)
}
