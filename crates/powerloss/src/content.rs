use crate::{Loss, Numbers};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a disk writes as one.
pub const SECTOR_BYTES: u64 = 512;

/// A change of a file since its last sync.
#[derive(Debug)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    SetLen(u64),
}

/// One file, as two files of the backing directory: what is on "disk", and what programs see; with the changes that lie
/// between the two.
#[derive(Debug)]
pub struct Content {
    /// What programs see.
    current: File,
    current_path: PathBuf,
    /// What a power loss cannot take.
    durable_path: PathBuf,
    len: u64,
    changes: VecDeque<Change>,
    /// Number of the first of the changes.
    first: u64,
    /// Bytes of the changes.
    unsynced: u64,
    /// A failed sync has forgotten changes: the two files differ by more than the changes that are left.
    forgotten: bool,
}

impl Change {
    fn bytes(&self) -> u64 {
        match self {
            Self::Write { bytes, .. } => bytes.len() as u64,
            Self::SetLen(_) => 0,
        }
    }

    fn apply(&self, file: &File) -> io::Result<()> {
        match self {
            Self::Write { position, bytes } => file.write_all_at(bytes, *position),
            Self::SetLen(len) => file.set_len(*len),
        }
    }

    fn apply_size(&self, len: u64) -> u64 {
        match self {
            Self::Write { position, bytes } => len.max(position + bytes.len() as u64),
            Self::SetLen(len) => *len,
        }
    }

    fn apply_to_sector(&self, sector: &mut [u8; SECTOR_BYTES as usize], start: u64) {
        match self {
            Self::Write { position, bytes } => {
                let from = (*position).max(start);
                let to = (position + bytes.len() as u64).min(start + SECTOR_BYTES);
                if from < to {
                    sector[(from - start) as usize..(to - start) as usize]
                        .copy_from_slice(&bytes[(from - position) as usize..(to - position) as usize]);
                }
            }
            Self::SetLen(len) => {
                if *len < start + SECTOR_BYTES {
                    sector[len.saturating_sub(start) as usize..].fill(0);
                }
            }
        }
    }
}

impl Content {
    /// An empty file. Its two files are named after `number` in the backing directory's `current` and `durable`.
    ///
    /// # Errors
    /// Those of the backing file system.
    pub fn create(backing: &Path, number: u64) -> io::Result<Self> {
        let current_path = backing.join("current").join(number.to_string());
        let durable_path = backing.join("durable").join(number.to_string());
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        options.open(&durable_path)?;
        Ok(Self {
            current: options.open(&current_path)?,
            current_path,
            durable_path,
            len: 0,
            changes: VecDeque::new(),
            first: 0,
            unsynced: 0,
            forgotten: false,
        })
    }

    /// Gives back the room. A file that is gone already is no error.
    pub fn remove(&self) {
        for path in [&self.current_path, &self.durable_path] {
            // What is left behind is cleared away with the backing directory.
            let _ = fs::remove_file(path);
        }
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of writes that were not synced.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        self.unsynced
    }

    /// # Errors
    /// Those of the backing file system.
    pub fn read(&self, position: u64, size: usize) -> io::Result<Vec<u8>> {
        let size = self.len.saturating_sub(position).min(size as u64) as usize;
        let mut bytes = vec![0; size];
        self.current.read_exact_at(&mut bytes, position)?;
        Ok(bytes)
    }

    /// # Errors
    /// Those of the backing file system.
    pub fn write(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write {
            position,
            bytes: bytes.to_vec(),
        })
    }

    /// # Errors
    /// Those of the backing file system.
    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len == self.len {
            return Ok(());
        }
        self.change(Change::SetLen(len))
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        change.apply(&self.current)?;
        self.len = change.apply_size(self.len);
        self.unsynced += change.bytes();
        self.changes.push_back(change);
        Ok(())
    }

    /// Where a sync that begins now will reach: later changes are not its.
    #[must_use]
    pub fn sync_begin(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// # Errors
    /// Those of the backing file system.
    pub fn sync_end(&mut self, reach: u64) -> io::Result<()> {
        if self.first >= reach {
            return Ok(());
        }
        let durable = self.durable()?;
        while self.first < reach
            && let Some(change) = self.changes.pop_front()
        {
            change.apply(&durable)?;
            self.first += 1;
            self.unsynced -= change.bytes();
        }
        Ok(())
    }

    /// A sync failed, as Linux has it: the pages are clean now, still seen, and on no disk. A later sync of them succeeds.
    pub fn sync_failed(&mut self, reach: u64) {
        while self.first < reach
            && let Some(change) = self.changes.pop_front()
        {
            self.first += 1;
            self.unsynced -= change.bytes();
            self.forgotten = true;
        }
    }

    fn durable(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.durable_path)
    }

    /// One bit, on disk (if it is there) and in memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] behind the end of the file.
    pub fn flip(&mut self, position: u64, bit: u8) -> io::Result<()> {
        let mut byte = [0];
        self.current.read_exact_at(&mut byte, position)?;
        self.current.write_all_at(&[byte[0] ^ (1 << (bit % 8))], position)?;
        let durable = self.durable()?;
        if durable.read_at(&mut byte, position)? == 1 {
            durable.write_all_at(&[byte[0] ^ (1 << (bit % 8))], position)?;
        }
        Ok(())
    }

    /// Nothing unsynced was written.
    ///
    /// # Errors
    /// Those of the backing file system.
    pub fn forget(&mut self, loss: &mut Loss) -> io::Result<()> {
        self.lose_with(loss, |_, _| Ok((BTreeMap::new(), 0)))
    }

    /// What a power loss leaves.
    ///
    /// Each sector holds what it held after some number of the changes, its own number: pages are written back in any order,
    /// and torn. The size is that after some number of the changes too; a cut that the size includes is never undone for a
    /// sector (file systems do not show freed blocks again), and what the size covers but no write reached reads as zeros.
    ///
    /// # Errors
    /// Those of the backing file system.
    pub fn lose(&mut self, numbers: &mut Numbers, loss: &mut Loss) -> io::Result<()> {
        self.lose_with(loss, |changes, loss| {
            let size_after = match numbers.below(3) {
                0 => changes.len(),
                _ => numbers.below(changes.len() as u64 + 1) as usize,
            };
            Ok((sectors_reached(changes, size_after, numbers, loss), size_after))
        })
    }

    fn lose_with(
        &mut self,
        loss: &mut Loss,
        decide: impl FnOnce(&[Change], &mut Loss) -> io::Result<(BTreeMap<u64, usize>, usize)>,
    ) -> io::Result<()> {
        if self.changes.is_empty() && !self.forgotten {
            return Ok(());
        }
        let mut changes = std::mem::take(&mut self.changes);
        let changes: &[Change] = changes.make_contiguous();
        self.first += changes.len() as u64;
        loss.files += 1;
        loss.changes += changes.len() as u64;
        loss.bytes += std::mem::take(&mut self.unsynced);
        let (reached, size_after) = decide(changes, loss)?;

        let durable = self.durable()?;
        let before = durable.metadata()?.len();
        let mut sectors = Vec::new();
        for (sector, count) in reached {
            let mut bytes = [0; SECTOR_BYTES as usize];
            let start = sector * SECTOR_BYTES;
            let there = before.saturating_sub(start).min(SECTOR_BYTES) as usize;
            durable.read_exact_at(&mut bytes[..there], start)?;
            changes[..count]
                .iter()
                .for_each(|change| change.apply_to_sector(&mut bytes, start));
            sectors.push((start, bytes));
        }
        let mut len = before;
        for change in &changes[..size_after] {
            let after = change.apply_size(len);
            if after != len {
                durable.set_len(after)?;
                len = after;
            }
        }
        for (start, bytes) in sectors {
            let count = len.saturating_sub(start).min(SECTOR_BYTES) as usize;
            durable.write_all_at(&bytes[..count], start)?;
        }
        drop(durable);
        // Into the file that is there: the handle on it stays.
        fs::copy(&self.durable_path, &self.current_path)?;
        self.len = len;
        self.forgotten = false;
        Ok(())
    }
}

/// For every sector written to: how many of the changes reached it.
fn sectors_reached(
    changes: &[Change],
    size_after: usize,
    numbers: &mut Numbers,
    loss: &mut Loss,
) -> BTreeMap<u64, usize> {
    let mut reached: BTreeMap<u64, usize> = BTreeMap::new();
    let mut last_write: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        let Change::Write { position, bytes } = change else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let first = position / SECTOR_BYTES;
        let last = (position + bytes.len() as u64 - 1) / SECTOR_BYTES;
        // Kept, lost, torn after some sectors, or any of its sectors.
        let fate = numbers.below(4);
        let torn_after = first + numbers.below(last - first + 1);
        let mut count = 0;
        for sector in first..=last {
            let kept = match fate {
                0 => true,
                1 => false,
                2 => sector < torn_after,
                _ => numbers.below(2) == 0,
            };
            count += u64::from(kept);
            last_write.insert(sector, index + 1);
            let entry = reached.entry(sector).or_default();
            if kept {
                *entry = index + 1;
            }
        }
        loss.writes_torn += u64::from(count > 0 && count <= last - first);
    }
    for (sector, index) in last_write {
        if reached.get(&sector).is_some_and(|count| *count >= index) {
            loss.sectors_kept += 1;
        } else {
            loss.sectors_lost += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> (tempfile::TempDir, Content) {
        let backing = tempfile::tempdir().unwrap();
        for name in ["current", "durable"] {
            fs::create_dir(backing.path().join(name)).unwrap();
        }
        let content = Content::create(backing.path(), 1).unwrap();
        (backing, content)
    }

    fn sync(content: &mut Content) {
        content.sync_end(content.sync_begin()).unwrap();
    }

    fn all(content: &Content) -> Vec<u8> {
        content.read(0, usize::MAX).unwrap()
    }

    #[test]
    fn what_was_synced_stays_and_a_write_that_came_during_the_sync_is_not_part_of_it() {
        let (_backing, mut content) = content();
        content.write(0, b"one").unwrap();
        let reach = content.sync_begin();
        content.write(3, b"two").unwrap();
        content.sync_end(reach).unwrap();
        assert_eq!(all(&content), b"onetwo");
        content.forget(&mut Loss::default()).unwrap();
        assert_eq!(all(&content), b"one");
    }

    #[test]
    fn an_unsynced_cut_is_undone_by_a_loss() {
        let (_backing, mut content) = content();
        content.write(0, &[7; 2000]).unwrap();
        sync(&mut content);
        content.set_len(10).unwrap();
        content.set_len(2000).unwrap();
        assert_eq!(all(&content)[10..], [0; 1990]);
        content.forget(&mut Loss::default()).unwrap();
        assert_eq!(all(&content), [7; 2000]);
    }

    #[test]
    fn after_a_failed_sync_the_next_one_succeeds_and_the_bytes_are_on_no_disk() {
        let (_backing, mut content) = content();
        content.write(0, b"gone").unwrap();
        content.sync_failed(content.sync_begin());
        content.write(4, b" here").unwrap();
        sync(&mut content);
        assert_eq!(all(&content), b"gone here");
        content.lose(&mut Numbers::new(1), &mut Loss::default()).unwrap();
        assert_eq!(all(&content), b"\0\0\0\0 here");
    }

    #[test]
    fn over_seeds_unsynced_writes_are_kept_lost_torn_and_reordered_and_synced_ones_never_touched() {
        let (mut kept, mut lost, mut torn, mut later_only) = (0, 0, 0, 0);
        for seed in 0..200 {
            let (_backing, mut content) = content();
            content.write(0, &[1; 1024]).unwrap();
            sync(&mut content);
            content.write(1024, &[2; 2048]).unwrap();
            content.write(3072, &[3; 2048]).unwrap();
            content.lose(&mut Numbers::new(seed), &mut Loss::default()).unwrap();
            let mut bytes = all(&content);
            assert_eq!(bytes[..1024], [1; 1024], "seed {seed}");
            bytes.resize(5120, 0);
            let (first, second) = (&bytes[1024..3072], &bytes[3072..]);
            let count = first.iter().filter(|byte| **byte == 2).count();
            kept += usize::from(count == 2048);
            lost += usize::from(count == 0);
            torn += usize::from(count % 2048 != 0);
            later_only += usize::from(count == 0 && second == [3; 2048]);
            assert!(count.is_multiple_of(512), "seed {seed}: torn within a sector");
        }
        assert!(
            kept > 0 && lost > 0 && torn > 0 && later_only > 0,
            "{kept} {lost} {torn} {later_only}"
        );
    }

    #[test]
    fn one_seed_leaves_the_same_bytes_twice() {
        let run = |seed| {
            let (_backing, mut content) = content();
            for index in 0..20u8 {
                content.write(u64::from(index) * 700, &[index; 900]).unwrap();
            }
            content.lose(&mut Numbers::new(seed), &mut Loss::default()).unwrap();
            all(&content)
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }

    #[test]
    fn a_flipped_bit_outlives_a_loss() {
        let (_backing, mut content) = content();
        content.write(0, b"abc").unwrap();
        sync(&mut content);
        content.flip(1, 0).unwrap();
        assert_eq!(all(&content), b"acc");
        content.write(0, b"x").unwrap();
        content.forget(&mut Loss::default()).unwrap();
        assert_eq!(all(&content), b"acc");
        assert_eq!(content.flip(3, 0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
