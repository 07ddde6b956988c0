use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn offset(group_id: &str, value: Option<CommittedOffset>) -> Record {
    Record::Offset {
        group_id: group_id.into(),
        topic: "t".into(),
        partition: 7,
        value,
    }
}

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: 258,
        leader_epoch: 3,
        metadata: "m".into(),
        commit_timestamp: 1,
        expire_timestamp: -1,
        topic_id: TopicId(Uuid::from_u128(5)),
    }
}

fn generation() -> GroupMetadata {
    GroupMetadata {
        protocol_type: "consumer".into(),
        generation: 4,
        protocol: Some("range".into()),
        leader: Some("m1".into()),
        current_state_timestamp: 9,
        members: vec![MemberMetadata {
            member_id: "m1".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: 2,
            session_timeout: 1,
            subscription: Bytes::from_static(b"S"),
            assignment: Bytes::from_static(b"AA"),
        }],
    }
}

#[test]
fn offsets_have_kafkas_bytes() {
    let (key, value) = offset("g", Some(committed())).encode();
    assert_eq!(key, hex("0001 000167 000174 00000007"));
    let id = "00000000000000000000000000000005";
    let expected = format!("0004 0000000000000102 00000003 026d 0000000000000001 01 00 10 {id}");
    assert_eq!(value.unwrap(), hex(&expected));

    let without_id = CommittedOffset {
        topic_id: TopicId::default(),
        ..committed()
    };
    let (_, value) = offset("g", Some(without_id)).encode();
    assert_eq!(
        value.unwrap(),
        hex("0004 0000000000000102 00000003 026d 0000000000000001 00")
    );

    let expiring = CommittedOffset {
        expire_timestamp: 16,
        ..committed()
    };
    let (_, value) = offset("g", Some(expiring)).encode();
    assert_eq!(
        value.unwrap(),
        hex("0001 0000000000000102 00016d 0000000000000001 0000000000000010")
    );
    assert_eq!(offset("g", None).encode().1, None);
}

#[test]
fn groups_have_kafkas_bytes() {
    let record = Record::Group {
        group_id: "g".into(),
        value: Some(generation()),
    };
    let (key, value) = record.encode();
    assert_eq!(key, hex("0002 000167"));
    let head = "0003 0008636f6e73756d6572 00000004 000572616e6765 00026d31 0000000000000009 00000001";
    let member = "00026d31 000169 000163 00022f68 00000002 00000001 00000001 53 00000002 4141";
    assert_eq!(value.unwrap(), hex(&format!("{head}{member}")));
}

#[test]
fn older_and_newer_versions_are_read() {
    let key = hex("0001 000167 000174 00000007");
    let value = |bytes: &str| match Record::decode(&key, Some(&hex(bytes))).unwrap() {
        Some(Record::Offset { value, .. }) => value.unwrap(),
        other => panic!("{other:?}"),
    };
    let plain = CommittedOffset {
        leader_epoch: -1,
        topic_id: TopicId::default(),
        ..committed()
    };
    assert_eq!(value("0000 0000000000000102 00016d 0000000000000001"), plain);
    assert_eq!(value("0002 0000000000000102 00016d 0000000000000001"), plain);
    assert_eq!(
        value("0003 0000000000000102 00000003 00016d 0000000000000001").leader_epoch,
        3
    );
    // A tagged field that is not known is passed over.
    let tagged = value("0004 0000000000000102 00000003 026d 0000000000000001 01 09 02 aabb");
    assert_eq!((tagged.leader_epoch, tagged.topic_id), (3, TopicId::default()));

    let group = |bytes: &str| match Record::decode(&hex("0002 000167"), Some(&hex(bytes))).unwrap() {
        Some(Record::Group { value, .. }) => value.unwrap(),
        other => panic!("{other:?}"),
    };
    let oldest = group("0000 000163 00000004 ffff ffff 00000001 00016d 000163 000168 00000005 00000000 00000000");
    assert_eq!(oldest.current_state_timestamp, -1);
    let timeouts = (oldest.members[0].rebalance_timeout, oldest.members[0].session_timeout);
    assert_eq!(timeouts, (5, 5));
    let newest =
        group("0004 0263 00000004 00 00 0000000000000009 02 026d 00 0263 0268 00000002 00000001 0253 0241 00 00");
    assert_eq!(newest.members.len(), 1);
    assert_eq!(newest.protocol, None);
}

#[test]
fn what_is_not_ours_is_told_apart() {
    let decode = |key: &str, value: &str| Record::decode(&hex(key), Some(&hex(value)));
    assert_eq!(decode("0003 000167", "0000"), Ok(None));
    assert_eq!(decode("0002 000167", "0005"), Err(RecordError::Version(5)));
    assert_eq!(decode("0002 000167", "0003"), Err(RecordError::Short));
    assert_eq!(decode("0002 ffff", "0003"), Err(RecordError::Length));
    assert_eq!(decode("0002 0001ff", "0003"), Err(RecordError::Text));
    let many = "0003 000163 00000004 ffff ffff 0000000000000009 7fffffff";
    assert_eq!(decode("0002 000167", many), Err(RecordError::Length));
}

proptest! {
    #[test]
    fn nothing_panics(key: Vec<u8>, value: Vec<u8>, kind in 0u8..4, version in 0u8..6) {
        let key: Bytes = [vec![0, kind], key].concat().into();
        let value: Bytes = [vec![0, version], value].concat().into();
        let _ = Record::decode(&key, Some(&value));
    }

    #[test]
    fn records_come_back(group_id in ".{0,20}", metadata in ".{0,20}", offset: i64, expire in -1i64..9) {
        let value = CommittedOffset { offset, metadata, expire_timestamp: expire, ..committed() };
        let record = super::tests::offset(&group_id, Some(value.clone()));
        let (key, bytes) = record.encode();
        let read = Record::decode(&key.into(), bytes.map(Bytes::from).as_ref()).unwrap().unwrap();
        let kept = match expire {
            -1 => value,
            // Version 1 knows neither.
            _ => CommittedOffset { leader_epoch: -1, topic_id: TopicId::default(), ..value },
        };
        prop_assert_eq!(read, super::tests::offset(&group_id, Some(kept)));
    }
}
