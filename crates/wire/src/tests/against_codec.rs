//! The grammar says the same as the codec's own reading and writing.

use super::sides;
use crate::grammar::check;
use crate::grammar::sample::{Style, sample};

const SAMPLES: u64 = 150;

/// A body that was written from the grammar is accepted whole, the codec reads all of it, and writes the
/// same bytes: so both agree on every field, its order, its width and its versions.
#[test]
fn grammar_and_codec_agree_on_every_byte() {
    for (side, key, version) in sides() {
        for seed in 0..SAMPLES {
            let shape = side.shape(key);
            let body = sample(shape, version, seed, Style::default()).body;
            let context = format!("{key:?} {side:?} v{version} seed {seed}: {body:02x?}");
            assert_eq!(check(shape, version, &body).expect(&context), body.len(), "{context}");
            let (again, left) = side
                .through_codec(key, version, &body)
                .unwrap_or_else(|e| panic!("{e}: {context}"));
            assert_eq!(left, 0, "{context}");
            assert_eq!(again, body, "{context}");
        }
    }
}

/// Null where the grammar forbids it is refused, and the codec has no such value either, or has it only for
/// the sake of other versions.
#[test]
fn nulls_are_allowed_where_kafka_allows_them() {
    for (side, key, version) in sides() {
        let shape = side.shape(key);
        let style = Style {
            unknown_tags: false,
            ..Style::default()
        };
        for seed in 0..5 {
            let places = sample(shape, version, seed, style).not_nullable;
            for place in 0..places {
                let nulled = sample(
                    shape,
                    version,
                    seed,
                    Style {
                        null_at: Some(place),
                        ..style
                    },
                );
                let Some(field) = nulled.nulled else { continue };
                let context = format!("{key:?} {side:?} v{version} seed {seed}: {field:?}");
                assert!(check(shape, version, &nulled.body).is_err(), "{context}");
                let codec = side.through_codec(key, version, &nulled.body);
                assert!(codec.is_err() || field.nullable_since.is_some(), "{context}");
            }
        }
    }
}

/// Every strict prefix of a body is refused, and bytes after it are tolerated, as Kafka does.
#[test]
fn every_truncation_is_refused_and_trailing_bytes_are_not() {
    for (side, key, version) in sides() {
        let shape = side.shape(key);
        let mut body = sample(shape, version, 7, Style::default()).body;
        for length in 0..body.len() {
            assert!(
                check(shape, version, &body[..length]).is_err(),
                "{key:?} {side:?} v{version} cut at {length}"
            );
        }
        let length = body.len();
        body.extend([1, 2, 3]);
        assert_eq!(check(shape, version, &body).expect("trailing bytes"), length);
    }
}
