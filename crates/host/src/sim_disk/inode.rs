use super::{SECTOR_BYTES, SeededNumbers};
use std::collections::BTreeMap;
use std::io;

/// A change of a file since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// Content of one file: what was synced, what readers see, and the changes between the two.
#[derive(Debug, Default)]
pub(crate) struct Inode {
    synced: Vec<u8>,
    current: Vec<u8>,
    changes: Vec<Change>,
    /// Blocks are held up to here.
    allocated: usize,
    /// Dirty pages could not be written, and no sync has told so yet.
    write_back_failed: bool,
}

impl Inode {
    pub(crate) fn len(&self) -> usize {
        self.current.len()
    }

    /// Bytes that it takes of the disk.
    pub(crate) fn held(&self) -> usize {
        self.current.len().max(self.allocated)
    }

    pub(crate) fn allocate(&mut self, end: usize) {
        self.allocated = self.allocated.max(end);
    }

    pub(crate) fn read(&self, buffer: &mut [u8], position: usize) -> usize {
        let rest = self.current.get(position..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(crate) fn write(&mut self, bytes: &[u8], position: usize) {
        put(&mut self.current, position, bytes);
        self.changes.push(Change::Write {
            position,
            bytes: bytes.to_vec(),
        });
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        // What lies behind a cut is given back.
        self.allocated = self.allocated.min(len);
        if len != self.current.len() {
            self.current.resize(len, 0);
            self.changes.push(Change::SetLen(len));
        }
    }

    pub(crate) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// A sync failed: the dirty pages are clean now, and on no disk.
    pub(crate) fn forget_dirty(&mut self) {
        self.changes.clear();
    }

    /// The kernel tried to write dirty pages on its own, and could not: they are clean now, and on no disk. The next
    /// sync says so.
    pub(crate) fn fail_write_back(&mut self) {
        self.forget_dirty();
        self.write_back_failed = true;
    }

    /// Whether a write-back has failed that nobody was told of; after this, somebody was.
    pub(crate) fn take_write_back_error(&mut self) -> bool {
        std::mem::take(&mut self.write_back_failed)
    }

    pub(crate) fn flip_bit(&mut self, position: u64, bit: u8) -> io::Result<()> {
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let seen = self.current.get_mut(position).ok_or(io::ErrorKind::UnexpectedEof)?;
        *seen ^= 1 << (bit % 8);
        if let Some(synced) = self.synced.get_mut(position) {
            *synced ^= 1 << (bit % 8);
        }
        Ok(())
    }

    pub(crate) fn forget_unsynced(&mut self) {
        self.allocated = 0;
        self.changes.clear();
        self.write_back_failed = false;
        self.current.clone_from(&self.synced);
    }

    /// What a power loss leaves.
    ///
    /// Each sector holds what it held after some number of the changes, its own number: pages are written
    /// back in any order. The size on disk is that after some number of changes too; a cut that the size
    /// includes is never undone for a sector (file systems do not show freed blocks again), and what the
    /// size covers but no write reached reads as zeros.
    pub(crate) fn crash(&mut self, numbers: &mut SeededNumbers) {
        let changes = std::mem::take(&mut self.changes);
        self.allocated = 0;
        self.write_back_failed = false;
        if !changes.is_empty() {
            let size_after = match numbers.below(3) {
                0 => changes.len(),
                _ => numbers.below(changes.len() + 1),
            };
            let mut content = self.synced.clone();
            for change in &changes[..size_after] {
                change.apply_size(&mut content);
            }
            for (sector, reached) in sectors_reached(&changes, size_after, numbers) {
                let start = sector * SECTOR_BYTES;
                let end = (start + SECTOR_BYTES).min(content.len());
                if start >= end {
                    continue;
                }
                let mut bytes = [0; SECTOR_BYTES];
                let before = self.synced.get(start..).unwrap_or_default();
                let count = before.len().min(SECTOR_BYTES);
                bytes[..count].copy_from_slice(&before[..count]);
                for change in &changes[..reached] {
                    change.apply_to_sector(&mut bytes, start);
                }
                content[start..end].copy_from_slice(&bytes[..end - start]);
            }
            self.synced = content;
        }
        self.current.clone_from(&self.synced);
    }
}

/// For every sector written to: how many of the changes reached it.
fn sectors_reached(changes: &[Change], size_after: usize, numbers: &mut SeededNumbers) -> BTreeMap<usize, usize> {
    let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        let Change::Write { position, bytes } = change else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let first = position / SECTOR_BYTES;
        let last = (position + bytes.len() - 1) / SECTOR_BYTES;
        // Kept, lost, torn after some sectors, or any of its sectors.
        let fate = numbers.below(4);
        let torn_after = first + numbers.below(last - first + 1);
        for sector in first..=last {
            let kept = match fate {
                0 => true,
                1 => false,
                2 => sector < torn_after,
                _ => numbers.below(2) == 0,
            };
            let entry = reached.entry(sector).or_default();
            if kept {
                *entry = index + 1;
            }
        }
    }
    for (index, change) in changes[..size_after].iter().enumerate() {
        if let Change::SetLen(len) = change {
            for (_, count) in reached.range_mut(len / SECTOR_BYTES..) {
                *count = (*count).max(index + 1);
            }
        }
    }
    reached
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => put(content, *position, bytes),
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }

    fn apply_size(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => {
                let end = position + bytes.len();
                if end > content.len() {
                    content.resize(end, 0);
                }
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }

    fn apply_to_sector(&self, sector: &mut [u8; SECTOR_BYTES], start: usize) {
        match self {
            Self::Write { position, bytes } => {
                let from = (*position).max(start);
                let to = (position + bytes.len()).min(start + SECTOR_BYTES);
                if from < to {
                    sector[from - start..to - start].copy_from_slice(&bytes[from - position..to - position]);
                }
            }
            Self::SetLen(len) => {
                if *len < start + SECTOR_BYTES {
                    sector[len.saturating_sub(start)..].fill(0);
                }
            }
        }
    }
}

fn put(content: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if end > content.len() {
        content.resize(end, 0);
    }
    content[position..end].copy_from_slice(bytes);
}
