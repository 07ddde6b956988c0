use host::{Disk, File, OpenMode};
use records::{BATCH_HEADER_LEN, BatchHeader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::{LeaderEpoch, Offset};

/// What identifies the bytes of a batch: its place, the epoch that it was written in, and the CRC over the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub base: Offset,
    pub next: Offset,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
}

/// Reads the batches of a replica from its disk as they are committed, each once.
#[derive(Debug, Default)]
pub struct ReplicaReader {
    /// The segment and where in it the next batch begins.
    at: Option<(PathBuf, u64)>,
    log_start: Offset,
    next: Offset,
}

/// Bytes that one look reads at most.
const READ_MAX: u64 = 256 * 1024;

impl ReplicaReader {
    /// Whether there is anything below `until` that was not read.
    #[must_use]
    pub fn is_due(&self, log_start: Offset, until: Offset) -> bool {
        log_start != self.log_start || self.next < until
    }

    /// Shows every whole batch below `until` that it was not shown before. What cannot be read now (files are being
    /// cut or copied) is left for another time.
    pub fn read(
        &mut self,
        disk: &Arc<dyn Disk>,
        places: impl Iterator<Item = PathBuf>,
        log_start: Offset,
        until: Offset,
        mut show: impl FnMut(Batch),
    ) {
        if log_start != self.log_start {
            *self = Self {
                log_start,
                ..Self::default()
            };
        }
        let mut places = places.filter(|path| disk.exists(path));
        let Some(directory) = places.next() else { return };
        let mut tries = 0;
        while self.next < until && tries < 3 {
            tries += 1;
            let Some((path, position)) = self.place(disk, &directory) else {
                return;
            };
            if self.read_segment(disk, path, position, until, &mut show).is_none() {
                // Another file by now: from its start.
                self.at = None;
                return;
            }
        }
    }

    /// Where the next batch should be.
    fn place(&self, disk: &Arc<dyn Disk>, directory: &Path) -> Option<(PathBuf, u64)> {
        let segments = disk.read_dir(directory).ok()?.into_iter().filter_map(|entry| {
            let base: i64 = entry.name.strip_suffix(".log")?.parse().ok()?;
            Some((base, directory.join(&entry.name)))
        });
        let wanted = self.next.max(self.log_start).0;
        let (_, path) = segments
            .filter(|(base, _)| *base <= wanted)
            .max_by_key(|(base, _)| *base)?;
        match &self.at {
            Some((at, position)) if *at == path => Some((path, *position)),
            _ => Some((path, 0)),
        }
    }

    fn read_segment(
        &mut self,
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        mut position: u64,
        until: Offset,
        show: &mut impl FnMut(Batch),
    ) -> Option<()> {
        let file: Arc<dyn File> = disk.open(&path, OpenMode::Read).ok()?;
        let len = file.len().ok()?.saturating_sub(position).min(READ_MAX);
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut bytes, position).ok()?;
        let mut rest = &bytes[..];
        while rest.len() >= BATCH_HEADER_LEN {
            let header = BatchHeader::parse(rest).ok()?;
            if header.next_offset() > until || header.size() > rest.len() {
                break;
            }
            if header.base_offset >= self.next {
                show(Batch {
                    base: header.base_offset,
                    next: header.next_offset(),
                    leader_epoch: header.leader_epoch,
                    crc: header.crc,
                });
                self.next = header.next_offset();
            }
            rest = &rest[header.size()..];
            position += header.size() as u64;
        }
        self.at = Some((path, position));
        Some(())
    }
}
