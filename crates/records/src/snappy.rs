//! Snappy as Kafka's clients write it.
//!
//! ```text
//!  0                8          12         16
//!  ├────────────────┼──────────┼──────────┼────────┬─────────────┬────────┬──────────
//!  │82 "SNAPPY" 00  │version 1 │compat. 1 │length n│raw block, n │length m│ …
//!  ├────────────────┼──────────┼──────────┼────────┴─────────────┴────────┴──────────
//! ```
//!
//! This is the framing of the xerial library, big-endian, blocks of 32 KiB. Some clients send one raw
//! block without it; both are read.

use crate::BatchError;
use std::io::{self, Read, Write};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK_BYTES: usize = 32 * 1024;
/// A copy element is 3 bytes and stands for at most 64: no honest block grows more than this.
const EXPANSION_MAX: usize = 22;

/// Compresses with xerial framing.
pub(crate) fn compress(data: &mut impl Read, out: &mut impl Write) -> Result<(), BatchError> {
    let failed = |error: io::Error| BatchError::Compression(error.to_string());
    out.write_all(&HEADER).map_err(failed)?;
    let mut encoder = snap::raw::Encoder::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        block.clear();
        data.take(BLOCK_BYTES as u64).read_to_end(&mut block).map_err(failed)?;
        if block.is_empty() {
            return Ok(());
        }
        let packed = encoder
            .compress_vec(&block)
            .map_err(|error| BatchError::Compression(error.to_string()))?;
        // At most 32 KiB and a sixth, so it fits.
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        out.write_all(&length.to_be_bytes()).map_err(failed)?;
        out.write_all(&packed).map_err(failed)?;
    }
}

/// Decompresses block by block; holds one decompressed block, none larger than the limit.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    taken: usize,
    limit: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8], limit: usize) -> Self {
        Self {
            rest: data,
            framed: data.starts_with(&MAGIC),
            block: Vec::new(),
            taken: 0,
            limit,
        }
    }

    /// Cuts the next raw block off; `None` at the end.
    fn next_raw(&mut self) -> io::Result<Option<&'a [u8]>> {
        if !self.framed {
            return Ok((!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest)));
        }
        // A writer that flushed in between starts over with another header.
        while self.rest.starts_with(&MAGIC) {
            self.rest = self
                .rest
                .get(HEADER.len()..)
                .ok_or_else(|| invalid("snappy header is cut"))?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or_else(|| invalid("snappy length is cut"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > rest.len() {
            return Err(invalid("snappy block is cut"));
        }
        let (raw, rest) = rest.split_at(length);
        self.rest = rest;
        Ok(Some(raw))
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            let Some(raw) = self.next_raw()? else {
                return Ok(0);
            };
            let claimed = snap::raw::decompress_len(raw).map_err(|error| invalid(&error.to_string()))?;
            if claimed > raw.len().saturating_mul(EXPANSION_MAX) {
                return Err(invalid("snappy block claims more than it can hold"));
            }
            // One byte past the limit is enough for the caller to see that it is passed.
            if claimed > self.limit {
                self.block = vec![0; self.limit.saturating_add(1)];
            } else {
                self.block.resize(claimed, 0);
                snap::raw::Decoder::new()
                    .decompress(raw, &mut self.block)
                    .map_err(|error| invalid(&error.to_string()))?;
            }
            self.taken = 0;
        }
        let count = out.len().min(self.block.len() - self.taken);
        out[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
