//! Versions newer than the codec: answers to DescribeLogDirs 5.
//!
//! ```text
//! each result  v4: … total_bytes | usable_bytes |             tagged fields
//!              v5: … total_bytes | usable_bytes | is_cordoned | tagged fields     (KIP-1066)
//! ```

use crate::grammar::{Bad, Cursor};
use crate::messages::{DescribeLogDirsResponse, ResponseKind};
use crate::{ApiKey, WireError};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

/// Writes the body of a response that the codec cannot; false if it can. No directory of ours is ever cordoned.
///
/// # Errors
/// [`WireError::Encode`] for a string that is too long.
pub(crate) fn encode(response: &ResponseKind, version: i16, out: &mut BytesMut) -> Result<bool, WireError> {
    match response {
        ResponseKind::DescribeLogDirs(r) if version >= 5 => describe_log_dirs(r, out)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn describe_log_dirs(response: &DescribeLogDirsResponse, out: &mut BytesMut) -> Result<(), WireError> {
    out.put_i32(response.throttle_time_ms);
    out.put_i16(response.error_code);
    unsigned_varint(out, response.results.len() + 1)?;
    for result in &response.results {
        // Without tagged fields version 4 ends in a zero for their number: here it says "not cordoned".
        result.encode(out, 4).map_err(|e| WireError::Encode(format!("{e:#}")))?;
        out.put_u8(0);
    }
    out.put_u8(0);
    Ok(())
}

fn unsigned_varint(out: &mut BytesMut, value: usize) -> Result<(), WireError> {
    let mut left = u32::try_from(value).map_err(|_| WireError::Encode("array too long".to_owned()))?;
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
    Ok(())
}

/// The body of a response as the codec's newest version writes it: what is newer is left out. `body` has passed the
/// grammar.
///
/// # Errors
/// [`WireError::Decode`] for one that has not.
pub(crate) fn response_as_known(key: ApiKey, version: i16, body: Bytes) -> Result<Bytes, WireError> {
    match (key, version) {
        (ApiKey::DescribeLogDirs, 5) => without_cordoned(&body).map_err(|bad| WireError::Decode(bad.to_owned())),
        _ => Ok(body),
    }
}

fn without_cordoned(body: &[u8]) -> Result<Bytes, Bad> {
    let mut known = BytesMut::with_capacity(body.len());
    let mut cursor = Cursor::new(body);
    let mut kept = 0;
    cursor.take(4 + 2)?;
    for _ in 1..cursor.unsigned_varint()? {
        cursor.take(2)?;
        compact_string(&mut cursor)?;
        for _ in 1..cursor.unsigned_varint()? {
            compact_string(&mut cursor)?;
            for _ in 1..cursor.unsigned_varint()? {
                cursor.take(4 + 8 + 8 + 1)?;
                cursor.skip_tagged_fields()?;
            }
            cursor.skip_tagged_fields()?;
        }
        cursor.take(8 + 8)?;
        known.put_slice(&body[kept..cursor.position()]);
        cursor.take(1)?;
        kept = cursor.position();
        cursor.skip_tagged_fields()?;
    }
    known.put_slice(&body[kept..]);
    Ok(known.freeze())
}

fn compact_string(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    let length = cursor.unsigned_varint()?.saturating_sub(1);
    cursor.take(length as usize).map(drop)
}
