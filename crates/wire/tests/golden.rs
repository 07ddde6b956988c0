//! Bytes that Apache Kafka 4.3.1 and real clients exchanged (`tests/golden/`, recorded by `capture.py`): we
//! read all of them, and write the same.

use bytes::Bytes;
use serde_json::Value;
use std::path::PathBuf;
use wire::messages::{RequestKind, ResponseKind};
use wire::{ApiKey, RequestFrame, client, decode_request, encode_response, parse_frame};

/// One recorded exchange; frames without their length prefix.
struct Exchange {
    name: String,
    version: i16,
    client: String,
    request: Bytes,
    response: Bytes,
}

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
        .collect()
}

fn exchanges() -> Vec<Exchange> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("tests/golden")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let rows: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(&file).expect("file")).expect("an array of exchanges");
        let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
        all.extend(rows.iter().map(|row| Exchange {
            name: file.file_stem().expect("stem").to_string_lossy().into_owned(),
            version: row["version"].as_i64().expect("version") as i16,
            client: text(row, "client"),
            request: unhex(&text(row, "request")),
            response: unhex(&text(row, "response")),
        }));
    }
    all
}

impl Exchange {
    fn context(&self) -> String {
        format!("{} v{} by {}", self.name, self.version, self.client)
    }

    /// The parts, for a version that is served; others were recorded too (clients newer than the codec).
    fn served(&self) -> Option<(RequestFrame, ApiKey)> {
        let frame = parse_frame(self.request.clone()).unwrap_or_else(|e| panic!("{e}: {}", self.context()));
        assert_eq!(frame.api_version, self.version, "{}", self.context());
        let key = ApiKey::try_from(frame.api_key).expect("a known key");
        wire::serves(frame.api_key, frame.api_version).then_some((frame, key))
    }
}

#[test]
fn recorded_requests_are_read_and_written_alike() {
    let mut read = 0;
    for exchange in exchanges() {
        let Some((frame, key)) = exchange.served() else {
            continue;
        };
        let request: RequestKind = decode_request(&frame).unwrap_or_else(|e| panic!("{e}: {}", exchange.context()));
        let client_id = frame.client_id.as_deref().expect("all of them have a client id");
        let again = client::encode_request(key, frame.api_version, frame.correlation_id, client_id, &request)
            .unwrap_or_else(|e| panic!("{e}: {}", exchange.context()));
        assert_eq!(again.slice(4..), exchange.request, "{}", exchange.context());
        read += 1;
    }
    assert!(read > 300, "{read} requests");
}

#[test]
fn recorded_responses_are_read_and_written_alike() {
    let mut read = 0;
    for exchange in exchanges() {
        let Some((frame, key)) = exchange.served() else {
            continue;
        };
        let (correlation, response) = client::decode_response(key, frame.api_version, exchange.response.clone())
            .unwrap_or_else(|e| panic!("{e}: {}", exchange.context()));
        assert_eq!(correlation, frame.correlation_id, "{}", exchange.context());
        let again = encode_response(frame.api_key, frame.api_version, correlation, &response)
            .unwrap_or_else(|e| panic!("{e}: {}", exchange.context()))
            .into_bytes();
        assert_eq!(
            again.slice(4..),
            exchange.response,
            "{}: {response:?}",
            exchange.context()
        );
        read += 1;
    }
    assert!(read > 300, "{read} responses");
}

/// Every version that we serve was heard from a real broker, but those that Kafka 4 dropped.
#[test]
fn every_served_version_was_recorded() {
    let all = exchanges();
    let mut missing = Vec::new();
    for range in wire::SERVED {
        for version in range.served_min().max(range.key.valid_versions().min)..=range.max {
            let recorded = all
                .iter()
                .any(|e| e.version == version && e.request.starts_with(&(range.key as i16).to_be_bytes()));
            if !recorded {
                missing.push((range.key, version));
            }
        }
    }
    assert!(missing.is_empty(), "not recorded: {missing:?}");
}

/// KIP-511: Kafka's answer to a version of ApiVersions that it does not know is in version 0, with error 35.
#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_zero() {
    let all = exchanges();
    let exchange = all
        .iter()
        .find(|e| e.name == "18_api_versions" && e.version == 99)
        .expect("recorded");
    assert!(exchange.served().is_none());
    let (_, response) = client::decode_response(ApiKey::ApiVersions, 0, exchange.response.clone()).expect("version 0");
    let ResponseKind::ApiVersions(response) = response else {
        panic!("kind")
    };
    assert_eq!(response.error_code, 35);
    let keys: Vec<i16> = response.api_keys.iter().map(|k| k.api_key).collect();
    assert_eq!(keys, [18], "only its own range");
}

/// The recordings hold the rare fields too, so that a later capture cannot lose them unnoticed.
#[test]
fn rare_fields_were_recorded() {
    let mut seen = std::collections::BTreeSet::new();
    for exchange in exchanges() {
        let Some((frame, key)) = exchange.served() else {
            continue;
        };
        if let Ok(RequestKind::Fetch(request)) = decode_request(&frame)
            && request.replica_state.replica_epoch >= 0
        {
            seen.insert("replica_state");
        }
        if let Ok(RequestKind::Metadata(request)) = decode_request(&frame)
            && !request.unknown_tagged_fields.is_empty()
        {
            seen.insert("unknown tag");
        }
        match client::decode_response(key, frame.api_version, exchange.response.clone())
            .expect("response")
            .1
        {
            ResponseKind::Fetch(response) => {
                let partitions = || response.responses.iter().flat_map(|t| &t.partitions);
                if !response.node_endpoints.is_empty() && partitions().any(|p| p.current_leader.leader_id.0 >= 0) {
                    seen.insert("leader of fetch");
                }
                if partitions().any(|p| p.diverging_epoch.end_offset >= 0) {
                    seen.insert("diverging_epoch");
                }
                if partitions().any(|p| p.records.as_ref().is_some_and(|r| !r.is_empty())) {
                    seen.insert("records");
                }
            }
            ResponseKind::Produce(response) => {
                let partitions = || response.responses.iter().flat_map(|t| &t.partition_responses);
                if !response.node_endpoints.is_empty() && partitions().any(|p| p.current_leader.leader_id.0 >= 0) {
                    seen.insert("leader of produce");
                }
                if partitions().any(|p| !p.record_errors.is_empty()) {
                    seen.insert("record_errors");
                }
            }
            ResponseKind::DescribeTopicPartitions(response) if response.next_cursor.is_some() => {
                seen.insert("next_cursor");
            }
            ResponseKind::ApiVersions(response) if !response.finalized_features.is_empty() => {
                seen.insert("features");
            }
            _ => {}
        }
    }
    let all = [
        "diverging_epoch",
        "features",
        "leader of fetch",
        "leader of produce",
        "next_cursor",
        "record_errors",
        "records",
        "replica_state",
        "unknown tag",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
