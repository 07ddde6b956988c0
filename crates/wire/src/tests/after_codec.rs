//! Versions newer than the codec: version 5 of DescribeLogDirs is version 4 and a byte more for each directory.

use crate::ApiKey;
use crate::client::decode_response;
use crate::encode::encode_response;
use crate::grammar::response_shape;
use crate::grammar::sample::{Style, sample};
use bytes::Bytes;

const KEY: ApiKey = ApiKey::DescribeLogDirs;

fn frame(body: &[u8]) -> Bytes {
    [&[0, 0, 0, 1, 0], body].concat().into()
}

#[test]
fn whatever_is_in_an_answer_survives_the_way_through_both_versions() {
    let shape = response_shape(KEY).unwrap();
    let style = Style {
        unknown_tags: false,
        ..Style::default()
    };
    let mut longer = 0;
    for seed in 0..300 {
        let (_, response) = decode_response(KEY, 4, frame(&sample(shape, 4, seed, style).body)).unwrap();
        let [older, newer] =
            [4, 5].map(|version| encode_response(KEY as i16, version, 1, &response).unwrap().into_bytes());
        let crate::messages::ResponseKind::DescribeLogDirs(sent) = &response else {
            panic!("kind")
        };
        assert_eq!(newer.len(), older.len() + sent.results.len(), "seed {seed}");
        assert_eq!(
            decode_response(KEY, 5, newer.slice(4..)).unwrap().1,
            response,
            "seed {seed}"
        );
        longer += usize::from(sent.results.len() > 1);
    }
    assert!(longer > 20, "{longer} answers with several directories");
}

/// A peer may send what it likes: every sample, cordoned or with tagged fields nobody knows, is read; cut short it is
/// refused.
#[test]
fn answers_of_any_shape_are_read_and_parts_of_them_are_not() {
    let shape = response_shape(KEY).unwrap();
    for seed in 0..100 {
        let body = sample(shape, 5, seed, Style::default()).body;
        decode_response(KEY, 5, frame(&body)).unwrap();
        for length in 0..body.len() {
            assert!(
                decode_response(KEY, 5, frame(&body[..length])).is_err(),
                "seed {seed} cut at {length}"
            );
        }
    }
}
