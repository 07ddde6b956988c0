//! From a request to its handler.

use crate::memory_budget::Fetched;
use crate::produce::{self, Produced};
use crate::{
    Services, alter_configs, alter_partition_reassignments, api_versions, create_partitions, create_topics,
    delete_groups, delete_records, delete_topics, describe_cluster, describe_configs, describe_groups,
    describe_log_dirs, describe_quorum, describe_topic_partitions, elect_leaders, fetch, find_coordinator, heartbeat,
    init_producer_id, join_group, leave_group, list_groups, list_offsets, list_partition_reassignments, metadata_api,
    offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch, sync_group, unregister_broker,
};
use futures::future::LocalBoxFuture;
use host::Gathered;
use std::net::IpAddr;
use std::rc::Rc;
use types::limits;
use wire::messages::{RequestKind, ResponseKind};
use wire::{ApiKey, RequestFrame, WireError};

/// What to do with the connection after a request.
pub(crate) enum Outcome {
    /// Bytes to send, and the memory of the records in them.
    Answer(Gathered, Option<Fetched>),
    Silent,
    Close(String),
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub(crate) client_id: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

/// Starts a request. A Produce has started its appends when this is over, which takes a while if its batches are much
/// work; everything else starts when the future that it gives is polled. The frame is decoded here, so that garbage is
/// refused in the order of arrival.
pub(crate) async fn start(
    services: &Rc<Services>,
    frame: &RequestFrame,
    address: Option<IpAddr>,
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
        let produced = produce::start(services, request, version, frame.client_id.as_deref()).await;
        return Ok(Box::pin(async move {
            match produced.await {
                Produced::Answer(response) => encode(key, version, correlation, &ResponseKind::Produce(response), None),
                Produced::Silent => Outcome::Silent,
                Produced::Close(code) => Outcome::Close(format!("a produce that cannot be answered failed: {code}")),
            }
        }));
    }
    let mut request = request;
    if let RequestKind::Fetch(fetch) = &mut request
        && frame.size > limits::FETCH_UNHELD_BYTES
    {
        let most = i32::try_from(limits::LARGE_FETCH_WAIT.as_millis()).unwrap_or(i32::MAX);
        fetch.max_wait_ms = fetch.max_wait_ms.min(most);
    }
    let services = Rc::clone(services);
    let origin = Origin {
        client_id: frame.client_id.clone(),
        address,
    };
    Ok(Box::pin(async move {
        match answer(&services, request, version, origin).await {
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
    origin: Origin,
) -> Option<(ResponseKind, Option<Fetched>)> {
    let random = services.host.random_u64();
    let response = match request {
        RequestKind::Fetch(r) => {
            let (response, held) = fetch::answer(services, r, version).await;
            return Some((ResponseKind::Fetch(response), held));
        }
        RequestKind::ListOffsets(r) => ResponseKind::ListOffsets(list_offsets::answer(services, r, version).await),
        RequestKind::Metadata(r) => ResponseKind::Metadata(metadata_api::answer(services, &r, version)),
        RequestKind::FindCoordinator(r) => {
            ResponseKind::FindCoordinator(find_coordinator::answer(services, r, version).await)
        }
        RequestKind::JoinGroup(r) => ResponseKind::JoinGroup(join_group::answer(services, r, version, origin).await),
        RequestKind::SyncGroup(r) => ResponseKind::SyncGroup(sync_group::answer(services, r, version).await),
        RequestKind::Heartbeat(r) => ResponseKind::Heartbeat(heartbeat::answer(services, r).await),
        RequestKind::LeaveGroup(r) => ResponseKind::LeaveGroup(leave_group::answer(services, r, version).await),
        RequestKind::OffsetCommit(r) => ResponseKind::OffsetCommit(offset_commit::answer(services, r, version).await),
        RequestKind::OffsetFetch(r) => ResponseKind::OffsetFetch(offset_fetch::answer(services, r, version).await),
        RequestKind::OffsetDelete(r) => ResponseKind::OffsetDelete(offset_delete::answer(services, r).await),
        RequestKind::ListGroups(r) => ResponseKind::ListGroups(list_groups::answer(services, r).await),
        RequestKind::DescribeGroups(r) => {
            ResponseKind::DescribeGroups(describe_groups::answer(services, r, version).await)
        }
        RequestKind::DeleteGroups(r) => ResponseKind::DeleteGroups(delete_groups::answer(services, r).await),
        RequestKind::ApiVersions(r) => ResponseKind::ApiVersions(api_versions::answer(&services.image(), &r, version)),
        RequestKind::CreateTopics(r) => ResponseKind::CreateTopics(create_topics::answer(services, r, version).await),
        RequestKind::DeleteTopics(r) => ResponseKind::DeleteTopics(delete_topics::answer(services, r, version).await),
        RequestKind::InitProducerId(r) => ResponseKind::InitProducerId(init_producer_id::answer(services, r).await),
        RequestKind::OffsetForLeaderEpoch(r) => {
            ResponseKind::OffsetForLeaderEpoch(offset_for_leader_epoch::answer(services, r).await)
        }
        RequestKind::DescribeConfigs(r) => ResponseKind::DescribeConfigs(describe_configs::answer(services, &r)),
        RequestKind::AlterConfigs(r) => ResponseKind::AlterConfigs(alter_configs::answer(services, r).await),
        RequestKind::IncrementalAlterConfigs(r) => {
            ResponseKind::IncrementalAlterConfigs(alter_configs::answer_incremental(services, r).await)
        }
        RequestKind::CreatePartitions(r) => {
            ResponseKind::CreatePartitions(create_partitions::answer(services, r).await)
        }
        RequestKind::AlterPartitionReassignments(r) => {
            ResponseKind::AlterPartitionReassignments(alter_partition_reassignments::answer(services, r).await)
        }
        RequestKind::ListPartitionReassignments(r) => {
            ResponseKind::ListPartitionReassignments(list_partition_reassignments::answer(&services.image(), &r))
        }
        RequestKind::ElectLeaders(r) => ResponseKind::ElectLeaders(elect_leaders::answer(services, r).await),
        RequestKind::DeleteRecords(r) => ResponseKind::DeleteRecords(delete_records::answer(services, r).await),
        RequestKind::DescribeLogDirs(r) => ResponseKind::DescribeLogDirs(describe_log_dirs::answer(services, r).await),
        RequestKind::DescribeCluster(r) => {
            ResponseKind::DescribeCluster(describe_cluster::answer(&services.image(), &r, random))
        }
        RequestKind::DescribeQuorum(r) => ResponseKind::DescribeQuorum(describe_quorum::answer(services, &r).await),
        RequestKind::UnregisterBroker(r) => {
            ResponseKind::UnregisterBroker(unregister_broker::answer(services, &r).await)
        }
        RequestKind::DescribeTopicPartitions(r) => {
            let limit = services.settings.max_request_partition_size_limit;
            ResponseKind::DescribeTopicPartitions(describe_topic_partitions::answer(&services.image(), &r, limit))
        }
        _ => return None,
    };
    Some((response, None))
}

fn encode(key: i16, version: i16, correlation: i32, response: &ResponseKind, held: Option<Fetched>) -> Outcome {
    match wire::encode_response(key, version, correlation, response) {
        Ok(answer) => Outcome::Answer(answer, held),
        Err(error) => Outcome::Close(format!(
            "an answer to API key {key} version {version} cannot be encoded: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use bytes::Bytes;
    use wire::messages::*;

    /// An empty request of each API that is served.
    fn empty(key: ApiKey) -> RequestKind {
        match key {
            ApiKey::Produce => RequestKind::Produce(ProduceRequest::default().with_acks(-1)),
            ApiKey::Fetch => RequestKind::Fetch(FetchRequest::default().with_session_epoch(-1)),
            ApiKey::ListOffsets => RequestKind::ListOffsets(ListOffsetsRequest::default()),
            ApiKey::Metadata => RequestKind::Metadata(MetadataRequest::default()),
            ApiKey::FindCoordinator => RequestKind::FindCoordinator(FindCoordinatorRequest::default()),
            ApiKey::ApiVersions => RequestKind::ApiVersions(ApiVersionsRequest::default()),
            ApiKey::CreateTopics => RequestKind::CreateTopics(CreateTopicsRequest::default()),
            ApiKey::DeleteTopics => RequestKind::DeleteTopics(DeleteTopicsRequest::default()),
            ApiKey::InitProducerId => RequestKind::InitProducerId(InitProducerIdRequest::default()),
            ApiKey::OffsetForLeaderEpoch => RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default()),
            ApiKey::DescribeConfigs => RequestKind::DescribeConfigs(DescribeConfigsRequest::default()),
            ApiKey::DescribeQuorum => RequestKind::DescribeQuorum(DescribeQuorumRequest::default()),
            ApiKey::UnregisterBroker => RequestKind::UnregisterBroker(UnregisterBrokerRequest::default()),
            ApiKey::DescribeCluster => RequestKind::DescribeCluster(DescribeClusterRequest::default()),
            ApiKey::DescribeTopicPartitions => {
                RequestKind::DescribeTopicPartitions(DescribeTopicPartitionsRequest::default())
            }
            ApiKey::AlterConfigs => RequestKind::AlterConfigs(AlterConfigsRequest::default()),
            ApiKey::IncrementalAlterConfigs => {
                RequestKind::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::default())
            }
            ApiKey::CreatePartitions => RequestKind::CreatePartitions(CreatePartitionsRequest::default()),
            ApiKey::AlterPartitionReassignments => {
                RequestKind::AlterPartitionReassignments(AlterPartitionReassignmentsRequest::default())
            }
            ApiKey::ListPartitionReassignments => {
                RequestKind::ListPartitionReassignments(ListPartitionReassignmentsRequest::default())
            }
            ApiKey::ElectLeaders => RequestKind::ElectLeaders(ElectLeadersRequest::default()),
            ApiKey::DeleteRecords => RequestKind::DeleteRecords(DeleteRecordsRequest::default()),
            ApiKey::DescribeLogDirs => RequestKind::DescribeLogDirs(DescribeLogDirsRequest::default()),
            ApiKey::OffsetCommit => RequestKind::OffsetCommit(OffsetCommitRequest::default()),
            ApiKey::OffsetFetch => RequestKind::OffsetFetch(OffsetFetchRequest::default()),
            ApiKey::JoinGroup => RequestKind::JoinGroup(JoinGroupRequest::default()),
            ApiKey::Heartbeat => RequestKind::Heartbeat(HeartbeatRequest::default()),
            ApiKey::LeaveGroup => RequestKind::LeaveGroup(LeaveGroupRequest::default()),
            ApiKey::SyncGroup => RequestKind::SyncGroup(SyncGroupRequest::default()),
            ApiKey::DescribeGroups => RequestKind::DescribeGroups(DescribeGroupsRequest::default()),
            ApiKey::ListGroups => RequestKind::ListGroups(ListGroupsRequest::default()),
            ApiKey::DeleteGroups => RequestKind::DeleteGroups(DeleteGroupsRequest::default()),
            ApiKey::OffsetDelete => RequestKind::OffsetDelete(OffsetDeleteRequest::default()),
            other => panic!("{other:?} is served and has no request here"),
        }
    }

    /// The request as a client sends it; the versions that the codec no longer writes are written here.
    fn frame(key: ApiKey, version: i16) -> RequestFrame {
        let body: &[u8] = match (key, version) {
            // No topics, a timeout, and from 1 on: only validate.
            (ApiKey::CreateTopics, 0) | (ApiKey::DeleteTopics, 0) => &[0; 8],
            (ApiKey::CreateTopics, 1) => &[0; 9],
            (ApiKey::DescribeConfigs, 0) => &[0; 4],
            _ => {
                let bytes = wire::client::encode_request(key, version, 9, "tester", &empty(key)).unwrap();
                return wire::parse_frame(bytes.slice(4..)).unwrap();
            }
        };
        RequestFrame {
            api_key: key as i16,
            api_version: version,
            correlation_id: 9,
            client_id: None,
            body: Bytes::from_static(body),
            size: body.len(),
        }
    }

    #[test]
    fn every_served_version_reaches_a_handler() {
        for range in wire::SERVED {
            for version in range.served_min()..=range.max {
                let context = format!("{:?} v{version}", range.key);
                let node = TestNode::new(cluster());
                let frame = frame(range.key, version);
                let outcome = run(async { start(&node.services, &frame, None).await.expect(&context).await });
                match outcome {
                    Outcome::Answer(answer, _) => {
                        assert_eq!(answer.into_bytes()[4..8], 9i32.to_be_bytes(), "{context}")
                    }
                    Outcome::Silent => panic!("{context} is not answered"),
                    Outcome::Close(why) => panic!("{context}: {why}"),
                }
            }
        }
    }

    #[test]
    fn what_is_not_served_is_refused() {
        for (key, version) in [(0, 2), (2, 12), (3, 14), (9, 1), (999, 0)] {
            let node = TestNode::new(cluster());
            let frame = RequestFrame {
                api_key: key,
                api_version: version,
                correlation_id: 9,
                client_id: None,
                body: Bytes::new(),
                size: 0,
            };
            assert!(
                run(async { start(&node.services, &frame, None).await.is_err() }),
                "key {key} v{version}"
            );
        }
    }
}
