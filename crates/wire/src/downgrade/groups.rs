//! Answers about groups in the words of an older version.

use super::OPERATIONS_UNSET;
use crate::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::messages::{
    DescribeGroupsResponse, JoinGroupResponse, LeaveGroupResponse, OffsetFetchResponse, ResponseKind,
};

/// The response as version `version` can carry it; `None` if nothing has to change.
pub(super) fn changed(response: &ResponseKind, version: i16) -> Option<ResponseKind> {
    Some(match response {
        ResponseKind::JoinGroup(r) if version < 9 => ResponseKind::JoinGroup(join_group(r, version)),
        ResponseKind::LeaveGroup(r) if version < 3 => ResponseKind::LeaveGroup(leave_group(r)),
        ResponseKind::OffsetFetch(r) => ResponseKind::OffsetFetch(offset_fetch(r, version)?),
        ResponseKind::DescribeGroups(r) if version < 6 => ResponseKind::DescribeGroups(describe_groups(r, version)),
        _ => return None,
    })
}

/// Skipped assignments came with v9 (KIP-814), a protocol that is none with v7 (KIP-559).
fn join_group(response: &JoinGroupResponse, version: i16) -> JoinGroupResponse {
    let mut response = response.clone().with_skip_assignment(false);
    if version < 7 {
        response.protocol_name.get_or_insert_default();
    }
    response
}

/// Several members came with v3 (KIP-345); before, the only one's error is the answer's.
fn leave_group(response: &LeaveGroupResponse) -> LeaveGroupResponse {
    let mut response = response.clone();
    let members = std::mem::take(&mut response.members);
    if let [only] = &members[..]
        && response.error_code == 0
    {
        response.error_code = only.error_code;
    }
    response
}

/// Several groups came with v8 (KIP-709); before, the only one is the answer.
fn offset_fetch(response: &OffsetFetchResponse, version: i16) -> Option<OffsetFetchResponse> {
    if version >= 8 && response.topics.is_empty() && response.error_code == 0 {
        return None;
    }
    let mut response = response.clone();
    if version < 8 {
        if let Some(only) = std::mem::take(&mut response.groups).into_iter().next() {
            response.error_code = only.error_code;
            response.topics = only.topics.into_iter().map(older).collect();
        }
        return Some(response);
    }
    let only = OffsetFetchResponseGroup::default()
        .with_error_code(std::mem::take(&mut response.error_code))
        .with_topics(std::mem::take(&mut response.topics).into_iter().map(newer).collect());
    response.groups.push(only);
    Some(response)
}

fn older(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn newer(topic: OffsetFetchResponseTopic) -> OffsetFetchResponseTopics {
    let partition = |partition: OffsetFetchResponsePartition| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    OffsetFetchResponseTopics::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

/// Messages came with v6 (KIP-1043), authorized operations with v3 (KIP-430).
fn describe_groups(response: &DescribeGroupsResponse, version: i16) -> DescribeGroupsResponse {
    let mut response = response.clone();
    for group in &mut response.groups {
        group.error_message = None;
        if version < 3 {
            group.authorized_operations = OPERATIONS_UNSET;
        }
    }
    response
}
