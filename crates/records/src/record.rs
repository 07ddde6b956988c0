use crate::walk::{SliceSource, Source};
use crate::{Batch, BatchError, Compression, decompress};
use bytes::Bytes;
use types::Offset;

/// One record, decoded. Header keys may repeat, and their order counts (KIP-82).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    /// Milliseconds since 1970, −1 if the producer set none; the batch's time of append where it has one.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Fewest bytes of a record: length, attributes, two deltas, key, value, number of headers.
const RECORD_BYTES_MIN: usize = 7;

/// Decodes all records of `batch`, decompressing at most `limit` bytes. Keys and values share the
/// memory of the batch, or of the decompressed bytes. The CRC is not checked.
///
/// # Errors
/// [`BatchError::Record`] if the records contradict the header or themselves,
/// [`BatchError::Decompression`], [`BatchError::TooLarge`], [`BatchError::UnknownCompression`].
pub fn decode_records(batch: &Batch, limit: usize) -> Result<Vec<Record>, BatchError> {
    let payload = match batch.header.compression()? {
        Compression::None if batch.payload().len() > limit => return Err(BatchError::TooLarge { limit }),
        Compression::None => batch.bytes.slice(batch.bytes.len() - batch.payload().len()..),
        codec => Bytes::from(decompress(codec, batch.payload(), limit)?),
    };
    let count =
        usize::try_from(batch.header.record_count).map_err(|_| BatchError::Record("number of records is negative"))?;
    // The count is a claim; room is made for no more than can be there.
    let mut records = Vec::with_capacity(count.min(payload.len() / RECORD_BYTES_MIN));
    let mut source = SliceSource::new(&payload);
    for _ in 0..count {
        records.push(decode_record(batch, &payload, &mut source)?);
    }
    if !source.at_end()? {
        return Err(BatchError::Record("bytes follow the last record"));
    }
    Ok(records)
}

fn decode_record(batch: &Batch, payload: &Bytes, source: &mut SliceSource<'_>) -> Result<Record, BatchError> {
    let length = source.varint()?;
    let start = source.position();
    source.byte()?;
    let timestamp_delta = source.varlong()?;
    let offset_delta = source.varint()?;
    let key = field(payload, source)?;
    let value = field(payload, source)?;
    let count = usize::try_from(source.varint()?).map_err(|_| BatchError::Record("number of headers is negative"))?;
    let mut headers = Vec::with_capacity(count.min((payload.len() - source.position()) / 2));
    for _ in 0..count {
        let key = field(payload, source)?.ok_or(BatchError::Record("header key is null"))?;
        headers.push((String::from_utf8_lossy(&key).into_owned(), field(payload, source)?));
    }
    if usize::try_from(length).ok() != Some(source.position() - start) {
        return Err(BatchError::Record("length does not match the fields"));
    }
    let timestamp = if batch.header.is_log_append_time() {
        batch.header.max_timestamp
    } else {
        batch.header.base_timestamp.wrapping_add(timestamp_delta)
    };
    let offset = Offset(batch.header.base_offset.0.wrapping_add(i64::from(offset_delta)));
    Ok(Record {
        offset,
        timestamp,
        key,
        value,
        headers,
    })
}

fn field(payload: &Bytes, source: &mut SliceSource<'_>) -> Result<Option<Bytes>, BatchError> {
    match source.varint()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| BatchError::Record("field length is negative"))?;
            Ok(Some(payload.slice(source.range(length)?)))
        }
    }
}
