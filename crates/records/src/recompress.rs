use crate::header::{LENGTH_OVERHEAD, write_crc};
use crate::{BATCH_HEADER_LEN, Batch, BatchError, Compression, compress, decompress};
use bytes::Bytes;

/// The same records under another codec, for a topic whose `compression.type` is not `producer`: attributes,
/// length and CRC change, nothing else. A batch that has the codec already is handed back as it is. At
/// most `limit` bytes are decompressed.
///
/// # Errors
/// [`BatchError::Decompression`], [`BatchError::TooLarge`], [`BatchError::UnknownCompression`],
/// [`BatchError::Compression`].
pub fn recompress(batch: &Batch, to: Compression, level: Option<i32>, limit: usize) -> Result<Bytes, BatchError> {
    let from = batch.header.compression()?;
    if from == to {
        return Ok(batch.bytes.clone());
    }
    let payload = compress(to, level, &decompress(from, batch.payload(), limit)?)?;
    let length =
        i32::try_from(payload.len() + BATCH_HEADER_LEN - LENGTH_OVERHEAD).map_err(|_| BatchError::TooLarge {
            limit: i32::MAX as usize,
        })?;
    let mut header = batch.header;
    header.batch_length = length;
    header.attributes = (header.attributes & !0x07) | to.id();
    let mut bytes = Vec::with_capacity(BATCH_HEADER_LEN + payload.len());
    bytes.resize(BATCH_HEADER_LEN, 0);
    header.write(&mut bytes);
    bytes.extend_from_slice(&payload);
    write_crc(&mut bytes);
    Ok(Bytes::from(bytes))
}
