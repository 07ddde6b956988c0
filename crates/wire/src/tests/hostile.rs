//! Bytes from somebody who means harm: no panic, and memory within the stated multiple of the frame.

use super::{Side, sides};
use crate::grammar::sample::{Style, sample};
use crate::{ApiKey, RequestFrame, client, decode_request, parse_frame, serves};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use types::limits::{DECODED_BYTES_BASE, DECODED_BYTES_PER_BYTE};

/// Decodes what may be anything and returns whether it was accepted; asserts on memory.
fn decode(side: Side, key: ApiKey, version: i16, body: Vec<u8>) -> bool {
    let limit = DECODED_BYTES_BASE + DECODED_BYTES_PER_BYTE * body.len();
    let length = body.len();
    let mut accepted = false;
    let body = Bytes::from(body);
    let used = allocation_counter::measure(|| {
        accepted = match side {
            Side::Request if serves(key as i16, version) => decode_request(&RequestFrame {
                api_key: key as i16,
                api_version: version,
                correlation_id: 0,
                client_id: None,
                size: body.len(),
                body,
            })
            .is_ok(),
            Side::Request => crate::decode::decode_body(key, version, body).is_ok(),
            Side::Response => client::decode_response(key, version, body).is_ok(),
        };
    });
    assert!(
        used.bytes_max as usize <= limit,
        "{key:?} {side:?} v{version}: {} of {length}",
        used.bytes_max
    );
    accepted
}

/// What the side reads: a response has its header in front.
fn bytes(side: Side, key: ApiKey, version: i16, seed: u64, style: Style) -> Vec<u8> {
    let body = sample(side.shape(key), version, seed, style).body;
    match side {
        Side::Request => body,
        Side::Response => {
            let header = if key.response_header_version(version) >= 1 {
                5
            } else {
                4
            };
            [vec![0; header], body].concat()
        }
    }
}

#[test]
fn flipped_bits_and_lengths_do_no_harm() {
    for (side, key, version) in sides() {
        let mut rng = StdRng::seed_from_u64(version as u64);
        for seed in 0..12 {
            let valid = bytes(side, key, version, seed, Style::default());
            assert!(
                decode(side, key, version, valid.clone()),
                "{key:?} {side:?} v{version} seed {seed}"
            );
            for _ in 0..60 {
                let mut body = valid.clone();
                if body.is_empty() {
                    continue;
                }
                match rng.random_range(0..4) {
                    0 => {
                        let at = rng.random_range(0..body.len() * 8);
                        body[at / 8] ^= 1 << (at % 8);
                    }
                    1 => body.truncate(rng.random_range(0..valid.len())),
                    2 => {
                        // What a length or a varint could be at its worst.
                        let at = rng.random_range(0..body.len());
                        let worst: &[u8] = [
                            &[0x7f, 0xff, 0xff, 0xff][..],
                            &[0xff, 0xff, 0xff, 0xff, 0x0f],
                            &[0xff; 8],
                        ][rng.random_range(0..3)];
                        body.splice(at..(at + worst.len()).min(valid.len()), worst.iter().copied());
                    }
                    _ => {
                        let from = rng.random_range(0..body.len());
                        body[from..].iter_mut().for_each(|b| *b = rng.random());
                    }
                }
                decode(side, key, version, body);
            }
        }
    }
}

#[test]
fn noise_does_no_harm() {
    let mut rng = StdRng::seed_from_u64(99);
    for (side, key, version) in sides() {
        for fill in [None, Some(0), Some(1), Some(2), Some(0xff)] {
            for _ in 0..6 {
                let length = rng.random_range(0..600);
                let noise = (0..length).map(|_| fill.unwrap_or_else(|| rng.random())).collect();
                decode(side, key, version, noise);
            }
        }
    }
    for _ in 0..20_000 {
        let length = rng.random_range(0..40);
        let mut noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        if length > 4 && rng.random_bool(0.8) {
            (noise[0], noise[1], noise[2]) = (0, noise[1] % 80, 0);
            noise[3] %= 20;
        }
        if let Ok(frame) = parse_frame(Bytes::from(noise)) {
            let _ = decode_request(&frame);
        }
    }
}

/// As many elements as the bytes can hold: small frames of them pass, large ones are refused before they
/// cost more than their multiple. Both must happen, or the budget guards nothing.
#[test]
fn memory_is_bounded_by_the_frame() {
    let (mut accepted, mut refused) = (0, 0);
    for (side, key, version) in sides() {
        // The oldest, the first flexible and the newest shape.
        let newest = !sides().any(|(_, k, v)| k == key && v > version);
        let oldest = !sides().any(|(_, k, v)| k == key && v < version);
        if !(newest || oldest || version == side.shape(key).flexible) {
            continue;
        }
        // A tree per element costs more than the element.
        for (elements_max, unknown_tags) in [(1_000, true), (9_000, true), (9_000, false), (70_000, false)] {
            if elements_max == 70_000 && !newest {
                continue;
            }
            let style = Style {
                elements_max,
                dense: true,
                unknown_tags,
                null_at: None,
                ..Style::default()
            };
            match decode(side, key, version, bytes(side, key, version, 3, style)) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
    }
    assert!(accepted > 30 && refused > 10, "{accepted} accepted, {refused} refused");
}

/// As many arbitrary and mutated bodies for the versions that the codec does not know.
#[test]
fn versions_before_the_codec_do_no_harm_either() {
    let mut rng = StdRng::seed_from_u64(5);
    for (key, version) in [
        (ApiKey::CreateTopics, 0),
        (ApiKey::CreateTopics, 1),
        (ApiKey::DeleteTopics, 0),
        (ApiKey::DescribeConfigs, 0),
    ] {
        for seed in 0..300 {
            let valid = bytes(Side::Request, key, version, seed, Style::default());
            assert!(
                decode(Side::Request, key, version, valid.clone()),
                "{key:?} v{version} seed {seed}"
            );
            for _ in 0..10 {
                let mut body = valid.clone();
                let at = rng.random_range(0..body.len());
                body[at] = rng.random();
                decode(Side::Request, key, version, body);
                decode(Side::Request, key, version, valid[..at].to_vec());
            }
        }
    }
}

/// The frame that aborts a process which trusts its lengths: Metadata v12 with 2^32 - 2 topics.
#[test]
fn thirteen_bytes_are_thirteen_bytes() {
    let frame = [0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let frame = parse_frame(Bytes::copy_from_slice(&frame)).expect("header");
    assert!(decode_request(&frame).is_err());
}
