//! What the codec does with what the grammar says, for every API and version that is served.

mod after_codec;
mod against_codec;
mod before_codec;
mod by_topic_id;
mod frames;
mod hostile;
mod responses;

use crate::grammar::{Shape, request_shape, response_shape};
use crate::messages::{RequestKind, ResponseKind};
use crate::served::codec_version;
use crate::{ApiKey, SERVED};
use bytes::{Bytes, BytesMut};

/// Which half of an API.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Request,
    Response,
}

impl Side {
    fn shape(self, key: ApiKey) -> &'static Shape {
        match self {
            Side::Request => request_shape(key),
            Side::Response => response_shape(key),
        }
        .expect("served, so it has a grammar")
    }

    /// The codec alone: what it makes of the bytes, encoded again; and how many bytes it left.
    fn through_codec(self, key: ApiKey, version: i16, body: &[u8]) -> Result<(BytesMut, usize), String> {
        let version = codec_version(key, version);
        let mut bytes = Bytes::copy_from_slice(body);
        let mut again = BytesMut::new();
        match self {
            Side::Request => RequestKind::decode(key, &mut bytes, version)
                .map_err(|e| format!("{e:#}"))?
                .encode(&mut again, version)
                .map_err(|e| format!("encode: {e:#}"))?,
            Side::Response => ResponseKind::decode(key, &mut bytes, version)
                .map_err(|e| format!("{e:#}"))?
                .encode(&mut again, version)
                .map_err(|e| format!("encode: {e:#}"))?,
        }
        Ok((again, bytes.len()))
    }
}

/// Every version that is served and that the codec knows.
fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|range| {
        let min = range.served_min().max(range.key.valid_versions().min);
        (min..=range.max).map(|version| (range.key, version))
    })
}

/// But for what is read or written beside the codec.
fn sides() -> impl Iterator<Item = (Side, ApiKey, i16)> {
    let sides = versions().flat_map(|(key, version)| [(Side::Request, key, version), (Side::Response, key, version)]);
    let beside = [
        (Side::Response, ApiKey::DescribeLogDirs, 5),
        (Side::Request, ApiKey::OffsetCommit, 10),
        (Side::Request, ApiKey::OffsetFetch, 10),
    ];
    sides.filter(move |side| !beside.contains(side))
}
