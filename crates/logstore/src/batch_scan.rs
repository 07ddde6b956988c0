use crate::directory::Directory;
use host::File;
use records::{BATCH_HEADER_LEN, BatchHeader};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use types::{Offset, limits};

/// Walks the batches of one file from a batch's start, reading a chunk at a time. Ends at the first bytes
/// that are no whole batch.
pub(crate) struct BatchScan {
    file: Arc<dyn File>,
    position: u64,
    end: u64,
    chunk: usize,
    buffer: Vec<u8>,
    buffer_start: u64,
    pub(crate) bytes_read: u64,
}

impl BatchScan {
    /// `chunk`: bytes per read; small for a look-up, large for a whole segment.
    pub(crate) fn new(file: Arc<dyn File>, position: u64, end: u64, chunk: usize) -> Self {
        Self {
            file,
            position,
            end,
            chunk,
            buffer: Vec::new(),
            buffer_start: 0,
            bytes_read: 0,
        }
    }

    /// Where the next batch starts.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// `len` bytes at `position`, which must lie before the end.
    fn bytes(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let covered =
            position >= self.buffer_start && position + len as u64 <= self.buffer_start + self.buffer.len() as u64;
        if !covered {
            let wanted = (len.max(self.chunk) as u64).min(self.end - position) as usize;
            self.buffer.resize(wanted, 0);
            self.buffer_start = position;
            self.bytes_read += wanted as u64;
            if let Err(error) = self.file.read_exact_at(&mut self.buffer, position) {
                self.buffer.clear();
                return Err(error);
            }
        }
        let start = (position - self.buffer_start) as usize;
        Ok(&self.buffer[start..start + len])
    }

    /// The first batch from here on whose last offset is at least `target`.
    pub(crate) fn first_reaching(&mut self, target: Offset) -> io::Result<Option<(u64, BatchHeader)>> {
        while let Some((position, header)) = self.next_header()? {
            if header.last_offset() >= target {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    /// The next batch's position and header.
    pub(crate) fn next_header(&mut self) -> io::Result<Option<(u64, BatchHeader)>> {
        let position = self.position;
        if position + BATCH_HEADER_LEN as u64 > self.end {
            return Ok(None);
        }
        let Ok(header) = BatchHeader::parse(self.bytes(position, BATCH_HEADER_LEN)?) else {
            return Ok(None);
        };
        let size = header.size();
        // A length that no batch can have would make us read, and hold, what is no batch.
        if size > limits::SOCKET_REQUEST_BYTES_MAX || position + size as u64 > self.end || header.last_offset_delta < 0
        {
            return Ok(None);
        }
        self.position += size as u64;
        Ok(Some((position, header)))
    }

    /// The next batch with its bytes.
    pub(crate) fn next_batch(&mut self) -> io::Result<Option<(u64, BatchHeader, &[u8])>> {
        match self.next_header()? {
            Some((position, header)) => Ok(Some((position, header, self.bytes(position, header.size())?))),
            None => Ok(None),
        }
    }
}

/// Headers of a log's batches from some offset on, across segments. Blocking: for a pool, or for recovery.
pub struct HeaderScan {
    dir: Arc<Directory>,
    /// (path, position to start at, end of what is valid) of the segments still to come.
    segments: VecDeque<(PathBuf, u64, u64)>,
    current: Option<BatchScan>,
    from: Offset,
    bytes_read: u64,
}

impl HeaderScan {
    pub(crate) fn new(dir: Arc<Directory>, segments: VecDeque<(PathBuf, u64, u64)>, from: Offset) -> Self {
        Self {
            dir,
            segments,
            current: None,
            from,
            bytes_read: 0,
        }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read + self.current.as_ref().map_or(0, |scan| scan.bytes_read)
    }

    fn advance(&mut self) -> io::Result<Option<BatchHeader>> {
        loop {
            let scan = match &mut self.current {
                Some(scan) => scan,
                None => {
                    let Some((path, start, end)) = self.segments.pop_front() else {
                        return Ok(None);
                    };
                    let file = self.dir.open_file(&path)?;
                    self.current.insert(BatchScan::new(file, start, end, 256 * 1024))
                }
            };
            match scan.next_header()? {
                Some((_, header)) if header.last_offset() < self.from => {}
                Some((_, header)) => return Ok(Some(header)),
                None => self.bytes_read += self.current.take().map_or(0, |scan| scan.bytes_read),
            }
        }
    }
}

impl Iterator for HeaderScan {
    type Item = io::Result<BatchHeader>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
