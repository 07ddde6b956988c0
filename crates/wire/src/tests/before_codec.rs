//! Versions older than the codec, against the bytes that kafka-python 2.0.2 writes for them.

use crate::messages::{
    CreateTopicsResponse, DeleteTopicsResponse, DescribeConfigsResponse, RequestKind, ResponseKind, TopicName,
    create_topics_response::CreatableTopicResult,
    delete_topics_response::DeletableTopicResult,
    describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym},
};
use crate::{ApiKey, RequestFrame, StrBytes, decode_request, encode_response};
use bytes::Bytes;

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
        .collect()
}

fn decode(key: ApiKey, version: i16, body: Bytes) -> RequestKind {
    let size = body.len();
    let frame = RequestFrame {
        api_key: key as i16,
        api_version: version,
        correlation_id: 1,
        client_id: None,
        body,
        size,
    };
    decode_request(&frame).expect("request")
}

fn body(key: ApiKey, version: i16, response: ResponseKind) -> Bytes {
    encode_response(key as i16, version, 1, &response)
        .expect("response")
        .into_bytes()
        .slice(8..)
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn name(name: &'static str) -> TopicName {
    TopicName(text(name))
}

#[test]
fn create_topics_requests() {
    let version_0 = "0000000200036f6c640000000300020000000000000001000c726574656e74696f6e2e6d730001350006706c61636564\
                     ffffffffffff00000001000000000000000200000001000000020000000000002328";
    // Bytes after the message must not become its missing field.
    for body in [
        unhex(version_0),
        [unhex(version_0), Bytes::from_static(&[1, 1])].concat().into(),
    ] {
        let RequestKind::CreateTopics(request) = decode(ApiKey::CreateTopics, 0, body) else {
            panic!("kind")
        };
        assert_eq!(
            (request.timeout_ms, request.validate_only, request.topics.len()),
            (9000, false, 2)
        );
        assert_eq!(
            (request.topics[0].num_partitions, request.topics[0].replication_factor),
            (3, 2)
        );
        assert_eq!(request.topics[0].configs[0].value, Some(text("5")));
        assert_eq!(request.topics[1].assignments[0].broker_ids, [1, 2]);
    }
    let version_1 = "0000000100036f6c640000000300020000000000000001000c726574656e74696f6e2e6d730001350000232801";
    let RequestKind::CreateTopics(request) = decode(ApiKey::CreateTopics, 1, unhex(version_1)) else {
        panic!("kind")
    };
    assert_eq!(
        (request.timeout_ms, request.validate_only, request.topics.len()),
        (9000, true, 1)
    );
}

#[test]
fn create_topics_responses() {
    let topics = vec![
        CreatableTopicResult::default()
            .with_name(name("old"))
            .with_error_message(None)
            .with_num_partitions(3),
        CreatableTopicResult::default()
            .with_name(name("bad"))
            .with_error_code(17)
            .with_error_message(Some(text("no"))),
    ];
    let response = ResponseKind::CreateTopics(CreateTopicsResponse::default().with_topics(topics));
    let version_0 = "0000000200036f6c64000000036261640011";
    assert_eq!(body(ApiKey::CreateTopics, 0, response.clone()), unhex(version_0));
    let version_1 = "0000000200036f6c640000ffff0003626164001100026e6f";
    assert_eq!(body(ApiKey::CreateTopics, 1, response), unhex(version_1));
}

#[test]
fn delete_topics_version_0() {
    let RequestKind::DeleteTopics(request) = decode(ApiKey::DeleteTopics, 0, unhex("0000000200036f6c6400017800002328"))
    else {
        panic!("kind")
    };
    assert_eq!(
        (request.topic_names, request.timeout_ms),
        (vec![name("old"), name("x")], 9000)
    );
    let responses = [("old", 0), ("x", 3)];
    let responses = responses.map(|(topic, error)| {
        DeletableTopicResult::default()
            .with_name(Some(name(topic)))
            .with_error_code(error)
    });
    let response = DeleteTopicsResponse::default().with_responses(responses.to_vec());
    let expected = unhex("0000000200036f6c6400000001780003");
    assert_eq!(
        body(ApiKey::DeleteTopics, 0, ResponseKind::DeleteTopics(response)),
        expected
    );
}

#[test]
fn describe_configs_version_0() {
    let request = "000000020200036f6c6400000001000c726574656e74696f6e2e6d7302000178ffffffff";
    let RequestKind::DescribeConfigs(request) = decode(ApiKey::DescribeConfigs, 0, unhex(request)) else {
        panic!("kind")
    };
    assert_eq!(
        request.resources[0].configuration_keys,
        Some(vec![text("retention.ms")])
    );
    assert_eq!(
        (
            request.resources[1].configuration_keys.clone(),
            request.include_synonyms
        ),
        (None, false)
    );
    let config = |name, value, source| {
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_config_source(source)
            .with_synonyms(vec![DescribeConfigsSynonym::default()])
    };
    let result = DescribeConfigsResult::default()
        .with_error_message(None)
        .with_resource_type(2)
        .with_resource_name(text("old"))
        .with_configs(vec![
            config("retention.ms", "5", 1),
            config("cleanup.policy", "delete", 5),
        ]);
    let response = DescribeConfigsResponse::default()
        .with_throttle_time_ms(7)
        .with_results(vec![result]);
    let expected = "00000007000000010000ffff0200036f6c6400000002000c726574656e74696f6e2e6d73000135000000000e636c65616e\
                    75702e706f6c696379000664656c657465000100";
    assert_eq!(
        body(ApiKey::DescribeConfigs, 0, ResponseKind::DescribeConfigs(response)),
        unhex(expected)
    );
}
