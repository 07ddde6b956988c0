//! From a request to its handler.

use crate::memory_budget::Fetched;
use crate::produce::{self, Produced};
use crate::{
    Services, api_versions, create_topics, delete_topics, describe_cluster, describe_configs,
    describe_topic_partitions, fetch, find_coordinator, init_producer_id, list_offsets, metadata_api,
    offset_for_leader_epoch,
};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use std::rc::Rc;
use wire::messages::{RequestKind, ResponseKind};
use wire::{ApiKey, RequestFrame, WireError};

/// What to do with the connection after a request.
pub(crate) enum Outcome {
    /// Bytes to send, and the memory of the records in them.
    Answer(Bytes, Option<Fetched>),
    Silent,
    Close(String),
}

/// Starts a request. A Produce has started its appends when this returns; everything else starts when the
/// future is polled. The frame is decoded here, so that garbage is refused in the order of arrival.
pub(crate) fn start(
    services: &Rc<Services>,
    frame: &RequestFrame,
) -> Result<LocalBoxFuture<'static, Outcome>, WireError> {
    let (key, version, correlation) = (frame.api_key, frame.api_version, frame.correlation_id);
    let request = match wire::decode_request(frame) {
        Ok(request) => request,
        Err(WireError::UnsupportedVersion { .. }) if key == ApiKey::ApiVersions as i16 => {
            let response = ResponseKind::ApiVersions(api_versions::unsupported());
            let outcome = encode(key, 0, correlation, &response, None);
            return Ok(Box::pin(std::future::ready(outcome)));
        }
        Err(error) => return Err(error),
    };
    if let RequestKind::Produce(request) = request {
        let produced = produce::start(services, request, version, frame.client_id.as_deref());
        return Ok(Box::pin(async move {
            match produced.await {
                Produced::Answer(response) => encode(key, version, correlation, &ResponseKind::Produce(response), None),
                Produced::Silent => Outcome::Silent,
                Produced::Close(code) => Outcome::Close(format!("a produce that cannot be answered failed: {code}")),
            }
        }));
    }
    let services = Rc::clone(services);
    Ok(Box::pin(async move {
        match answer(&services, request, version).await {
            Some((response, held)) => encode(key, version, correlation, &response, held),
            None => Outcome::Close(format!("no handler for API key {key}")),
        }
    }))
}

/// The table: request kind to handler.
async fn answer(
    services: &Rc<Services>,
    request: RequestKind,
    version: i16,
) -> Option<(ResponseKind, Option<Fetched>)> {
    let image = services.image();
    let random = services.host.random_u64();
    let response = match request {
        RequestKind::Fetch(r) => {
            let (response, held) = fetch::answer(services, r, version).await;
            return Some((ResponseKind::Fetch(response), held));
        }
        RequestKind::ListOffsets(r) => ResponseKind::ListOffsets(list_offsets::answer(services, r, version).await),
        RequestKind::Metadata(r) => ResponseKind::Metadata(metadata_api::answer(services, &r, version)),
        RequestKind::FindCoordinator(r) => ResponseKind::FindCoordinator(find_coordinator::answer(&r, version)),
        RequestKind::ApiVersions(r) => ResponseKind::ApiVersions(api_versions::answer(&image, &r, version)),
        RequestKind::CreateTopics(r) => ResponseKind::CreateTopics(create_topics::answer(services, r, version).await),
        RequestKind::DeleteTopics(r) => ResponseKind::DeleteTopics(delete_topics::answer(services, r, version).await),
        RequestKind::InitProducerId(r) => ResponseKind::InitProducerId(init_producer_id::answer(services, r).await),
        RequestKind::OffsetForLeaderEpoch(r) => {
            ResponseKind::OffsetForLeaderEpoch(offset_for_leader_epoch::answer(services, r).await)
        }
        RequestKind::DescribeConfigs(r) => ResponseKind::DescribeConfigs(describe_configs::answer(
            &image,
            &services.settings,
            services.node_id,
            &r,
        )),
        RequestKind::DescribeCluster(r) => ResponseKind::DescribeCluster(describe_cluster::answer(&image, &r, random)),
        RequestKind::DescribeTopicPartitions(r) => {
            let limit = services.settings.max_request_partition_size_limit;
            ResponseKind::DescribeTopicPartitions(describe_topic_partitions::answer(&image, &r, limit))
        }
        _ => return None,
    };
    Some((response, None))
}

fn encode(key: i16, version: i16, correlation: i32, response: &ResponseKind, held: Option<Fetched>) -> Outcome {
    match wire::encode_response(key, version, correlation, response) {
        Ok(bytes) => Outcome::Answer(bytes, held),
        Err(error) => Outcome::Close(format!(
            "an answer to API key {key} version {version} cannot be encoded: {error}"
        )),
    }
}
