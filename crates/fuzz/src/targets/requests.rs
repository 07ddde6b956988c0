//! What a client sends, and what a broker answers to our own client.

use crate::bounded::bounded;
use crate::{Kind, Target};
use bytes::Bytes;
use records::{BatchBuilder, Compression};
use std::sync::LazyLock;
use types::{ProducerEpoch, ProducerId};
use wire::fuzzing::{Words, request_body, response_frame};
use wire::{ApiRange, RequestFrame, SERVED, decode_request, parse_frame};

/// Samples of each version that a request's target starts from.
const SAMPLES: u64 = 4;
/// Memory that a request may take while it is decoded, handled and answered by a node whose log and controller are
/// scripted: a base, and so much for each of its bytes.
const BYTES_BASE: usize = 16 << 20;
const BYTES_PER_BYTE: usize = 256;

static IDS: LazyLock<[[u8; 16]; 3]> = LazyLock::new(api::fuzzing::ids);
static RECORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let batch = |codec| {
        let mut batch = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(0), 0);
        batch.push(1, Some(b"key"), Some(&[9; 80]), &[]);
        batch.push(2, None, None, &[("header".to_owned(), None)]);
        batch.build().to_vec()
    };
    codecs.map(batch).to_vec()
});

fn words() -> Words {
    Words {
        texts: api::fuzzing::NAMES,
        ids: &*IDS,
        records: &RECORDS,
    }
}

pub(crate) fn all() -> Vec<Target> {
    let mut targets: Vec<Target> = SERVED.iter().map(request).collect();
    targets.push(Target::new("request-frame", Kind::Client, frame, frames));
    targets.push(Target::new("response", Kind::Client, response, responses));
    targets
}

/// A target for the API: a byte for the version, then the body.
fn request(range: &'static ApiRange) -> Target {
    let versions = (range.served_min()..=range.max).count().max(1);
    let run = move |input: &[u8]| {
        let Some((which, body)) = input.split_first() else {
            return;
        };
        let version = range.served_min() + (usize::from(*which) % versions) as i16;
        answer(&RequestFrame {
            api_key: range.key as i16,
            api_version: version,
            correlation_id: 5,
            client_id: None,
            size: body.len(),
            body: Bytes::copy_from_slice(body),
        });
    };
    let seeds = move || {
        let versions = (range.served_min()..=range.max).zip(0u8..);
        let sample = |(version, which): (i16, u8)| {
            (0..SAMPLES).filter_map(move |seed| {
                let body = request_body(range.key, version, seed, words())?;
                Some([vec![which], body].concat())
            })
        };
        versions.flat_map(sample).collect()
    };
    let name = format!("request-{:?}", range.key).to_lowercase();
    Target::new(name, Kind::Client, run, seeds)
}

fn answer(frame: &RequestFrame) {
    let limit = BYTES_BASE + BYTES_PER_BYTE * frame.size;
    let answered = bounded(limit, || api::fuzzing::answer(frame));
    // What cannot be decoded is refused; ApiVersions of an unknown version is answered (KIP-511).
    let answered_unread = frame.api_key == wire::ApiKey::ApiVersions as i16;
    assert!(answered_unread || answered.is_err() || decode_request(frame).is_ok());
}

/// A whole frame: header and body of any key.
fn frame(input: &[u8]) {
    if let Ok(frame) = parse_frame(Bytes::copy_from_slice(input)) {
        answer(&frame);
    }
}

fn frames() -> Vec<Vec<u8>> {
    let frame = |(range, version): (&ApiRange, i16)| {
        let mut frame = [range.key as i16, version].map(i16::to_be_bytes).concat();
        frame.extend([0, 0, 0, 5, 0, 2, b'm', b'e']);
        if range.key.request_header_version(version) >= 2 {
            frame.push(0);
        }
        frame.extend(request_body(range.key, version, 1, words())?);
        Some(frame)
    };
    let versions = |range: &'static ApiRange| [(range, range.served_min()), (range, range.max), (range, range.max + 1)];
    SERVED.iter().flat_map(versions).filter_map(frame).collect()
}

/// A byte for the API, a byte for the version, then the frame of the response.
fn response(input: &[u8]) {
    let [which, version, frame @ ..] = input else { return };
    let range = &SERVED[usize::from(*which) % SERVED.len()];
    let limit = types::limits::DECODED_BYTES_BASE + types::limits::DECODED_BYTES_PER_BYTE * input.len() + input.len();
    let frame = Bytes::copy_from_slice(frame);
    let _ = bounded(limit, || {
        wire::client::decode_response(range.key, i16::from(*version), frame)
    });
}

fn responses() -> Vec<Vec<u8>> {
    let versions = |(range, which): (&'static ApiRange, u8)| {
        (range.served_min()..=range.max).filter_map(move |version| {
            let frame = response_frame(range.key, version, 3)?;
            Some([vec![which, version as u8], frame].concat())
        })
    };
    SERVED.iter().zip(0u8..).flat_map(versions).collect()
}
