//! Valid messages for the fuzz targets to start from.

use crate::ApiKey;
use crate::grammar::sample::{Style, sample};
use crate::grammar::{request_shape, response_shape};

pub use crate::grammar::sample::Words;

/// The body of a request that is valid for this key and version, different for each `seed`; `None` for a key without
/// a grammar.
#[must_use]
pub fn request_body(key: ApiKey, version: i16, seed: u64, words: Words) -> Option<Vec<u8>> {
    let style = Style {
        words,
        ..Style::default()
    };
    Some(sample(request_shape(key)?, version, seed, style).body)
}

/// A response frame, without its length prefix, that is valid for this key and version.
#[must_use]
pub fn response_frame(key: ApiKey, version: i16, seed: u64) -> Option<Vec<u8>> {
    let header = if key.response_header_version(version) >= 1 {
        5
    } else {
        4
    };
    let mut frame = vec![0; header];
    frame.extend(sample(response_shape(key)?, version, seed, Style::default()).body);
    Some(frame)
}
