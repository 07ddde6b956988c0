//! From the body of a request to the request.

use crate::before_codec::request_as_known;
use crate::by_topic_id;
use crate::grammar::{check, request_shape};
use crate::messages::RequestKind;
use crate::{ApiKey, RequestFrame, WireError, serves};
use bytes::Bytes;

/// Decodes the body of a request; records, names and other bytes in it are slices of the frame.
///
/// # Errors
/// [`WireError::UnknownApi`] and [`WireError::UnsupportedVersion`] for what is not served,
/// [`WireError::Malformed`] and [`WireError::Decode`] for a body that is not of its shape. Kafka closes the
/// connection for all of them but an unknown ApiVersions version.
pub fn decode_request(frame: &RequestFrame) -> Result<RequestKind, WireError> {
    let (api_key, api_version) = (frame.api_key, frame.api_version);
    let key = ApiKey::try_from(api_key).map_err(|()| WireError::UnknownApi(api_key))?;
    if !serves(api_key, api_version) {
        return Err(WireError::UnsupportedVersion { api_key, api_version });
    }
    decode_body(key, api_version, frame.body.clone())
}

/// As [`decode_request`], for every API that has a grammar.
pub(crate) fn decode_body(key: ApiKey, api_version: i16, body: Bytes) -> Result<RequestKind, WireError> {
    let shape = request_shape(key).ok_or(WireError::UnknownApi(key as i16))?;
    let length = check(shape, api_version, &body)?;
    let body = body.slice(..length);
    if by_topic_id::is(key, api_version) {
        let named = by_topic_id::with_names(key, &body).map_err(|bad| WireError::Decode(bad.to_owned()))?;
        let mut request = decode_known(key, by_topic_id::BY_NAME, named)?;
        by_topic_id::take_ids(&mut request);
        return Ok(request);
    }
    let (known_version, known) = request_as_known(key, api_version, body);
    decode_known(key, known_version, known)
}

fn decode_known(key: ApiKey, version: i16, mut body: Bytes) -> Result<RequestKind, WireError> {
    RequestKind::decode(key, &mut body, version).map_err(|e| WireError::Decode(format!("{e:#}")))
}
