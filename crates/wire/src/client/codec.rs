//! Requests out, responses in.

use crate::after_codec::response_as_known;
use crate::by_topic_id;
use crate::encode::seal;
use crate::grammar::{Cursor, check, response_shape};
use crate::messages::{RequestKind, ResponseKind};
use crate::served::codec_version;
use crate::{ApiKey, WireError};
use bytes::{BufMut, Bytes, BytesMut};

/// Encodes a request with its length prefix and header.
///
/// # Errors
/// [`WireError::Encode`] if the version is unknown or cannot carry what is set, or the client id is longer than
/// 32,767 bytes.
pub fn encode_request(
    key: ApiKey,
    version: i16,
    correlation: i32,
    client_id: &str,
    request: &RequestKind,
) -> Result<Bytes, WireError> {
    let id_length = i16::try_from(client_id.len()).map_err(|_| WireError::Encode("client id too long".to_owned()))?;
    let mut buffer = BytesMut::with_capacity(128);
    buffer.put_i32(0);
    buffer.put_i16(key as i16);
    buffer.put_i16(version);
    buffer.put_i32(correlation);
    buffer.put_i16(id_length);
    buffer.put_slice(client_id.as_bytes());
    if key.request_header_version(version) >= 2 {
        buffer.put_u8(0);
    }
    if by_topic_id::is(key, version) {
        let mut named = request.clone();
        by_topic_id::name_by_id(&mut named);
        let mut body = BytesMut::new();
        encode_known(&named, by_topic_id::BY_NAME, &mut body)?;
        let body = by_topic_id::with_ids(key, &body).map_err(|bad| WireError::Encode(bad.to_owned()))?;
        buffer.put_slice(&body);
    } else {
        encode_known(request, codec_version(key, version), &mut buffer)?;
    }
    seal(buffer)
}

fn encode_known(request: &RequestKind, version: i16, out: &mut BytesMut) -> Result<(), WireError> {
    request
        .encode(out, version)
        .map_err(|e| WireError::Encode(format!("{e:#}")))
}

/// Decodes a response frame (without its length prefix) to a request of this key and version; gives its
/// correlation id too. As safe against hostile bytes as the broker's side.
///
/// # Errors
/// [`WireError::Header`], [`WireError::Malformed`], [`WireError::Decode`]; [`WireError::UnknownApi`] for a key
/// without a grammar, [`WireError::UnsupportedVersion`] for a version that the codec does not know.
pub fn decode_response(key: ApiKey, version: i16, frame: Bytes) -> Result<(i32, ResponseKind), WireError> {
    let shape = response_shape(key).ok_or(WireError::UnknownApi(key as i16))?;
    let known = key.valid_versions();
    let codec_version = codec_version(key, version);
    if !(known.min..=known.max).contains(&codec_version) {
        return Err(WireError::UnsupportedVersion {
            api_key: key as i16,
            api_version: version,
        });
    }
    let mut cursor = Cursor::new(&frame);
    let correlation = i32::from_be_bytes(cursor.array().map_err(|_| WireError::Header("cut short"))?);
    if key.response_header_version(version) >= 1 {
        cursor
            .skip_tagged_fields()
            .map_err(|_| WireError::Header("malformed tagged fields"))?;
    }
    let body = frame.slice(cursor.position()..);
    let length = check(shape, version, &body)?;
    let mut known_body = response_as_known(key, version, body.slice(..length))?;
    let response =
        ResponseKind::decode(key, &mut known_body, codec_version).map_err(|e| WireError::Decode(format!("{e:#}")))?;
    Ok((correlation, response))
}
