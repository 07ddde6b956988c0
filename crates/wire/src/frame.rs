//! The header of a request.

use crate::grammar::Cursor;
use crate::{ApiKey, WireError};
use bytes::Bytes;

/// One request as it came, its header read and its body not looked at yet.
#[derive(Debug, Clone)]
pub struct RequestFrame {
    /// Key of the API; may be one that nobody knows.
    pub api_key: i16,
    /// Version; may be one that is not served.
    pub api_version: i16,
    /// Goes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
    /// What follows the header; a slice of the frame.
    pub body: Bytes,
    /// Bytes of the frame without its length prefix, for budgets and metrics.
    pub size: usize,
}

/// Reads the request header from a frame (without its length prefix).
///
/// ```text
/// v1  i16 api_key | i16 api_version | i32 correlation_id | nullable string client_id (i16 length)
/// v2  v1 | tagged fields
/// ```
/// Whether it is v1 or v2 follows from key and version. An ApiVersions request of a version that is not
/// known is read with v2, as in Kafka; its body is empty here because nobody can decode it, and the caller
/// answers in version 0 with UNSUPPORTED_VERSION (KIP-511). For any other key or version that is unknown the
/// body is whatever follows the client id.
///
/// # Errors
/// [`WireError::Header`] if the header is cut short, or malformed.
pub fn parse_frame(frame: Bytes) -> Result<RequestFrame, WireError> {
    let size = frame.len();
    let mut cursor = Cursor::new(&frame);
    let short = |_| WireError::Header("cut short");
    let api_key = i16::from_be_bytes(cursor.array().map_err(short)?);
    let api_version = i16::from_be_bytes(cursor.array().map_err(short)?);
    let correlation_id = i32::from_be_bytes(cursor.array().map_err(short)?);
    let client_id = match i16::from_be_bytes(cursor.array().map_err(short)?) {
        -1 => None,
        length => {
            let length = usize::try_from(length).map_err(|_| WireError::Header("negative client id length"))?;
            let id = cursor.take(length).map_err(short)?;
            // Kafka reads a client id that is not UTF-8 with replacement characters.
            Some(String::from_utf8_lossy(id).into_owned())
        }
    };
    let known = ApiKey::try_from(api_key).ok();
    if known.is_some_and(|key| key.request_header_version(api_version) >= 2) {
        cursor
            .skip_tagged_fields()
            .map_err(|_| WireError::Header("malformed tagged fields"))?;
    }
    let at = cursor.position();
    let undecodable = known == Some(ApiKey::ApiVersions) && !crate::serves(api_key, api_version);
    let body = if undecodable { Bytes::new() } else { frame.slice(at..) };
    Ok(RequestFrame {
        api_key,
        api_version,
        correlation_id,
        client_id,
        body,
        size,
    })
}
