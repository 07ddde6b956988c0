//! Responses in the words of an older version.
//!
//! A handler fills in all that it knows. The codec refuses a field that is newer than the version, so what
//! the version cannot say is cleared here, and what it says differently is translated.

mod groups;

use crate::messages::DescribeQuorumResponse;
use crate::messages::describe_cluster_response::DescribeClusterResponse;
use crate::messages::fetch_response::{EpochEndOffset, FetchResponse, LeaderIdAndEpoch};
use crate::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use crate::messages::metadata_response::MetadataResponse;
use crate::messages::produce_response::{self, ProduceResponse};
use crate::messages::{
    ApiVersionsResponse, CreateTopicsResponse, DeleteTopicsResponse, ElectLeadersResponse, ListOffsetsResponse,
    ResponseKind,
};
use std::borrow::Cow;
use types::ErrorCode;

/// Where an authorized-operations field was not asked for (KIP-430).
const OPERATIONS_UNSET: i32 = i32::MIN;

/// The response as version `version` can carry it; borrowed if nothing had to change.
pub(crate) fn downgraded(response: &ResponseKind, version: i16) -> Cow<'_, ResponseKind> {
    let changed = match response {
        ResponseKind::Produce(r) if version < 10 => produce(r, version).map(ResponseKind::Produce),
        ResponseKind::Fetch(r) if version < 16 => fetch(r, version).map(ResponseKind::Fetch),
        ResponseKind::ListOffsets(r) if version < 5 => Some(ResponseKind::ListOffsets(list_offsets(r, version))),
        ResponseKind::Metadata(r) => metadata(r, version).map(ResponseKind::Metadata),
        ResponseKind::FindCoordinator(r) => find_coordinator(r, version).map(ResponseKind::FindCoordinator),
        ResponseKind::ApiVersions(r) if version < 4 => Some(ResponseKind::ApiVersions(api_versions(r, version))),
        ResponseKind::CreateTopics(r) if version < 5 => Some(ResponseKind::CreateTopics(create_topics(r))),
        ResponseKind::DeleteTopics(r) if version < 6 => Some(ResponseKind::DeleteTopics(delete_topics(r, version))),
        ResponseKind::DescribeCluster(r) if version < 2 => {
            Some(ResponseKind::DescribeCluster(describe_cluster(r, version)))
        }
        ResponseKind::DescribeQuorum(r) if version < 2 => Some(ResponseKind::DescribeQuorum(describe_quorum(r))),
        ResponseKind::ElectLeaders(r) if version < 1 => Some(ResponseKind::ElectLeaders(elect_leaders(r))),
        ResponseKind::AlterPartitionReassignments(r) if version < 1 => Some(ResponseKind::AlterPartitionReassignments(
            r.clone().with_allow_replication_factor_change(true),
        )),
        ResponseKind::InitProducerId(r) if version < 6 => Some(ResponseKind::InitProducerId(
            r.clone()
                .with_ongoing_txn_producer_id((-1).into())
                .with_ongoing_txn_producer_epoch(-1),
        )),
        other => groups::changed(other, version),
    };
    changed.map_or(Cow::Borrowed(response), Cow::Owned)
}

/// Record errors came with v8 (KIP-467), leaders with v10 (KIP-951). The requester of v3 need not know
/// KAFKA_STORAGE_ERROR (message definition, "Version 4").
fn produce(response: &ProduceResponse, version: i16) -> Option<ProduceResponse> {
    let storage = ErrorCode::KafkaStorageError.code();
    let leaderless = produce_response::LeaderIdAndEpoch::default();
    let fits = response.node_endpoints.is_empty()
        && response.responses.iter().flat_map(|t| &t.partition_responses).all(|p| {
            p.current_leader == leaderless
                && (version >= 8 || p.record_errors.is_empty())
                && (version > 3 || p.error_code != storage)
        });
    if fits {
        return None;
    }
    let mut response = response.clone();
    response.node_endpoints.clear();
    for partition in response.responses.iter_mut().flat_map(|t| &mut t.partition_responses) {
        partition.current_leader = leaderless.clone();
        if version < 8 {
            partition.record_errors.clear();
        }
        if version <= 3 && partition.error_code == storage {
            partition.error_code = ErrorCode::NotLeaderOrFollower.code();
        }
    }
    Some(response)
}

/// Sessions came with v7, the preferred replica with v11, diverging epochs with v12 (tagged), endpoints with
/// v16. The form has leaders from v12 too, but Kafka tells them from v16 on only (KIP-951). The requester of v5 need not know KAFKA_STORAGE_ERROR.
fn fetch(response: &FetchResponse, version: i16) -> Option<FetchResponse> {
    let storage = ErrorCode::KafkaStorageError.code();
    let fits = response.node_endpoints.is_empty()
        && (version >= 7 || response.session_id == 0)
        && response.responses.iter().flat_map(|t| &t.partitions).all(|p| {
            p.current_leader == LeaderIdAndEpoch::default()
                && (version >= 12
                    || (p.diverging_epoch == EpochEndOffset::default() && p.snapshot_id == Default::default()))
                && (version >= 11 || p.preferred_read_replica.0 == -1)
                && (version > 5 || p.error_code != storage)
        });
    if fits {
        return None;
    }
    let mut response = response.clone();
    response.node_endpoints.clear();
    if version < 7 {
        response.session_id = 0;
    }
    for partition in response.responses.iter_mut().flat_map(|t| &mut t.partitions) {
        partition.current_leader = LeaderIdAndEpoch::default();
        if version < 12 {
            partition.diverging_epoch = EpochEndOffset::default();
            partition.snapshot_id = Default::default();
        }
        if version < 11 {
            partition.preferred_read_replica = (-1).into();
        }
        if version <= 5 && partition.error_code == storage {
            partition.error_code = ErrorCode::NotLeaderOrFollower.code();
        }
    }
    Some(response)
}

/// An error of the whole request came with v1; before, each partition has it.
fn elect_leaders(response: &ElectLeadersResponse) -> ElectLeadersResponse {
    let mut response = response.clone();
    let code = std::mem::take(&mut response.error_code);
    if code != 0 {
        let topics = response.replica_election_results.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partition_result) {
            partition.error_code = code;
        }
    }
    response
}

/// Leader epochs came with v4. The requester of v4 need not know OFFSET_NOT_AVAILABLE (KIP-207).
fn list_offsets(response: &ListOffsetsResponse, version: i16) -> ListOffsetsResponse {
    let mut response = response.clone();
    for partition in response.topics.iter_mut().flat_map(|t| &mut t.partitions) {
        if version < 4 {
            partition.leader_epoch = -1;
        }
        if partition.error_code == ErrorCode::OffsetNotAvailable.code() {
            partition.error_code = ErrorCode::LeaderNotAvailable.code();
        }
    }
    response
}

/// Operations of the cluster exist in v8-10, of a topic from v8; a topic may be without a name from v12.
fn metadata(response: &MetadataResponse, version: i16) -> Option<MetadataResponse> {
    let cluster_operations = (8..=10).contains(&version);
    let fits = (cluster_operations || response.cluster_authorized_operations == OPERATIONS_UNSET)
        && response.topics.iter().all(|t| {
            (version >= 8 || t.topic_authorized_operations == OPERATIONS_UNSET) && (version >= 12 || t.name.is_some())
        });
    if fits {
        return None;
    }
    let mut response = response.clone();
    if !cluster_operations {
        response.cluster_authorized_operations = OPERATIONS_UNSET;
    }
    for topic in &mut response.topics {
        if version < 8 {
            topic.topic_authorized_operations = OPERATIONS_UNSET;
        }
        if version < 12 {
            topic.name.get_or_insert_default();
        }
    }
    Some(response)
}

/// v4 answers for several keys (KIP-699); before it there is one coordinator, without its key.
fn find_coordinator(response: &FindCoordinatorResponse, version: i16) -> Option<FindCoordinatorResponse> {
    let plain = FindCoordinatorResponse::default().with_throttle_time_ms(response.throttle_time_ms);
    if version < 4 {
        let first = response.coordinators.first()?;
        return Some(
            plain
                .with_error_code(first.error_code)
                .with_error_message(first.error_message.clone())
                .with_node_id(first.node_id)
                .with_host(first.host.clone())
                .with_port(first.port),
        );
    }
    let mut bare = response.clone();
    let coordinators = std::mem::take(&mut bare.coordinators);
    if bare == plain {
        return None;
    }
    if !coordinators.is_empty() {
        return Some(plain.with_coordinators(coordinators));
    }
    let only = Coordinator::default()
        .with_error_code(bare.error_code)
        .with_error_message(bare.error_message)
        .with_node_id(bare.node_id)
        .with_host(bare.host)
        .with_port(bare.port);
    Some(plain.with_coordinators(vec![only]))
}

/// Features came with v3; before v4 those with a minimum of 0 are omitted, because old clients refuse them
/// (KAFKA-17011).
fn api_versions(response: &ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    let mut response = response.clone();
    if version < 3 {
        response.supported_features.clear();
        response.finalized_features.clear();
        response.finalized_features_epoch = -1;
        response.zk_migration_ready = false;
    } else {
        response.supported_features.retain(|f| f.min_version > 0);
    }
    response
}

/// Configs, partition count and factor came with v5 (KIP-525).
fn create_topics(response: &CreateTopicsResponse) -> CreateTopicsResponse {
    let mut response = response.clone();
    for topic in &mut response.topics {
        topic.configs = Some(Vec::new());
        topic.topic_config_error_code = 0;
        topic.num_partitions = -1;
        topic.replication_factor = -1;
    }
    response
}

/// Messages came with v5, topic ids with v6, and with them topics without a name.
fn delete_topics(response: &DeleteTopicsResponse, version: i16) -> DeleteTopicsResponse {
    let mut response = response.clone();
    for topic in &mut response.responses {
        topic.name.get_or_insert_default();
        topic.topic_id = Default::default();
        if version < 5 {
            topic.error_message = None;
        }
    }
    response
}

/// Nodes and directories came with v2 (KIP-853).
fn describe_quorum(response: &DescribeQuorumResponse) -> DescribeQuorumResponse {
    let mut response = response.clone().with_nodes(Vec::new());
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        for replica in partition.current_voters.iter_mut().chain(&mut partition.observers) {
            replica.replica_directory_id = Default::default();
        }
    }
    response
}

/// Endpoint types came with v1 (KIP-919), fenced brokers with v2.
fn describe_cluster(response: &DescribeClusterResponse, version: i16) -> DescribeClusterResponse {
    let mut response = response.clone();
    if version < 1 {
        response.endpoint_type = 1;
    }
    for broker in &mut response.brokers {
        broker.is_fenced = false;
    }
    response
}
