//! Requests that name topics by id.

use crate::client::encode_request;
use crate::decode::decode_body;
use crate::grammar::request_shape;
use crate::grammar::sample::{Style, sample};
use crate::messages::RequestKind;
use crate::{ApiKey, by_topic_id};

const KEYS: [ApiKey; 2] = [ApiKey::OffsetCommit, ApiKey::OffsetFetch];

/// Whatever is in them, tagged fields that nobody knows too.
#[test]
fn they_are_read_and_written_alike() {
    for key in KEYS {
        let mut ids = 0;
        for seed in 0..300 {
            let body = sample(request_shape(key).unwrap(), 10, seed, Style::default()).body;
            let request = decode_body(key, 10, body.clone().into()).unwrap();
            let mut named = 0;
            match &request {
                RequestKind::OffsetCommit(commit) => commit.topics.iter().for_each(|topic| {
                    ids += usize::from(!topic.topic_id.is_nil());
                    named += topic.name.len();
                }),
                RequestKind::OffsetFetch(fetch) => {
                    let topics = fetch.groups.iter().flat_map(|group| group.topics.iter().flatten());
                    topics.for_each(|topic| {
                        ids += usize::from(!topic.topic_id.is_nil());
                        named += topic.name.len();
                    });
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(named, 0, "{key:?} seed {seed}");
            let frame = encode_request(key, 10, 1, "", &request).unwrap();
            // Length, key, version, correlation, no client id, no tagged fields.
            assert_eq!(frame[4 + 2 + 2 + 4 + 2 + 1..], body, "{key:?} seed {seed}");
        }
        assert!(ids > 200, "{key:?}: {ids} topics");
    }
}

/// Nothing that has not passed the grammar does harm either.
#[test]
fn parts_of_them_are_refused() {
    for key in KEYS {
        let body = sample(request_shape(key).unwrap(), 10, 3, Style::default()).body;
        for length in 0..body.len() {
            let part = &body[..length];
            assert!(
                decode_body(key, 10, part.to_vec().into()).is_err(),
                "{key:?} cut at {length}"
            );
            let _ = by_topic_id::with_names(key, part);
            let _ = by_topic_id::with_ids(key, part);
        }
    }
}
