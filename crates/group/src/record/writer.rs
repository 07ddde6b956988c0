/// Writes the fields of a record. The coordinator keeps no string that an int16 cannot measure; a longer one is cut, so that
/// a record can be read in any case.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(version: i16) -> Self {
        Self(version.to_be_bytes().to_vec())
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        let text = cut(text, i16::MAX as usize);
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.raw(&length.to_be_bytes());
        self.raw(text.as_bytes());
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.raw(&(-1i16).to_be_bytes()),
        }
    }

    pub(super) fn compact_string(&mut self, text: &str) {
        let text = cut(text, i16::MAX as usize);
        self.varint(u32::try_from(text.len() + 1).unwrap_or(u32::MAX));
        self.raw(text.as_bytes());
    }

    pub(super) fn byte_field(&mut self, bytes: &[u8]) {
        self.array(bytes.len());
        self.raw(bytes);
    }

    pub(super) fn array(&mut self, count: usize) {
        self.i32(i32::try_from(count).unwrap_or(i32::MAX));
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `text` without what is beyond `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
