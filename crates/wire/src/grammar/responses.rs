//! Shapes of the responses, in the words of Kafka's message definitions.

use super::field::*;
use super::{Shape, groups};
use kafka_protocol::messages::{
    ApiKey, alter_configs_response, alter_partition_reassignments_response, api_versions_response,
    create_partitions_response, create_topics_response, delete_records_response, delete_topics_response,
    describe_cluster_response, describe_configs_response, describe_log_dirs_response, describe_quorum_response,
    describe_topic_partitions_response, elect_leaders_response, fetch_response, find_coordinator_response,
    incremental_alter_configs_response, list_offsets_response, list_partition_reassignments_response,
    metadata_response, offset_for_leader_epoch_response, produce_response,
};

/// The shape of this API's responses, if its grammar is written down.
pub(crate) fn response_shape(key: ApiKey) -> Option<&'static Shape> {
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
        _ => return groups::response_shape(key),
    })
}

const PRODUCE: Shape = Shape {
    flexible: 9,
    fields: &[
        array::<produce_response::TopicProduceResponse>(
            "responses",
            &[
                string("name").until(12),
                uuid("topic_id").since(13),
                array::<produce_response::PartitionProduceResponse>(
                    "partition_responses",
                    &[
                        int32("index"),
                        int16("error_code"),
                        int64("base_offset"),
                        int64("log_append_time_ms"),
                        int64("log_start_offset").since(5),
                        array::<produce_response::BatchIndexAndErrorMessage>(
                            "record_errors",
                            &[
                                int32("batch_index").since(8),
                                string("batch_index_error_message").nullable().since(8),
                            ],
                        )
                        .since(8),
                        string("error_message").nullable().since(8),
                        structure(
                            "current_leader",
                            &[int32("leader_id").since(10), int32("leader_epoch").since(10)],
                        )
                        .since(10)
                        .tag(0),
                    ],
                ),
            ],
        ),
        int32("throttle_time_ms"),
        array::<produce_response::NodeEndpoint>(
            "node_endpoints",
            &[
                int32("node_id").since(10),
                string("host").since(10),
                int32("port").since(10),
                string("rack").nullable().since(10),
            ],
        )
        .since(10)
        .tag(0),
    ],
};

const FETCH: Shape = Shape {
    flexible: 12,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(7),
        int32("session_id").since(7),
        array::<fetch_response::FetchableTopicResponse>(
            "responses",
            &[
                string("topic").until(12),
                uuid("topic_id").since(13),
                array::<fetch_response::PartitionData>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("high_watermark"),
                        int64("last_stable_offset"),
                        int64("log_start_offset").since(5),
                        array::<fetch_response::AbortedTransaction>(
                            "aborted_transactions",
                            &[int64("producer_id"), int64("first_offset")],
                        )
                        .nullable(),
                        int32("preferred_read_replica").since(11),
                        records("records").nullable(),
                        structure(
                            "diverging_epoch",
                            &[int32("epoch").since(12), int64("end_offset").since(12)],
                        )
                        .tag(0),
                        structure(
                            "current_leader",
                            &[int32("leader_id").since(12), int32("leader_epoch").since(12)],
                        )
                        .tag(1),
                        structure("snapshot_id", &[int64("end_offset"), int32("epoch")]).tag(2),
                    ],
                ),
            ],
        ),
        array::<fetch_response::NodeEndpoint>(
            "node_endpoints",
            &[
                int32("node_id").since(16),
                string("host").since(16),
                int32("port").since(16),
                string("rack").nullable().since(16),
            ],
        )
        .since(16)
        .tag(0),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    flexible: 6,
    fields: &[
        int32("throttle_time_ms").since(2),
        array::<list_offsets_response::ListOffsetsTopicResponse>(
            "topics",
            &[
                string("name"),
                array::<list_offsets_response::ListOffsetsPartitionResponse>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        int64("timestamp"),
                        int64("offset"),
                        int32("leader_epoch").since(4),
                    ],
                ),
            ],
        ),
    ],
};

const METADATA: Shape = Shape {
    flexible: 9,
    fields: &[
        int32("throttle_time_ms").since(3),
        array::<metadata_response::MetadataResponseBroker>(
            "brokers",
            &[
                int32("node_id"),
                string("host"),
                int32("port"),
                string("rack").nullable().since(1),
            ],
        ),
        string("cluster_id").nullable().since(2),
        int32("controller_id").since(1),
        array::<metadata_response::MetadataResponseTopic>(
            "topics",
            &[
                int16("error_code"),
                string("name").nullable_since(12),
                uuid("topic_id").since(10),
                boolean("is_internal").since(1),
                array::<metadata_response::MetadataResponsePartition>(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition_index"),
                        int32("leader_id"),
                        int32("leader_epoch").since(7),
                        int32_array("replica_nodes"),
                        int32_array("isr_nodes"),
                        int32_array("offline_replicas").since(5),
                    ],
                ),
                int32("topic_authorized_operations").since(8),
            ],
        ),
        int32("cluster_authorized_operations").since(8).until(10),
        int16("error_code").since(13),
    ],
};

const API_VERSIONS: Shape = Shape {
    flexible: 3,
    fields: &[
        int16("error_code"),
        array::<api_versions_response::ApiVersion>(
            "api_keys",
            &[int16("api_key"), int16("min_version"), int16("max_version")],
        ),
        int32("throttle_time_ms").since(1),
        array::<api_versions_response::SupportedFeatureKey>(
            "supported_features",
            &[
                string("name").since(3),
                int16("min_version").since(3),
                int16("max_version").since(3),
            ],
        )
        .tag(0),
        int64("finalized_features_epoch").tag(1),
        array::<api_versions_response::FinalizedFeatureKey>(
            "finalized_features",
            &[
                string("name").since(3),
                int16("max_version_level").since(3),
                int16("min_version_level").since(3),
            ],
        )
        .tag(2),
        boolean("zk_migration_ready").tag(3),
    ],
};

const CREATE_TOPICS: Shape = Shape {
    flexible: 5,
    fields: &[
        int32("throttle_time_ms"),
        array::<create_topics_response::CreatableTopicResult>(
            "topics",
            &[
                string("name"),
                uuid("topic_id").since(7),
                int16("error_code"),
                string("error_message").nullable(),
                int32("num_partitions").since(5),
                int16("replication_factor").since(5),
                array::<create_topics_response::CreatableTopicConfigs>(
                    "configs",
                    &[
                        string("name").since(5),
                        string("value").nullable().since(5),
                        boolean("read_only").since(5),
                        int8("config_source").since(5),
                        boolean("is_sensitive").since(5),
                    ],
                )
                .nullable()
                .since(5),
                int16("topic_config_error_code").tag(0),
            ],
        ),
    ],
};

const DELETE_TOPICS: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("throttle_time_ms"),
        array::<delete_topics_response::DeletableTopicResult>(
            "responses",
            &[
                string("name").nullable_since(6),
                uuid("topic_id").since(6),
                int16("error_code"),
                string("error_message").nullable().since(5),
            ],
        ),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        int64("producer_id"),
        int16("producer_epoch"),
        int64("ongoing_txn_producer_id").since(6),
        int16("ongoing_txn_producer_epoch").since(6),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("throttle_time_ms"),
        array::<offset_for_leader_epoch_response::OffsetForLeaderTopicResult>(
            "topics",
            &[
                string("topic"),
                array::<offset_for_leader_epoch_response::EpochEndOffset>(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition"),
                        int32("leader_epoch"),
                        int64("end_offset"),
                    ],
                ),
            ],
        ),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    flexible: 4,
    fields: &[
        int32("throttle_time_ms"),
        array::<describe_configs_response::DescribeConfigsResult>(
            "results",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                int8("resource_type"),
                string("resource_name"),
                array::<describe_configs_response::DescribeConfigsResourceResult>(
                    "configs",
                    &[
                        string("name"),
                        string("value").nullable(),
                        boolean("read_only"),
                        int8("config_source"),
                        boolean("is_sensitive"),
                        array::<describe_configs_response::DescribeConfigsSynonym>(
                            "synonyms",
                            &[string("name"), string("value").nullable(), int8("source")],
                        ),
                        int8("config_type").since(3),
                        string("documentation").nullable().since(3),
                    ],
                ),
            ],
        ),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        int8("endpoint_type").since(1),
        string("cluster_id"),
        int32("controller_id"),
        array::<describe_cluster_response::DescribeClusterBroker>(
            "brokers",
            &[
                int32("broker_id"),
                string("host"),
                int32("port"),
                string("rack").nullable(),
                boolean("is_fenced").since(2),
            ],
        ),
        int32("cluster_authorized_operations"),
    ],
};

const QUORUM_REPLICA: &[Field] = &[
    int32("replica_id"),
    uuid("replica_directory_id").since(2),
    int64("log_end_offset"),
    int64("last_fetch_timestamp").since(1),
    int64("last_caught_up_timestamp").since(1),
];

const DESCRIBE_QUORUM: Shape = Shape {
    flexible: 0,
    fields: &[
        int16("error_code"),
        string("error_message").nullable().since(2),
        array::<describe_quorum_response::TopicData>(
            "topics",
            &[
                string("topic_name"),
                array::<describe_quorum_response::PartitionData>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        string("error_message").nullable().since(2),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        int64("high_watermark"),
                        array::<describe_quorum_response::ReplicaState>("current_voters", QUORUM_REPLICA),
                        array::<describe_quorum_response::ReplicaState>("observers", QUORUM_REPLICA),
                    ],
                ),
            ],
        ),
        array::<describe_quorum_response::Node>(
            "nodes",
            &[
                int32("node_id"),
                array::<describe_quorum_response::Listener>(
                    "listeners",
                    &[string("name"), string("host"), int16("port")],
                ),
            ],
        )
        .since(2),
    ],
};

const UNREGISTER_BROKER: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
    ],
};

const DESCRIBE_TOPIC_PARTITIONS: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("throttle_time_ms"),
        array::<describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic>(
            "topics",
            &[
                int16("error_code"),
                string("name").nullable(),
                uuid("topic_id"),
                boolean("is_internal"),
                array::<describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition>(
                    "partitions",
                    &[
                        int16("error_code"),
                        int32("partition_index"),
                        int32("leader_id"),
                        int32("leader_epoch"),
                        int32_array("replica_nodes"),
                        int32_array("isr_nodes"),
                        int32_array("eligible_leader_replicas").nullable(),
                        int32_array("last_known_elr").nullable(),
                        int32_array("offline_replicas"),
                    ],
                ),
                int32("topic_authorized_operations"),
            ],
        ),
        structure("next_cursor", &[string("topic_name"), int32("partition_index")]).nullable(),
    ],
};

const FIND_COORDINATOR: Shape = Shape {
    flexible: 3,
    fields: &[
        int32("throttle_time_ms").since(1),
        int16("error_code").until(3),
        string("error_message").nullable().since(1).until(3),
        int32("node_id").until(3),
        string("host").until(3),
        int32("port").until(3),
        array::<find_coordinator_response::Coordinator>(
            "coordinators",
            &[
                string("key").since(4),
                int32("node_id").since(4),
                string("host").since(4),
                int32("port").since(4),
                int16("error_code").since(4),
                string("error_message").nullable().since(4),
            ],
        )
        .since(4),
    ],
};

const INCREMENTAL_ALTER_CONFIGS: Shape = Shape {
    flexible: 1,
    fields: &[
        int32("throttle_time_ms"),
        array::<incremental_alter_configs_response::AlterConfigsResourceResponse>(
            "responses",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                int8("resource_type"),
                string("resource_name"),
            ],
        ),
    ],
};

const ALTER_CONFIGS: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        array::<alter_configs_response::AlterConfigsResourceResponse>(
            "responses",
            &[
                int16("error_code"),
                string("error_message").nullable(),
                int8("resource_type"),
                string("resource_name"),
            ],
        ),
    ],
};

const CREATE_PARTITIONS: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        array::<create_partitions_response::CreatePartitionsTopicResult>(
            "results",
            &[string("name"), int16("error_code"), string("error_message").nullable()],
        ),
    ],
};

const DELETE_RECORDS: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        array::<delete_records_response::DeleteRecordsTopicResult>(
            "topics",
            &[
                string("name"),
                array::<delete_records_response::DeleteRecordsPartitionResult>(
                    "partitions",
                    &[int32("partition_index"), int64("low_watermark"), int16("error_code")],
                ),
            ],
        ),
    ],
};

const ELECT_LEADERS: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(1),
        array::<elect_leaders_response::ReplicaElectionResult>(
            "replica_election_results",
            &[
                string("topic"),
                array::<elect_leaders_response::PartitionResult>(
                    "partition_result",
                    &[
                        int32("partition_id"),
                        int16("error_code"),
                        string("error_message").nullable(),
                    ],
                ),
            ],
        ),
    ],
};

const ALTER_PARTITION_REASSIGNMENTS: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("throttle_time_ms"),
        boolean("allow_replication_factor_change").since(1),
        int16("error_code"),
        string("error_message").nullable(),
        array::<alter_partition_reassignments_response::ReassignableTopicResponse>(
            "responses",
            &[
                string("name"),
                array::<alter_partition_reassignments_response::ReassignablePartitionResponse>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int16("error_code"),
                        string("error_message").nullable(),
                    ],
                ),
            ],
        ),
    ],
};

const LIST_PARTITION_REASSIGNMENTS: Shape = Shape {
    flexible: 0,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code"),
        string("error_message").nullable(),
        array::<list_partition_reassignments_response::OngoingTopicReassignment>(
            "topics",
            &[
                string("name"),
                array::<list_partition_reassignments_response::OngoingPartitionReassignment>(
                    "partitions",
                    &[
                        int32("partition_index"),
                        int32_array("replicas"),
                        int32_array("adding_replicas"),
                        int32_array("removing_replicas"),
                    ],
                ),
            ],
        ),
    ],
};

const DESCRIBE_LOG_DIRS: Shape = Shape {
    flexible: 2,
    fields: &[
        int32("throttle_time_ms"),
        int16("error_code").since(3),
        array::<describe_log_dirs_response::DescribeLogDirsResult>(
            "results",
            &[
                int16("error_code"),
                string("log_dir"),
                array::<describe_log_dirs_response::DescribeLogDirsTopic>(
                    "topics",
                    &[
                        string("name"),
                        array::<describe_log_dirs_response::DescribeLogDirsPartition>(
                            "partitions",
                            &[
                                int32("partition_index"),
                                int64("partition_size"),
                                int64("offset_lag"),
                                boolean("is_future_key"),
                            ],
                        ),
                    ],
                ),
                int64("total_bytes").since(4),
                int64("usable_bytes").since(4),
                boolean("is_cordoned").since(5),
            ],
        ),
    ],
};
