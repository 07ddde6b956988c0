//! Shapes of the requests, in the words of Kafka's message definitions.

use super::field::*;
use super::{Shape, groups};
use kafka_protocol::messages::{
    ApiKey, alter_configs_request, alter_partition_reassignments_request, create_partitions_request,
    create_topics_request, delete_records_request, delete_topics_request, describe_configs_request,
    describe_log_dirs_request, describe_quorum_request, describe_topic_partitions_request, elect_leaders_request,
    fetch_request, incremental_alter_configs_request, list_offsets_request, list_partition_reassignments_request,
    metadata_request, offset_for_leader_epoch_request, produce_request,
};

/// The shape of this API's requests, if its grammar is written down.
pub(crate) fn request_shape(key: ApiKey) -> Option<&'static Shape> {
    Some(match key {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        ApiKey::DescribeTopicPartitions => &DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        ApiKey::AlterConfigs => &ALTER_CONFIGS,
        ApiKey::CreatePartitions => &CREATE_PARTITIONS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::DescribeQuorum => &DESCRIBE_QUORUM,
        ApiKey::UnregisterBroker => &UNREGISTER_BROKER,
        ApiKey::ElectLeaders => &ELECT_LEADERS,
        ApiKey::AlterPartitionReassignments => &ALTER_PARTITION_REASSIGNMENTS,
        ApiKey::ListPartitionReassignments => &LIST_PARTITION_REASSIGNMENTS,
        ApiKey::DescribeLogDirs => &DESCRIBE_LOG_DIRS,
        _ => return groups::request_shape(key),
    })
}

const PRODUCE: Shape = Shape {
    flexible: 9,
    fields: &[
        string("transactional_id").nullable(),
        int16("acks"),
        int32("timeout_ms"),
        array::<produce_request::TopicProduceData>(
            "topic_data",
            &[
                string("name").until(12),
                uuid("topic_id").since(13),
                array::<produce_request::PartitionProduceData>(
                    "partition_data",
                    &[int32("index"), records("records").nullable()],
                ),
            ],
        ),
    ],
};

const FETCH: Shape = Shape {
    flexible: 12,
    fields: &[
        int32("replica_id").until(14),
        int32("max_wait_ms"),
        int32("min_bytes"),
        int32("max_bytes"),
        int8("isolation_level"),
        int32("session_id").since(7),
        int32("session_epoch").since(7),
        array::<fetch_request::FetchTopic>(
            "topics",
            &[
                string("topic").until(12),
                uuid("topic_id").since(13),
                array::<fetch_request::FetchPartition>(
                    "partitions",
                    &[
                        int32("partition"),
                        int32("current_leader_epoch").since(9),
                        int64("fetch_offset"),
                        int32("last_fetched_epoch").since(12),
                        int64("log_start_offset").since(5),
                        int32("partition_max_bytes"),
                        uuid("replica_directory_id").since(17).tag(0),
                        int64("high_watermark").since(18).tag(1),
                    ],
                ),
            ],
        ),
        array::<fetch_request::ForgottenTopic>(
            "forgotten_topics_data",
            &[
                string("topic").since(7).until(12),
                uuid("topic_id").since(13),
                int32_array("partitions").since(7),
            ],
        )
        .since(7),
        string("rack_id").since(11),
        string("cluster_id").nullable().tag(0),
        structure(
            "replica_state",
            &[int32("replica_id").since(15), int64("replica_epoch").since(15)],
        )
        .since(15)
        .tag(1),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    flexible: 6,
    fields: &[
        int32("replica_id"),
        int8("isolation_level").since(2),
        array::<list_offsets_request::ListOffsetsTopic>(
            "topics",
            &[
                string("name"),
                array::<list_offsets_request::ListOffsetsPartition>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int32("current_leader_epoch").since(4),
                        int64("timestamp"),
                    ],
                ),
            ],
        ),
        int32("timeout_ms").since(10),
    ],
};

const METADATA: Shape = Shape {
    flexible: 9,
    fields: &[
        array::<metadata_request::MetadataRequestTopic>(
            "topics",
            &[uuid("topic_id").since(10), string("name").nullable_since(10)],
        )
        .nullable_since(1),
        boolean("allow_auto_topic_creation").since(4),
        boolean("include_cluster_authorized_operations").since(8).until(10),
        boolean("include_topic_authorized_operations").since(8),
    ],
};

const API_VERSIONS: Shape = Shape {
    flexible: 3,
    fields: &[
        string("client_software_name").since(3),
        string("client_software_version").since(3),
    ],
};

const CREATE_TOPICS: Shape = Shape {
    flexible: 5,
    fields: &[
        array::<create_topics_request::CreatableTopic>(
            "topics",
            &[
                string("name"),
                int32("num_partitions"),
                int16("replication_factor"),
                array::<create_topics_request::CreatableReplicaAssignment>(
                    "assignments",
                    &[int32("partition_index"), int32_array("broker_ids")],
                ),
                array::<create_topics_request::CreatableTopicConfig>(
                    "configs",
                    &[string("name"), string("value").nullable()],
                ),
            ],
        ),
        int32("timeout_ms"),
        boolean("validate_only").since(1),
    ],
};

const DELETE_TOPICS: Shape = Shape {
    flexible: 4,
    fields: &[
        array::<delete_topics_request::DeleteTopicState>(
            "topics",
            &[string("name").nullable().since(6), uuid("topic_id").since(6)],
        )
        .since(6),
        string_array("topic_names").until(5),
        int32("timeout_ms"),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    flexible: 2,
    fields: &[
        string("transactional_id").nullable(),
        int32("transaction_timeout_ms"),
        int64("producer_id").since(3),
        int16("producer_epoch").since(3),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("replica_id").since(3),
        array::<offset_for_leader_epoch_request::OffsetForLeaderTopic>(
            "topics",
            &[
                string("topic"),
                array::<offset_for_leader_epoch_request::OffsetForLeaderPartition>(
                    "partitions",
                    &[int32("partition"), int32("current_leader_epoch"), int32("leader_epoch")],
                ),
            ],
        ),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    flexible: 4,
    fields: &[
        array::<describe_configs_request::DescribeConfigsResource>(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                string_array("configuration_keys").nullable(),
            ],
        ),
        boolean("include_synonyms").since(1),
        boolean("include_documentation").since(3),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    flexible: 0,
    fields: &[
        boolean("include_cluster_authorized_operations"),
        int8("endpoint_type").since(1),
        boolean("include_fenced_brokers").since(2),
    ],
};

const DESCRIBE_QUORUM: Shape = Shape {
    flexible: 0,
    fields: &[array::<describe_quorum_request::TopicData>(
        "topics",
        &[
            string("topic_name"),
            array::<describe_quorum_request::PartitionData>("partitions", &[int32("partition_index")]),
        ],
    )],
};

const UNREGISTER_BROKER: Shape = Shape {
    flexible: 0,
    fields: &[int32("broker_id")],
};

const DESCRIBE_TOPIC_PARTITIONS: Shape = Shape {
    flexible: 0,
    fields: &[
        array::<describe_topic_partitions_request::TopicRequest>("topics", &[string("name")]),
        int32("response_partition_limit"),
        structure("cursor", &[string("topic_name"), int32("partition_index")]).nullable(),
    ],
};

const FIND_COORDINATOR: Shape = Shape {
    flexible: 3,
    fields: &[
        string("key").until(3),
        int8("key_type").since(1),
        string_array("coordinator_keys").since(4),
    ],
};

const INCREMENTAL_ALTER_CONFIGS: Shape = Shape {
    flexible: 1,
    fields: &[
        array::<incremental_alter_configs_request::AlterConfigsResource>(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                array::<incremental_alter_configs_request::AlterableConfig>(
                    "configs",
                    &[string("name"), int8("config_operation"), string("value").nullable()],
                ),
            ],
        ),
        boolean("validate_only"),
    ],
};

const ALTER_CONFIGS: Shape = Shape {
    flexible: 2,
    fields: &[
        array::<alter_configs_request::AlterConfigsResource>(
            "resources",
            &[
                int8("resource_type"),
                string("resource_name"),
                array::<alter_configs_request::AlterableConfig>(
                    "configs",
                    &[string("name"), string("value").nullable()],
                ),
            ],
        ),
        boolean("validate_only"),
    ],
};

const CREATE_PARTITIONS: Shape = Shape {
    flexible: 2,
    fields: &[
        array::<create_partitions_request::CreatePartitionsTopic>(
            "topics",
            &[
                string("name"),
                int32("count"),
                array::<create_partitions_request::CreatePartitionsAssignment>(
                    "assignments",
                    &[int32_array("broker_ids")],
                )
                .nullable(),
            ],
        ),
        int32("timeout_ms"),
        boolean("validate_only"),
    ],
};

const DELETE_RECORDS: Shape = Shape {
    flexible: 2,
    fields: &[
        array::<delete_records_request::DeleteRecordsTopic>(
            "topics",
            &[
                string("name"),
                array::<delete_records_request::DeleteRecordsPartition>(
                    "partitions",
                    &[int32("partition_index"), int64("offset")],
                ),
            ],
        ),
        int32("timeout_ms"),
    ],
};

const ELECT_LEADERS: Shape = Shape {
    flexible: 2,
    fields: &[
        int8("election_type").since(1),
        array::<elect_leaders_request::TopicPartitions>(
            "topic_partitions",
            &[string("topic"), int32_array("partitions")],
        )
        .nullable(),
        int32("timeout_ms"),
    ],
};

const ALTER_PARTITION_REASSIGNMENTS: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("timeout_ms"),
        boolean("allow_replication_factor_change").since(1),
        array::<alter_partition_reassignments_request::ReassignableTopic>(
            "topics",
            &[
                string("name"),
                array::<alter_partition_reassignments_request::ReassignablePartition>(
                    "partitions",
                    &[int32("partition_index"), int32_array("replicas").nullable()],
                ),
            ],
        ),
    ],
};

const LIST_PARTITION_REASSIGNMENTS: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("timeout_ms"),
        array::<list_partition_reassignments_request::ListPartitionReassignmentsTopics>(
            "topics",
            &[string("name"), int32_array("partition_indexes")],
        )
        .nullable(),
    ],
};

const DESCRIBE_LOG_DIRS: Shape = Shape {
    flexible: 2,
    fields: &[array::<describe_log_dirs_request::DescribableLogDirTopic>(
        "topics",
        &[string("topic"), int32_array("partitions")],
    )
    .nullable()],
};
