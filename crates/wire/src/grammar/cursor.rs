//! A position in bytes that came from a peer.

/// The bytes ended, or are not what they must be; the reason for people.
pub(crate) type Bad = &'static str;

/// Reads forward through bytes, checking every step.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Bad> {
        if length > self.remaining() {
            return Err("longer than the bytes that are left");
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// KIP-482's unsigned varint, of 32 bits in at most five bytes.
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, Bad> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err("varint above 32 bits");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("varint longer than five bytes")
    }

    /// Passes tagged fields without knowing them; returns their number.
    pub(crate) fn skip_tagged_fields(&mut self) -> Result<usize, Bad> {
        let count = self.unsigned_varint()? as usize;
        // Two bytes are the least that a tagged field takes.
        if count > self.remaining() / 2 {
            return Err("more tagged fields than bytes left");
        }
        for _ in 0..count {
            let _tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            self.take(size)?;
        }
        Ok(count)
    }
}
