//! From the body of a request to the request.

use crate::before_codec::request_as_known;
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
    let (known_version, mut known) = request_as_known(key, api_version, body.slice(..length));
    RequestKind::decode(key, &mut known, known_version).map_err(|e| WireError::Decode(format!("{e:#}")))
}
