use super::RecordError;
use bytes::Bytes;

/// Reads the fields of a record; what it gives shares the record's memory, or is a copy.
pub(super) struct Reader<'a> {
    all: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(all: &'a Bytes) -> Self {
        Self { all, at: 0 }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, RecordError> {
        let end = self.at.checked_add(length).ok_or(RecordError::Length)?;
        if end > self.all.len() {
            return Err(RecordError::Short);
        }
        let taken = self.all.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N)?);
        Ok(out)
    }

    pub(super) fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Length)
    }

    /// A length, or `None` for null.
    fn length(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>, RecordError> {
        let length = match (flexible, wide) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, true) => i64::from(self.i32()?),
            (false, false) => i64::from(self.i16()?),
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| RecordError::Length),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, RecordError> {
        self.string_of(false)
    }

    pub(super) fn string_of(&mut self, flexible: bool) -> Result<String, RecordError> {
        self.nullable_string_of(flexible)?.ok_or(RecordError::Length)
    }

    pub(super) fn nullable_string_of(&mut self, flexible: bool) -> Result<Option<String>, RecordError> {
        let Some(length) = self.length(flexible, false)? else {
            return Ok(None);
        };
        let text = self.take(length)?;
        let text = std::str::from_utf8(&text).map_err(|_| RecordError::Text)?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn bytes_of(&mut self, flexible: bool) -> Result<Bytes, RecordError> {
        let length = self.length(flexible, true)?.ok_or(RecordError::Length)?;
        // A copy: what is kept of a record must not hold the whole of what was read with it.
        self.take(length).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    /// The number of elements, which is no more than there are bytes left.
    pub(super) fn array_of(&mut self, flexible: bool) -> Result<usize, RecordError> {
        let count = self.length(flexible, true)?.ok_or(RecordError::Length)?;
        if count > self.all.len() - self.at {
            return Err(RecordError::Length);
        }
        Ok(count)
    }

    pub(super) fn tagged_fields(&mut self) -> Result<Vec<(u32, Bytes)>, RecordError> {
        let mut fields = Vec::new();
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = usize::try_from(self.varint()?).map_err(|_| RecordError::Length)?;
            fields.push((tag, self.take(length)?));
        }
        Ok(fields)
    }
}
