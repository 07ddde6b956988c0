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
            bytes_since_entry: 0,
            max_timestamp: None,
        }
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
        if let Some((timestamp, offset)) = self.max_timestamp
            && self.times.last().is_none_or(|(last, _)| timestamp > *last)
        {
            self.times.push((timestamp, relative(self.base, offset)));
        }
    }

    /// The segment is full, or closed: the greatest timestamp gets its entry, as in Kafka.
    pub(crate) fn finish(&mut self) {
        self.add_time();
    }

    pub(crate) fn max_timestamp(&self) -> Option<(i64, Offset)> {
        self.max_timestamp
    }

    pub(crate) fn offset_bytes(&self) -> Vec<u8> {
        self.offsets
            .iter()
            .flat_map(|(offset, at)| [offset.to_be_bytes(), at.to_be_bytes()])
            .flatten()
            .collect()
    }

    pub(crate) fn time_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.times.len() * TIME_ENTRY as usize);
        for (timestamp, offset) in &self.times {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        bytes
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
        match self {
            Self::Memory(entries) => entries
                .get(index as usize)
                .copied()
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Self::File { file, .. } => {
                let (mut offset, mut position) = ([0; 4], [0; 4]);
                file.read_exact_at(&mut offset, index * OFFSET_ENTRY)?;
                file.read_exact_at(&mut position, index * OFFSET_ENTRY + 4)?;
                Ok((u32::from_be_bytes(offset), u32::from_be_bytes(position)))
            }
        }
    }

    pub(crate) fn last(&self) -> io::Result<Option<(u32, u32)>> {
        self.len().checked_sub(1).map(|index| self.get(index)).transpose()
    }

    /// Position of the last entry that is `before`, which holds for a front part of the entries; 0 if none.
    pub(crate) fn last_where(&self, before: impl Fn(u32, u32) -> bool) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let (offset, position) = self.get(middle)?;
            if before(offset, position) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        match low.checked_sub(1) {
            Some(index) => Ok(u64::from(self.get(index)?.1)),
            None => Ok(0),
        }
    }
}

/// The last entry of a `.timeindex`; `None` if it is empty or not whole.
pub(crate) fn last_time_entry(file: &dyn File, base: Offset) -> io::Result<Option<(i64, Offset)>> {
    let len = file.len()?;
    if len == 0 || len % TIME_ENTRY != 0 {
        return Ok(None);
    }
    let (mut timestamp, mut offset) = ([0; 8], [0; 4]);
    file.read_exact_at(&mut timestamp, len - TIME_ENTRY)?;
    file.read_exact_at(&mut offset, len - 4)?;
    Ok(Some((
        i64::from_be_bytes(timestamp),
        base.plus(i64::from(u32::from_be_bytes(offset))),
    )))
}

/// `offset` − `base`, within 0..2³¹ because a segment rolls before it holds more.
pub(crate) fn relative(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.0 - base.0).unwrap_or(u32::MAX)
}
