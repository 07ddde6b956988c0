use crate::codec::{reader, write_compressed};
use crate::header::{LENGTH_OVERHEAD, write_crc};
use crate::{BATCH_HEADER_LEN, Batch, BatchError, Compression};
use bytes::Bytes;
use std::io::{self, Read, Write};

/// The same records under another codec, for a topic whose `compression.type` is not `producer`: attributes,
/// length and CRC change, nothing else. A batch that has the codec already is handed back as it is. The
/// records are `decompressed` bytes when they are decompressed, as [`crate::check_client_records`] has counted (where nothing
/// is compressed, that is known here), and the new batch has at most `size_max`; nothing is held but what the codecs need.
///
/// # Errors
/// [`BatchError::TooLarge`] for either size, [`BatchError::UnknownCompression`], [`BatchError::Decompression`] and
/// [`BatchError::Compression`], also for fewer bytes than were counted.
pub fn recompress(
    batch: &Batch,
    to: Compression,
    level: Option<i32>,
    decompressed: usize,
    size_max: usize,
) -> Result<Bytes, BatchError> {
    let from = batch.header.compression()?;
    if from == to {
        return Ok(batch.bytes.clone());
    }
    let size = match from {
        Compression::None => batch.payload().len(),
        _ => decompressed,
    };
    let mut data = Limited {
        reader: reader(from, batch.payload(), size)?,
        left: size,
        passed: false,
    };
    let mut out = Bounded {
        bytes: vec![0; BATCH_HEADER_LEN],
        max: size_max.min(i32::MAX as usize),
        passed: false,
    };
    let written = write_compressed(to, level, size, &mut data, &mut out).map(drop);
    for (passed, limit) in [(data.passed, size), (out.passed, size_max)] {
        if passed {
            return Err(BatchError::TooLarge { limit });
        }
    }
    written?;
    if data.left > 0 {
        return Err(BatchError::Decompression(format!("{} bytes are missing", data.left)));
    }
    let mut bytes = out.bytes;
    let mut header = batch.header;
    // Bounded by `i32::MAX` above.
    header.batch_length = i32::try_from(bytes.len() - LENGTH_OVERHEAD).unwrap_or(i32::MAX);
    header.attributes = (header.attributes & !0x07) | to.id();
    header.write(&mut bytes);
    write_crc(&mut bytes);
    Ok(Bytes::from(bytes))
}

/// Fails at the first byte past its limit.
struct Limited<'a> {
    reader: Box<dyn Read + 'a>,
    left: usize,
    passed: bool,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => {
                self.passed = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(count)
    }
}

/// Fails at the first byte past its limit.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    passed: bool,
}

impl Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            self.passed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
