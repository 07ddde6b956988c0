//! Whatever a handler fills in, every served version can be encoded.

use super::versions;
use crate::after_codec::response_as_known;
use crate::grammar::response_shape;
use crate::grammar::sample::{Style, sample};
use crate::messages::{self, ResponseKind};
use crate::served::codec_version;
use crate::{ApiKey, StrBytes, client, encode_response};
use types::ErrorCode;

/// A response with all that one version knows is encoded in every other version.
#[test]
fn every_response_fits_every_version() {
    for (key, full) in versions() {
        let shape = response_shape(key).expect("grammar");
        for seed in 0..20 {
            let body = sample(
                shape,
                full,
                seed,
                Style {
                    unknown_tags: false,
                    ..Style::default()
                },
            )
            .body;
            let response = {
                let mut body = response_as_known(key, full, body.into()).expect("sample");
                ResponseKind::decode(key, &mut body, codec_version(key, full)).expect("sample")
            };
            for (_, version) in versions().filter(|(k, _)| *k == key) {
                let context = format!("{key:?} of v{full} in v{version}, seed {seed}: {response:?}");
                let frame = encode_response(key as i16, version, -5, &response)
                    .unwrap_or_else(|e| panic!("{e}: {context}"))
                    .into_bytes();
                let length = i32::from_be_bytes(frame[..4].try_into().expect("prefix"));
                assert_eq!(length as usize, frame.len() - 4, "{context}");
                let (correlation, _) = client::decode_response(key, version, frame.slice(4..))
                    .unwrap_or_else(|e| panic!("{e}: {context}"));
                assert_eq!(correlation, -5);
            }
        }
    }
}

fn again(key: ApiKey, version: i16, response: ResponseKind) -> ResponseKind {
    let frame = encode_response(key as i16, version, 1, &response)
        .expect("encode")
        .into_bytes();
    client::decode_response(key, version, frame.slice(4..))
        .expect("decode")
        .1
}

#[test]
fn one_coordinator_becomes_many_and_back() {
    let coordinator = messages::find_coordinator_response::Coordinator::default()
        .with_key(StrBytes::from_static_str("group"))
        .with_node_id(3.into())
        .with_host(StrBytes::from_static_str("h"))
        .with_port(9);
    let many = messages::FindCoordinatorResponse::default().with_coordinators(vec![coordinator.clone()]);
    let one = messages::FindCoordinatorResponse::default()
        .with_node_id(3.into())
        .with_host(StrBytes::from_static_str("h"))
        .with_port(9);
    for version in 0..4 {
        let got = again(
            ApiKey::FindCoordinator,
            version,
            ResponseKind::FindCoordinator(many.clone()),
        );
        assert!(
            matches!(got, ResponseKind::FindCoordinator(r) if r.node_id == 3 && r.port == 9),
            "v{version}"
        );
    }
    for version in 4..7 {
        let ResponseKind::FindCoordinator(got) = again(
            ApiKey::FindCoordinator,
            version,
            ResponseKind::FindCoordinator(one.clone()),
        ) else {
            panic!("kind")
        };
        assert_eq!(
            got.coordinators,
            [coordinator.clone().with_key(StrBytes::default())],
            "v{version}"
        );
    }
}

/// Clients that may not know KAFKA_STORAGE_ERROR get an error that makes them look for the leader.
#[test]
fn storage_errors_are_translated_for_old_clients() {
    let storage = ErrorCode::KafkaStorageError.code();
    let moved = ErrorCode::NotLeaderOrFollower.code();
    for (version, expected) in [(4, moved), (5, moved), (6, storage), (18, storage)] {
        let partition = messages::fetch_response::PartitionData::default().with_error_code(storage);
        let topic = messages::fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition]);
        let response = messages::FetchResponse::default().with_responses(vec![topic]);
        let ResponseKind::Fetch(got) = again(ApiKey::Fetch, version, ResponseKind::Fetch(response)) else {
            panic!("kind")
        };
        assert_eq!(got.responses[0].partitions[0].error_code, expected, "v{version}");
    }
    for (version, expected) in [(3, moved), (4, storage), (13, storage)] {
        let partition = messages::produce_response::PartitionProduceResponse::default().with_error_code(storage);
        let topic =
            messages::produce_response::TopicProduceResponse::default().with_partition_responses(vec![partition]);
        let response = messages::ProduceResponse::default().with_responses(vec![topic]);
        let ResponseKind::Produce(got) = again(ApiKey::Produce, version, ResponseKind::Produce(response)) else {
            panic!("kind")
        };
        assert_eq!(
            got.responses[0].partition_responses[0].error_code, expected,
            "v{version}"
        );
    }
}

/// KIP-207: before v5 a client asks again after LEADER_NOT_AVAILABLE only.
#[test]
fn offset_not_available_is_translated_for_old_clients() {
    for (version, expected) in [
        (1, ErrorCode::LeaderNotAvailable),
        (4, ErrorCode::LeaderNotAvailable),
        (5, ErrorCode::OffsetNotAvailable),
        (11, ErrorCode::OffsetNotAvailable),
    ] {
        let partition = messages::list_offsets_response::ListOffsetsPartitionResponse::default()
            .with_error_code(ErrorCode::OffsetNotAvailable.code())
            .with_leader_epoch(3);
        let topic =
            messages::list_offsets_response::ListOffsetsTopicResponse::default().with_partitions(vec![partition]);
        let response = messages::ListOffsetsResponse::default().with_topics(vec![topic]);
        let ResponseKind::ListOffsets(got) = again(ApiKey::ListOffsets, version, ResponseKind::ListOffsets(response))
        else {
            panic!("kind")
        };
        let partition = &got.topics[0].partitions[0];
        assert_eq!(partition.error_code, expected.code(), "v{version}");
        assert_eq!(partition.leader_epoch, if version < 4 { -1 } else { 3 }, "v{version}");
    }
}

/// As Kafka's recorded answers of 12 to 15 to a fetch from another broker than the leader.
#[test]
fn fetch_names_leaders_from_v16_on() {
    for (version, expected) in [(11, -1), (12, -1), (15, -1), (16, 2), (18, 2)] {
        let leader = messages::fetch_response::LeaderIdAndEpoch::default()
            .with_leader_id(2.into())
            .with_leader_epoch(7);
        let partition = messages::fetch_response::PartitionData::default()
            .with_error_code(ErrorCode::NotLeaderOrFollower.code())
            .with_current_leader(leader);
        let topic = messages::fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition]);
        let response = messages::FetchResponse::default().with_responses(vec![topic]);
        let ResponseKind::Fetch(got) = again(ApiKey::Fetch, version, ResponseKind::Fetch(response)) else {
            panic!("kind")
        };
        assert_eq!(
            got.responses[0].partitions[0].current_leader.leader_id, expected,
            "v{version}"
        );
    }
}

/// A message from v5, the id from v6: as in Kafka's recorded answers.
#[test]
fn delete_topics_tells_what_its_version_can() {
    for version in 0..=6 {
        let topic = messages::delete_topics_response::DeletableTopicResult::default()
            .with_name(Some(StrBytes::from_static_str("t").into()))
            .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
            .with_error_code(3)
            .with_error_message(Some(StrBytes::from_static_str("not here")));
        let response = messages::DeleteTopicsResponse::default().with_responses(vec![topic]);
        let frame = encode_response(
            ApiKey::DeleteTopics as i16,
            version,
            1,
            &ResponseKind::DeleteTopics(response),
        )
        .expect("encode")
        .into_bytes();
        let has = |what: &[u8]| frame.windows(what.len()).any(|window| window == what);
        assert_eq!(has(b"not here"), version >= 5, "v{version}");
        assert_eq!(has(&[7; 16]), version >= 6, "v{version}");
        assert!(has(b"t"), "v{version}");
    }
}

/// KAFKA-17011: a feature with minimum 0 is unreadable to clients of ApiVersions 3.
#[test]
fn features_from_zero_are_for_version_four() {
    for (version, expected) in [(0, 0), (2, 0), (3, 1), (4, 2)] {
        let feature = |name, min| {
            messages::api_versions_response::SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_min_version(min)
                .with_max_version(1)
        };
        let response = messages::ApiVersionsResponse::default()
            .with_supported_features(vec![feature("zero", 0), feature("one", 1)]);
        let ResponseKind::ApiVersions(got) = again(ApiKey::ApiVersions, version, ResponseKind::ApiVersions(response))
        else {
            panic!("kind")
        };
        assert_eq!(got.supported_features.len(), expected, "v{version}");
    }
}

/// KIP-345: before v3 a request names one member, and its error is the answer's.
#[test]
fn the_error_of_the_only_member_is_that_of_an_old_leave() {
    let member = |code| messages::leave_group_response::MemberResponse::default().with_error_code(code);
    for (version, group, code, expected) in [(0, 0, 25, 25), (2, 0, 0, 0), (2, 16, 0, 16), (3, 0, 25, 0)] {
        let response = messages::LeaveGroupResponse::default()
            .with_error_code(group)
            .with_members(vec![member(code)]);
        let ResponseKind::LeaveGroup(got) = again(ApiKey::LeaveGroup, version, ResponseKind::LeaveGroup(response))
        else {
            panic!("kind")
        };
        assert_eq!(got.error_code, expected, "v{version}");
    }
}

/// KIP-709: before v8 a request names one group, and its topics are the answer's.
#[test]
fn the_only_group_is_an_old_answer_with_offsets() {
    use messages::offset_fetch_response::*;
    let partition = OffsetFetchResponsePartitions::default()
        .with_partition_index(3)
        .with_committed_offset(70)
        .with_committed_leader_epoch(5)
        .with_metadata(Some(StrBytes::from_static_str("m")));
    let topic = OffsetFetchResponseTopics::default()
        .with_name(StrBytes::from_static_str("t").into())
        .with_partitions(vec![partition]);
    let group = OffsetFetchResponseGroup::default()
        .with_error_code(16)
        .with_topics(vec![topic]);
    let response = messages::OffsetFetchResponse::default().with_groups(vec![group.clone()]);
    for version in 1..8 {
        let ResponseKind::OffsetFetch(got) = again(
            ApiKey::OffsetFetch,
            version,
            ResponseKind::OffsetFetch(response.clone()),
        ) else {
            panic!("kind")
        };
        let partition = &got.topics[0].partitions[0];
        let epoch = if version < 5 { -1 } else { 5 };
        assert_eq!(
            (
                partition.partition_index,
                partition.committed_offset,
                partition.committed_leader_epoch
            ),
            (3, 70, epoch),
            "v{version}"
        );
        assert_eq!(got.error_code, if version < 2 { 0 } else { 16 }, "v{version}");
    }
    let ResponseKind::OffsetFetch(got) = again(ApiKey::OffsetFetch, 9, ResponseKind::OffsetFetch(response)) else {
        panic!("kind")
    };
    assert_eq!(got.groups, [group]);
}

/// KIP-559: a protocol that is none came with v7, KIP-814's skipped assignment with v9.
#[test]
fn an_old_member_has_a_protocol_and_assigns() {
    let response = messages::JoinGroupResponse::default()
        .with_protocol_name(None)
        .with_skip_assignment(true);
    for version in 0..=9 {
        let ResponseKind::JoinGroup(got) = again(ApiKey::JoinGroup, version, ResponseKind::JoinGroup(response.clone()))
        else {
            panic!("kind")
        };
        assert_eq!(got.protocol_name.is_none(), version >= 7, "v{version}");
        assert_eq!(got.skip_assignment, version >= 9, "v{version}");
    }
}

#[test]
fn a_response_of_another_kind_is_refused() {
    let response = ResponseKind::Fetch(messages::FetchResponse::default());
    assert!(encode_response(ApiKey::Produce as i16, 9, 1, &response).is_err());
    assert!(encode_response(999, 9, 1, &response).is_err());
    assert!(encode_response(ApiKey::Fetch as i16, 99, 1, &response).is_err());
}
