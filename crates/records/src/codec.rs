use crate::{BatchError, snappy};
use std::io::{self, Read, Write};

/// Codec of a batch's records: the low three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// The codec with this number in a batch's attributes.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn from_id(id: i16) -> Result<Self, BatchError> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(BatchError::UnknownCompression(other)),
        }
    }

    /// The codec's number in a batch's attributes.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec's name in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Decompresses `data` as it is read: memory stays at the codec's window whatever the data claims. The
/// window is bounded as well (zstd lets a frame ask for one).
///
/// # Errors
/// [`BatchError::Decompression`] where the data's very start is wrong.
pub(crate) fn reader<'a>(
    compression: Compression,
    data: &'a [u8],
    limit: usize,
) -> Result<Box<dyn Read + 'a>, BatchError> {
    Ok(match compression {
        Compression::None => Box::new(data),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(data)),
        Compression::Snappy => Box::new(snappy::Reader::new(data, limit)),
        Compression::Lz4 => Box::new(lz4::Decoder::new(data).map_err(broken)?),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(broken)?;
            // Kafka's own decoder takes windows up to 128 MiB, and levels 20 to 22 ask for them however little there is
            // (librdkafka, zstd-jni). Whatever the limit: of a window only what comes out of it is ever touched.
            decoder.window_log_max(27).map_err(broken)?;
            Box::new(decoder)
        }
    })
}

/// Decompresses `data` to at most `limit` bytes. Memory grows with what comes out, never with what the
/// data claims.
///
/// # Errors
/// [`BatchError::Decompression`]; [`BatchError::TooLarge`] at the first byte past `limit`.
pub fn decompress(compression: Compression, data: &[u8], limit: usize) -> Result<Vec<u8>, BatchError> {
    if compression == Compression::None {
        return if data.len() > limit {
            Err(BatchError::TooLarge { limit })
        } else {
            Ok(data.to_vec())
        };
    }
    let mut out = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader(compression, data, limit)?
        .take(bound)
        .read_to_end(&mut out)
        .map_err(broken)?;
    if out.len() > limit {
        return Err(BatchError::TooLarge { limit });
    }
    Ok(out)
}

/// Compresses `data`. `level` is the codec's own (`compression.gzip.level` and so on, KIP-390) and is
/// clamped to its range; `None` is Kafka's default: gzip 6, lz4 9, zstd 3. Snappy has no levels.
///
/// # Errors
/// [`BatchError::Compression`] if the codec's library gives up.
pub fn compress(compression: Compression, level: Option<i32>, data: &[u8]) -> Result<Vec<u8>, BatchError> {
    write_compressed(compression, level, data.len(), &mut &data[..], Vec::new())
}

/// As [`compress`], from a stream of `size` bytes into a stream: nothing is held but what the codec needs, which for zstd
/// depends on the size, here and at everybody who decompresses. Gives `out` back.
///
/// # Errors
/// [`BatchError::Compression`] with what reading or writing says, or the codec's library.
pub(crate) fn write_compressed<W: Write>(
    compression: Compression,
    level: Option<i32>,
    size: usize,
    data: &mut impl Read,
    mut out: W,
) -> Result<W, BatchError> {
    match compression {
        Compression::None => io::copy(data, &mut out).map(|_| out).map_err(failed),
        Compression::Gzip => {
            // −1 is Kafka's name for the default.
            let level = level.filter(|level| *level >= 0).map_or(6, |level| level.min(9));
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.unsigned_abs()));
            io::copy(data, &mut encoder)
                .and_then(|_| encoder.finish())
                .map_err(failed)
        }
        Compression::Snappy => snappy::compress(data, &mut out).map(|()| out),
        Compression::Lz4 => {
            let level = level.map_or(9, |level| level.clamp(1, 17)).unsigned_abs();
            let mut encoder = lz4::EncoderBuilder::new()
                .level(level)
                .block_mode(lz4::BlockMode::Independent)
                .block_size(lz4::BlockSize::Max64KB)
                .build(out)
                .map_err(failed)?;
            io::copy(data, &mut encoder).map_err(failed)?;
            let (out, done) = encoder.finish();
            done.map(|()| out).map_err(failed)
        }
        Compression::Zstd => {
            let level = level.map_or(3, |level| level.clamp(-131_072, 22));
            let mut encoder = zstd::stream::write::Encoder::new(out, level).map_err(failed)?;
            encoder.set_pledged_src_size(Some(size as u64)).map_err(failed)?;
            io::copy(data, &mut encoder)
                .and_then(|_| encoder.finish())
                .map_err(failed)
        }
    }
}

fn broken(error: std::io::Error) -> BatchError {
    BatchError::Decompression(error.to_string())
}

fn failed(error: std::io::Error) -> BatchError {
    BatchError::Compression(error.to_string())
}
