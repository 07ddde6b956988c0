use crate::directory::{Directory, lock};
use crate::read_once::{ReadOnce, SegmentKey};
use bytes::Bytes;
use host::{DIRECT_ALIGNMENT, File};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use types::limits;

/// Reads around the system's page cache (`O_DIRECT`) of what nobody has read of late: a reader that is far behind goes through a
/// log once. The page cache would take fresh memory for every byte of it, drop what others read for that, and cost several times
/// the processor's time. Who comes second reads as ever, and leaves it in memory for whoever comes third. ADR 14.
#[derive(Default)]
pub(crate) struct DirectReads {
    once: Mutex<ReadOnce>,
    spare: Arc<Spare>,
    /// The file system has no such reads.
    impossible: AtomicBool,
}

/// Buffers that are used again: fresh memory is dear.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

/// Of one segment, which nobody writes to.
#[derive(Clone)]
pub struct DirectRead {
    dir: Arc<Directory>,
    segment: SegmentKey,
}

impl DirectRead {
    pub(crate) fn new(dir: Arc<Directory>, segment: SegmentKey) -> Self {
        Self { dir, segment }
    }

    /// The range, or `None` if it is to be read as any other: it is short, or in memory, or was read so before, or cannot be.
    pub(crate) fn read(&self, file: &dyn File, position: u64, len: usize) -> Option<Bytes> {
        let reads = &self.dir.direct_reads;
        let wanted = len >= limits::DIRECT_READ_BYTES_MIN
            && !reads.impossible.load(Ordering::Relaxed)
            && !file.is_cached(position, len as u64)
            && lock(&reads.once).is_first(self.segment, position..position + len as u64);
        if !wanted {
            return None;
        }
        match reads.read(file, position, len) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let kinds = [io::ErrorKind::Unsupported, io::ErrorKind::InvalidInput];
                if kinds.contains(&error.kind()) && !reads.impossible.swap(true, Ordering::Relaxed) {
                    tracing::info!(directory = %self.dir.path.display(), %error,
                        "the file system has no reads around the page cache: consumers that are far behind cost more");
                }
                // What is wrong with the file, if anything, the ordinary read will tell.
                None
            }
        }
    }
}

impl DirectReads {
    fn read(&self, file: &dyn File, position: u64, len: usize) -> io::Result<Bytes> {
        let page = DIRECT_ALIGNMENT as u64;
        let before = usize::try_from(position % page).map_err(io::Error::other)?;
        let whole = (before + len).next_multiple_of(DIRECT_ALIGNMENT);
        let mut buffer = Buffer::take(&self.spare, whole);
        let into = buffer.aligned(whole)?;
        let mut done = 0;
        // Short of the end only what was cut off between two pages is read again.
        while done < before + len {
            let read = file.read_direct_at(&mut into[done..], position - before as u64 + done as u64)?;
            done += read;
            if read == 0 || (done < before + len && !done.is_multiple_of(DIRECT_ALIGNMENT)) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        buffer.start += before;
        buffer.len = len;
        Ok(Bytes::from_owner(buffer))
    }
}

/// Goes back to the others when nobody reads its bytes any more.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    spare: Arc<Spare>,
}

impl Buffer {
    /// For so many bytes from an aligned address on.
    fn take(spare: &Arc<Spare>, bytes: usize) -> Self {
        let bytes = bytes + DIRECT_ALIGNMENT;
        // What is much smaller has memory of its own, so that nobody holds much more than what he reads.
        let usual = limits::DIRECT_BUFFER_BYTES;
        let memory = match bytes <= usual && bytes * 2 > usual {
            true => lock(&spare.0).pop().unwrap_or_else(|| vec![0; usual]),
            false => vec![0; bytes],
        };
        Self {
            memory,
            start: 0,
            len: 0,
            spare: spare.clone(),
        }
    }

    fn aligned(&mut self, bytes: usize) -> io::Result<&mut [u8]> {
        self.start = self.memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
        let range = self.start..self.start.saturating_add(bytes);
        self.memory
            .get_mut(range)
            .ok_or_else(|| io::Error::other("no aligned memory"))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.len() == limits::DIRECT_BUFFER_BYTES {
            let mut spare = lock(&self.spare.0);
            if spare.len() < limits::DIRECT_BUFFERS_KEPT {
                spare.push(std::mem::take(&mut self.memory));
            }
        }
    }
}
