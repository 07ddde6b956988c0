//! Shapes of what members and operators of groups say, in the words of Kafka's message definitions.

use super::Shape;
use super::field::*;
use kafka_protocol::messages::{
    ApiKey, delete_groups_response, describe_groups_response, join_group_request, join_group_response,
    leave_group_request, leave_group_response, list_groups_response, offset_commit_request, offset_commit_response,
    offset_delete_request, offset_delete_response, offset_fetch_request, offset_fetch_response, sync_group_request,
};

pub(super) fn request_shape(key: ApiKey) -> Option<&'static Shape> {
    Some(match key {
        ApiKey::JoinGroup => &JOIN_GROUP_REQUEST,
        ApiKey::SyncGroup => &SYNC_GROUP_REQUEST,
        ApiKey::Heartbeat => &HEARTBEAT_REQUEST,
        ApiKey::LeaveGroup => &LEAVE_GROUP_REQUEST,
        ApiKey::OffsetCommit => &OFFSET_COMMIT_REQUEST,
        ApiKey::OffsetFetch => &OFFSET_FETCH_REQUEST,
        ApiKey::OffsetDelete => &OFFSET_DELETE_REQUEST,
        ApiKey::ListGroups => &LIST_GROUPS_REQUEST,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS_REQUEST,
        ApiKey::DeleteGroups => &DELETE_GROUPS_REQUEST,
        _ => return None,
    })
}

pub(super) fn response_shape(key: ApiKey) -> Option<&'static Shape> {
    Some(match key {
        ApiKey::JoinGroup => &JOIN_GROUP_RESPONSE,
        ApiKey::SyncGroup => &SYNC_GROUP_RESPONSE,
        ApiKey::Heartbeat => &HEARTBEAT_RESPONSE,
        ApiKey::LeaveGroup => &LEAVE_GROUP_RESPONSE,
        ApiKey::OffsetCommit => &OFFSET_COMMIT_RESPONSE,
        ApiKey::OffsetFetch => &OFFSET_FETCH_RESPONSE,
        ApiKey::OffsetDelete => &OFFSET_DELETE_RESPONSE,
        ApiKey::ListGroups => &LIST_GROUPS_RESPONSE,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS_RESPONSE,
        ApiKey::DeleteGroups => &DELETE_GROUPS_RESPONSE,
        _ => return None,
    })
}

/// No version is flexible.
const NEVER: i16 = i16::MAX;

const JOIN_GROUP_REQUEST: Shape = Shape {
    flexible: 6,
    fields: &[
        string("group_id"),
        int32("session_timeout_ms"),
        int32("rebalance_timeout_ms").since(1),
        string("member_id"),
        string("group_instance_id").nullable().since(5),
        string("protocol_type"),
        array::<join_group_request::JoinGroupRequestProtocol>("protocols", &[string("name"), bytes("metadata")]),
        string("reason").nullable().since(8),
    ],
};

const JOIN_GROUP_RESPONSE: Shape = Shape {
    flexible: 6,
    fields: &[
        int32("throttle_time_ms").since(2),
        int16("error_code"),
        int32("generation_id"),
        string("protocol_type").nullable().since(7),
        string("protocol_name").nullable_since(7),
        string("leader"),
        boolean("skip_assignment").since(9),
        string("member_id"),
        array::<join_group_response::JoinGroupResponseMember>(
            "members",
            &[
                string("member_id"),
                string("group_instance_id").nullable().since(5),
                bytes("metadata"),
            ],
        ),
    ],
};

const SYNC_GROUP_REQUEST: Shape = Shape {
    flexible: 4,
    fields: &[
        string("group_id"),
        int32("generation_id"),
        string("member_id"),
        string("group_instance_id").nullable().since(3),
        string("protocol_type").nullable().since(5),
        string("protocol_name").nullable().since(5),
        array::<sync_group_request::SyncGroupRequestAssignment>(
            "assignments",
            &[string("member_id"), bytes("assignment")],
        ),
    ],
};

const SYNC_GROUP_RESPONSE: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        string("protocol_type").nullable().since(5),
        string("protocol_name").nullable().since(5),
        bytes("assignment"),
    ],
};

const HEARTBEAT_REQUEST: Shape = Shape {
    flexible: 4,
    fields: &[
        string("group_id"),
        int32("generation_id"),
        string("member_id"),
        string("group_instance_id").nullable().since(3),
    ],
};

const HEARTBEAT_RESPONSE: Shape = Shape {
    flexible: 4,
    fields: &[int32("throttle_time_ms").since(1), int16("error_code")],
};

const LEAVE_GROUP_REQUEST: Shape = Shape {
    flexible: 4,
    fields: &[
        string("group_id"),
        string("member_id").until(2),
        array::<leave_group_request::MemberIdentity>(
            "members",
            &[
                string("member_id"),
                string("group_instance_id").nullable(),
                string("reason").nullable().since(5),
            ],
        )
        .since(3),
    ],
};

const LEAVE_GROUP_RESPONSE: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        array::<leave_group_response::MemberResponse>(
            "members",
            &[
                string("member_id"),
                string("group_instance_id").nullable(),
                int16("error_code"),
            ],
        )
        .since(3),
    ],
};

const OFFSET_COMMIT_REQUEST: Shape = Shape {
    flexible: 8,
    fields: &[
        string("group_id"),
        int32("generation_id_or_member_epoch"),
        string("member_id"),
        string("group_instance_id").nullable().since(7),
        int64("retention_time_ms").until(4),
        array::<offset_commit_request::OffsetCommitRequestTopic>(
            "topics",
            &[
                string("name").until(9),
                uuid("topic_id").since(10),
                array::<offset_commit_request::OffsetCommitRequestPartition>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int64("committed_offset"),
                        int32("committed_leader_epoch").since(6),
                        string("committed_metadata").nullable(),
                    ],
                ),
            ],
        ),
    ],
};

const OFFSET_COMMIT_RESPONSE: Shape = Shape {
    flexible: 8,
    fields: &[
        int32("throttle_time_ms").since(3),
        array::<offset_commit_response::OffsetCommitResponseTopic>(
            "topics",
            &[
                string("name").until(9),
                uuid("topic_id").since(10),
                array::<offset_commit_response::OffsetCommitResponsePartition>(
                    "partitions",
                    &[int32("partition_index"), int16("error_code")],
                ),
            ],
        ),
    ],
};

const OFFSET_FETCH_REQUEST: Shape = Shape {
    flexible: 6,
    fields: &[
        string("group_id").until(7),
        array::<offset_fetch_request::OffsetFetchRequestTopic>(
            "topics",
            &[string("name"), int32_array("partition_indexes")],
        )
        .until(7)
        .nullable_since(2),
        array::<offset_fetch_request::OffsetFetchRequestGroup>(
            "groups",
            &[
                string("group_id"),
                string("member_id").nullable().since(9),
                int32("member_epoch").since(9),
                array::<offset_fetch_request::OffsetFetchRequestTopics>(
                    "topics",
                    &[
                        string("name").until(9),
                        uuid("topic_id").since(10),
                        int32_array("partition_indexes"),
                    ],
                )
                .nullable(),
            ],
        )
        .since(8),
        boolean("require_stable").since(7),
    ],
};

const OFFSET_FETCH_RESPONSE: Shape = Shape {
    flexible: 6,
    fields: &[
        int32("throttle_time_ms").since(3),
        array::<offset_fetch_response::OffsetFetchResponseTopic>(
            "topics",
            &[
                string("name"),
                array::<offset_fetch_response::OffsetFetchResponsePartition>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int64("committed_offset"),
                        int32("committed_leader_epoch").since(5),
                        string("metadata").nullable(),
                        int16("error_code"),
                    ],
                ),
            ],
        )
        .until(7),
        int16("error_code").since(2).until(7),
        array::<offset_fetch_response::OffsetFetchResponseGroup>(
            "groups",
            &[
                string("group_id"),
                array::<offset_fetch_response::OffsetFetchResponseTopics>(
                    "topics",
                    &[
                        string("name").until(9),
                        uuid("topic_id").since(10),
                        array::<offset_fetch_response::OffsetFetchResponsePartitions>(
                            "partitions",
                            &[
                                int32("partition_index"),
                                int64("committed_offset"),
                                int32("committed_leader_epoch"),
                                string("metadata").nullable(),
                                int16("error_code"),
                            ],
                        ),
                    ],
                ),
                int16("error_code"),
            ],
        )
        .since(8),
    ],
};

const OFFSET_DELETE_REQUEST: Shape = Shape {
    flexible: NEVER,
    fields: &[
        string("group_id"),
        array::<offset_delete_request::OffsetDeleteRequestTopic>(
            "topics",
            &[
                string("name"),
                array::<offset_delete_request::OffsetDeleteRequestPartition>("partitions", &[int32("partition_index")]),
            ],
        ),
    ],
};

const OFFSET_DELETE_RESPONSE: Shape = Shape {
    flexible: NEVER,
    fields: &[
        int16("error_code"),
        int32("throttle_time_ms"),
        array::<offset_delete_response::OffsetDeleteResponseTopic>(
            "topics",
            &[
                string("name"),
                array::<offset_delete_response::OffsetDeleteResponsePartition>(
                    "partitions",
                    &[int32("partition_index"), int16("error_code")],
                ),
            ],
        ),
    ],
};

const LIST_GROUPS_REQUEST: Shape = Shape {
    flexible: 3,
    fields: &[
        string_array("states_filter").since(4),
        string_array("types_filter").since(5),
    ],
};

const LIST_GROUPS_RESPONSE: Shape = Shape {
    flexible: 3,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code"),
        array::<list_groups_response::ListedGroup>(
            "groups",
            &[
                string("group_id"),
                string("protocol_type"),
                string("group_state").since(4),
                string("group_type").since(5),
            ],
        ),
    ],
};

const DESCRIBE_GROUPS_REQUEST: Shape = Shape {
    flexible: 5,
    fields: &[
        string_array("groups"),
        boolean("include_authorized_operations").since(3),
    ],
};

const DESCRIBE_GROUPS_RESPONSE: Shape = Shape {
    flexible: 5,
    fields: &[
        int32("throttle_time_ms").since(1),
        array::<describe_groups_response::DescribedGroup>(
            "groups",
            &[
                int16("error_code"),
                string("error_message").nullable().since(6),
                string("group_id"),
                string("group_state"),
                string("protocol_type"),
                string("protocol_data"),
                array::<describe_groups_response::DescribedGroupMember>(
                    "members",
                    &[
                        string("member_id"),
                        string("group_instance_id").nullable().since(4),
                        string("client_id"),
                        string("client_host"),
                        bytes("member_metadata"),
                        bytes("member_assignment"),
                    ],
                ),
                int32("authorized_operations").since(3),
            ],
        ),
    ],
};

const DELETE_GROUPS_REQUEST: Shape = Shape {
    flexible: 2,
    fields: &[string_array("groups_names")],
};

const DELETE_GROUPS_RESPONSE: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        array::<delete_groups_response::DeletableGroupResult>("results", &[string("group_id"), int16("error_code")]),
    ],
};
