//! The records of `__consumer_offsets`: of a disk, of Kafka's tools, and of any client that calls itself an admin client.

use crate::bounded::bounded;
use crate::{Kind, Target};
use bytes::Bytes;
use group::{CommittedOffset, GroupMetadata, MemberMetadata, Record};
use types::TopicId;

/// Memory that a record may take beside its own: a base, and so much for each of its bytes.
const BYTES_BASE: usize = 16 << 10;
const BYTES_PER_BYTE: usize = 64;

pub(crate) fn all() -> Vec<Target> {
    vec![Target::new("group-record", Kind::Disk, record, records)]
}

fn records() -> Vec<Vec<u8>> {
    let offset = |value| Record::Offset {
        group_id: "billing".to_owned(),
        topic: "orders".to_owned(),
        partition: 3,
        value,
    };
    let committed = |expire_timestamp| CommittedOffset {
        offset: 4_711,
        leader_epoch: 5,
        metadata: "note".to_owned(),
        commit_timestamp: 1_000,
        expire_timestamp,
        topic_id: TopicId(uuid::Uuid::from_u128(7)),
    };
    let member = MemberMetadata {
        member_id: "m-1".to_owned(),
        group_instance_id: Some("static".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout: 60_000,
        session_timeout: 10_000,
        subscription: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x06orders"),
        assignment: Bytes::from_static(b"\0\0"),
    };
    let group = |value| Record::Group {
        group_id: "billing".to_owned(),
        value,
    };
    let generation = GroupMetadata {
        protocol_type: "consumer".to_owned(),
        generation: 9,
        protocol: Some("range".to_owned()),
        leader: Some("m-1".to_owned()),
        current_state_timestamp: 1_000,
        members: vec![member.clone(), member],
    };
    [
        offset(None),
        offset(Some(committed(-1))),
        offset(Some(committed(2_000))),
        group(None),
        group(Some(generation)),
    ]
    .iter()
    .map(|record| {
        let (key, value) = record.encode();
        [
            &[u8::try_from(key.len()).unwrap_or(u8::MAX)],
            &key[..],
            value.as_deref().unwrap_or_default(),
        ]
        .concat()
    })
    .collect()
}

/// A byte for the key's length, the key, and the value; none: a tombstone. What is written of it is read as the same.
fn record(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else {
        return;
    };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    let value = (!value.is_empty()).then_some(value);
    let limit = BYTES_BASE + BYTES_PER_BYTE * input.len();
    let Ok(Some(read)) = bounded(limit, || Record::decode(&key, value.as_ref())) else {
        return;
    };
    let written = read.encode();
    let (key, value) = (Bytes::from(written.0.clone()), written.1.clone().map(Bytes::from));
    let again = Record::decode(&key, value.as_ref())
        .expect("our own")
        .expect("a record");
    assert_eq!(again.encode(), written);
}
