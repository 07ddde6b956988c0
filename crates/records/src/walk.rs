//! Walks the records of a batch without keeping any of them: over a slice where nothing is compressed
//! (no allocation at all), over a stream with one small buffer where it is.

use crate::BatchError;
use std::io::{ErrorKind, Read};

const BUFFER_BYTES: usize = 16 * 1024;

/// Where the bytes of records come from.
pub(crate) trait Source {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, BatchError>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), BatchError>;
    /// Bytes taken so far.
    fn position(&self) -> usize;
    /// Whether nothing is left.
    fn at_end(&mut self) -> Result<bool, BatchError>;

    /// A zigzag varint of 32 bits.
    fn varint(&mut self) -> Result<i32, BatchError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0x0f {
                return Err(BatchError::Record("varint is longer than 32 bits"));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A zigzag varint of 64 bits.
    fn varlong(&mut self) -> Result<i64, BatchError> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            if shift == 63 && byte > 0x01 {
                return Err(BatchError::Record("varint is longer than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

/// Records that are not compressed.
pub(crate) struct SliceSource<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> SliceSource<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bytes.
    pub(crate) fn range(&mut self, count: usize) -> Result<std::ops::Range<usize>, BatchError> {
        let start = self.position;
        self.skip(count)?;
        Ok(start..self.position)
    }
}

impl Source for SliceSource<'_> {
    fn byte(&mut self) -> Result<u8, BatchError> {
        let byte = *self
            .bytes
            .get(self.position)
            .ok_or(BatchError::Record("records end early"))?;
        self.position += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), BatchError> {
        if count > self.bytes.len() - self.position {
            return Err(BatchError::Record("records end early"));
        }
        self.position += count;
        Ok(())
    }

    fn position(&self) -> usize {
        self.position
    }

    fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.position == self.bytes.len())
    }
}

/// Records that are decompressed on the way, up to `limit` bytes.
pub(crate) struct StreamSource<'a> {
    reader: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` taken, and filled.
    taken: usize,
    filled: usize,
    /// Bytes before the buffer.
    before: usize,
    limit: usize,
}

impl<'a> StreamSource<'a> {
    pub(crate) fn new(reader: Box<dyn Read + 'a>, limit: usize) -> Self {
        Self {
            reader,
            buffer: vec![0; BUFFER_BYTES],
            taken: 0,
            filled: 0,
            before: 0,
            limit,
        }
    }

    /// Bytes that came out of decompression so far, looked at or not.
    pub(crate) fn decompressed(&self) -> usize {
        self.before + self.filled
    }

    /// Reads on once the buffer is used up; false at the end.
    fn fill(&mut self) -> Result<bool, BatchError> {
        self.before += self.filled;
        self.taken = 0;
        self.filled = 0;
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(count) => {
                    self.filled = count;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(BatchError::Decompression(error.to_string())),
            }
        }
        if self.before + self.filled > self.limit {
            return Err(BatchError::TooLarge { limit: self.limit });
        }
        Ok(self.filled > 0)
    }
}

impl Source for StreamSource<'_> {
    fn byte(&mut self) -> Result<u8, BatchError> {
        if self.taken == self.filled && !self.fill()? {
            return Err(BatchError::Record("records end early"));
        }
        let byte = self.buffer[self.taken];
        self.taken += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), BatchError> {
        let mut left = count;
        loop {
            let step = left.min(self.filled - self.taken);
            self.taken += step;
            left -= step;
            if left == 0 {
                return Ok(());
            }
            if !self.fill()? {
                return Err(BatchError::Record("records end early"));
            }
        }
    }

    fn position(&self) -> usize {
        self.before + self.taken
    }

    fn at_end(&mut self) -> Result<bool, BatchError> {
        Ok(self.taken == self.filled && !self.fill()?)
    }
}

/// What the check of a batch wants to know of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordView {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Passes over one record and answers what it saw. Layout, all lengths zigzag varints, −1 for null:
///
/// ```text
/// length │ attributes i8 │ timestamp delta │ offset delta │ key length, key │ value length, value │
/// header count │ { key length, key │ value length, value } …
/// ```
pub(crate) fn walk_record(source: &mut impl Source) -> Result<RecordView, BatchError> {
    let length = source.varint()?;
    let start = source.position();
    let length = usize::try_from(length).map_err(|_| BatchError::Record("length is negative"))?;
    source.byte()?;
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    let has_key = skip_field(source, start, length)?;
    skip_field(source, start, length)?;
    let headers = source.varint()?;
    if headers < 0 {
        return Err(BatchError::Record("number of headers is negative"));
    }
    for _ in 0..headers {
        if !skip_field(source, start, length)? {
            return Err(BatchError::Record("header key is null"));
        }
        skip_field(source, start, length)?;
    }
    if source.position() - start != length {
        return Err(BatchError::Record("length does not match the fields"));
    }
    Ok(RecordView {
        timestamp_delta,
        offset_delta,
        has_key,
    })
}

/// Passes over a nullable field; false if it is null. Refuses one that leaves its record, so that a
/// stream is never decompressed further than the record claims to reach.
fn skip_field(source: &mut impl Source, start: usize, length: usize) -> Result<bool, BatchError> {
    let field = source.varint()?;
    let Ok(count) = usize::try_from(field) else {
        return if field == -1 {
            Ok(false)
        } else {
            Err(BatchError::Record("field length is negative"))
        };
    };
    if count > (start + length).saturating_sub(source.position()) {
        return Err(BatchError::Record("field is longer than its record"));
    }
    source.skip(count)?;
    Ok(true)
}
