//! Somebody who asks for everything that a cluster can be asked, in any version, and changes what does no harm. The
//! answers do not matter here: what they do to the cluster shows elsewhere.

use crate::client::Client;
use crate::groups::GROUP;
use crate::history::SharedHistory;
use crate::workload::{RELAXED, SHORT, STRICT, topic_name};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use uuid::Uuid;
use wire::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig as SetConfig};
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use wire::messages::describe_quorum_request::{PartitionData, TopicData};
use wire::messages::describe_topic_partitions_request::TopicRequest;
use wire::messages::elect_leaders_request::TopicPartitions;
use wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource as AlteredResource, AlterableConfig};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use wire::messages::*;
use wire::{ApiKey, SERVED, StrBytes};

/// A topic that only the visitor uses.
const OWN: &str = "visited";
/// And a group.
const OWN_GROUP: &str = "visitors";
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;

pub async fn visit(client: Client, seed: u64, history: SharedHistory, until: Duration) {
    let mut visitor = Visitor {
        client,
        history,
        random: SmallRng::seed_from_u64(seed),
        session: (0, 0),
    };
    loop {
        let pause = visitor.random.random_range(10..250);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if turmoil::sim_elapsed().unwrap_or_default() >= until {
            return;
        }
        let range = SERVED[visitor.random.random_range(0..SERVED.len())];
        let version = visitor.random.random_range(range.served_min()..=range.max);
        if let Some(request) = visitor.request(range.key, version) {
            visitor.ask(range.key, version, request).await;
        }
    }
}

struct Visitor {
    client: Client,
    history: SharedHistory,
    random: SmallRng,
    /// Fetch session and its epoch.
    session: (i32, i32),
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

impl Visitor {
    async fn ask(&mut self, key: ApiKey, version: i16, request: RequestKind) {
        let node = self.random.random_range(0..self.client.nodes());
        // Not everything can be said in every version: then it is not asked.
        let answer = self.client.call(node, key, version, &request).await;
        if let Ok(ResponseKind::Fetch(answer)) = answer {
            self.session = match answer.error_code {
                0 => (answer.session_id, self.session.1.saturating_add(1)),
                _ => (0, 0),
            };
        }
        if self.random.random_bool(0.1) {
            let topic = self.topic();
            let _ = self.client.refresh(node, topic).await;
        }
    }

    fn topic(&mut self) -> &'static str {
        [STRICT, RELAXED, SHORT, OWN, "__consumer_offsets"][self.random.random_range(0..5)]
    }

    fn id_of(&self, topic: &str) -> Uuid {
        self.client.topic_id(topic).unwrap_or_default()
    }

    fn request(&mut self, key: ApiKey, version: i16) -> Option<RequestKind> {
        let topic = self.topic();
        let request = match key {
            ApiKey::Fetch => RequestKind::Fetch(self.fetch(topic, version)),
            ApiKey::ListOffsets => RequestKind::ListOffsets(self.list_offsets(topic, version)),
            // It creates topics, and not the ones that are meant: those are there once somebody has written to them.
            ApiKey::Metadata if self.history.borrow().acknowledged == 0 => return None,
            ApiKey::Metadata => RequestKind::Metadata(self.metadata(topic, version)),
            ApiKey::OffsetCommit => RequestKind::OffsetCommit(offset_commit(version)),
            ApiKey::OffsetFetch => RequestKind::OffsetFetch(self.offset_fetch(version)),
            ApiKey::FindCoordinator => RequestKind::FindCoordinator(find_coordinator(version)),
            ApiKey::DescribeGroups => RequestKind::DescribeGroups(
                DescribeGroupsRequest::default().with_groups(vec![group(GROUP), group(OWN_GROUP)]),
            ),
            ApiKey::ListGroups => RequestKind::ListGroups(ListGroupsRequest::default()),
            ApiKey::ApiVersions => RequestKind::ApiVersions(match version {
                3.. => ApiVersionsRequest::default()
                    .with_client_software_name(text("sim"))
                    .with_client_software_version(text("1")),
                _ => ApiVersionsRequest::default(),
            }),
            ApiKey::CreateTopics => RequestKind::CreateTopics(self.create_topics(version)),
            ApiKey::DeleteTopics if self.random.random_bool(0.3) => RequestKind::DeleteTopics(delete_topics(version)),
            ApiKey::OffsetForLeaderEpoch => RequestKind::OffsetForLeaderEpoch(self.epochs(topic)),
            ApiKey::DescribeConfigs => RequestKind::DescribeConfigs(self.describe_configs(topic)),
            ApiKey::AlterConfigs => RequestKind::AlterConfigs(alter_configs()),
            ApiKey::IncrementalAlterConfigs => RequestKind::IncrementalAlterConfigs(self.alter_some()),
            ApiKey::DescribeLogDirs => RequestKind::DescribeLogDirs(self.log_dirs(topic)),
            ApiKey::CreatePartitions => RequestKind::CreatePartitions(self.create_partitions()),
            ApiKey::DeleteGroups if self.random.random_bool(0.3) => {
                RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![group(OWN_GROUP)]))
            }
            ApiKey::ElectLeaders => RequestKind::ElectLeaders(self.elect(topic)),
            ApiKey::OffsetDelete => RequestKind::OffsetDelete(offset_delete()),
            ApiKey::DescribeQuorum => RequestKind::DescribeQuorum(describe_quorum()),
            ApiKey::DescribeCluster => RequestKind::DescribeCluster(DescribeClusterRequest::default()),
            ApiKey::DescribeTopicPartitions => RequestKind::DescribeTopicPartitions(
                DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![TopicRequest::default().with_name(topic_name(topic))])
                    .with_response_partition_limit(self.random.random_range(1..5)),
            ),
            ApiKey::ListPartitionReassignments => {
                RequestKind::ListPartitionReassignments(ListPartitionReassignmentsRequest::default())
            }
            _ => return None,
        };
        Some(request)
    }

    /// Within a fetch session more often than not.
    fn fetch(&mut self, topic: &str, version: i16) -> FetchRequest {
        let wanted = |partition: i32| {
            FetchPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(-1)
                .with_last_fetched_epoch(-1)
                .with_fetch_offset(0)
                .with_partition_max_bytes(1 << 16)
        };
        let mut topic_wanted = FetchTopic::default().with_partitions((0..2).map(wanted).collect());
        let mut request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(50)
            .with_min_bytes(1)
            .with_max_bytes(1 << 18);
        match version {
            13.. => topic_wanted.topic_id = self.id_of(topic),
            _ => topic_wanted.topic = topic_name(topic),
        }
        if version >= 7 {
            (request.session_id, request.session_epoch) = self.session;
            if self.session.0 != 0 && self.random.random_bool(0.3) {
                let mut forgotten = ForgottenTopic::default().with_partitions(vec![1]);
                match version {
                    13.. => forgotten.topic_id = self.id_of(topic),
                    _ => forgotten.topic = topic_name(topic),
                }
                request.forgotten_topics_data = vec![forgotten];
            }
        }
        if self.session.0 == 0 || self.random.random_bool(0.5) {
            request.topics = vec![topic_wanted];
        }
        request
    }

    fn list_offsets(&mut self, topic: &str, version: i16) -> ListOffsetsRequest {
        let now = 1_700_000_000_000 + self.random.random_range(0..60_000);
        let timestamp = [-1, -2, -3, -4, -5, now][self.random.random_range(0..6)];
        let partition = ListOffsetsPartition::default()
            .with_partition_index(0)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let level = if version >= 2 {
            self.random.random_range(0..2)
        } else {
            0
        };
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(level)
            .with_topics(vec![topic])
    }

    fn metadata(&mut self, topic: &str, version: i16) -> MetadataRequest {
        let named = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let topics = match self.random.random_range(0..3) {
            0 if version >= 1 => None,
            1 if version >= 12 => Some(vec![
                MetadataRequestTopic::default()
                    .with_name(None)
                    .with_topic_id(self.id_of(topic)),
            ]),
            _ => Some(vec![named]),
        };
        MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(true)
    }

    fn offset_fetch(&mut self, version: i16) -> OffsetFetchRequest {
        if version >= 8 {
            let wanted = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group(OWN_GROUP))
                .with_topics(None);
            return OffsetFetchRequest::default().with_groups(vec![wanted]);
        }
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name(STRICT))
            .with_partition_indexes(vec![0, 1, 2]);
        let all = version >= 2 && self.random.random_bool(0.5);
        OffsetFetchRequest::default()
            .with_group_id(group(GROUP))
            .with_topics((!all).then(|| vec![topic]))
    }

    fn create_topics(&mut self, version: i16) -> CreateTopicsRequest {
        let mut topic = CreatableTopic::default()
            .with_name(topic_name(OWN))
            .with_num_partitions(2)
            .with_replication_factor(3);
        if self.random.random_bool(0.4) {
            let assigned = CreatableReplicaAssignment::default()
                .with_partition_index(0)
                .with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
            topic.assignments = vec![assigned];
        }
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_validate_only(version >= 1 && self.random.random_bool(0.2))
            .with_timeout_ms(500)
    }

    fn epochs(&mut self, topic: &str) -> OffsetForLeaderEpochRequest {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(-1)
            .with_leader_epoch(self.random.random_range(0..20));
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-2))
            .with_topics(vec![topic])
    }

    fn describe_configs(&mut self, topic: &str) -> DescribeConfigsRequest {
        let (kind, name) = match self.random.random_bool(0.5) {
            true => (TOPIC_RESOURCE, text(topic)),
            false => (BROKER_RESOURCE, text("1")),
        };
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_configuration_keys(None);
        DescribeConfigsRequest::default().with_resources(vec![resource])
    }

    /// What changes nothing that anybody counts on; the relaxed topic is a strict one now and then.
    fn alter_some(&mut self) -> IncrementalAlterConfigsRequest {
        let (topic, name, values) = [
            (OWN, "retention.ms", ["100000", "200000"]),
            (OWN, "min.insync.replicas", ["1", "2"]),
            (SHORT, "segment.ms", ["1000", "3000"]),
            (RELAXED, "flush.messages", ["1", "100000"]),
            (STRICT, "segment.ms", ["5000", "20000"]),
        ][self.random.random_range(0..5)];
        let value = values[self.random.random_range(0..2)];
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(0)
            .with_value(Some(text(value)));
        let resource = AlteredResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    }

    fn log_dirs(&mut self, topic: &str) -> DescribeLogDirsRequest {
        let topic = DescribableLogDirTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![0, 1]);
        DescribeLogDirsRequest::default().with_topics(self.random.random_bool(0.5).then(|| vec![topic]))
    }

    fn create_partitions(&mut self) -> CreatePartitionsRequest {
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(OWN))
            .with_count(self.random.random_range(2..6))
            .with_assignments(None);
        CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(500)
    }

    fn elect(&mut self, topic: &str) -> ElectLeadersRequest {
        let one = TopicPartitions::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![0]);
        ElectLeadersRequest::default()
            .with_topic_partitions(self.random.random_bool(0.7).then(|| vec![one]))
            .with_timeout_ms(500)
    }
}

fn offset_commit(version: i16) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(if version >= 10 { "" } else { STRICT }))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(OWN_GROUP))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn find_coordinator(version: i16) -> FindCoordinatorRequest {
    match version {
        4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![text(OWN_GROUP), text(GROUP)]),
        _ => FindCoordinatorRequest::default().with_key(text(OWN_GROUP)),
    }
}

fn delete_topics(version: i16) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(500);
    match version {
        6.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(OWN)))]),
        _ => request.with_topic_names(vec![topic_name(OWN)]),
    }
}

fn alter_configs() -> AlterConfigsRequest {
    let config = SetConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("150000")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(OWN))
        .with_configs(vec![config]);
    AlterConfigsRequest::default().with_resources(vec![resource])
}

fn offset_delete() -> OffsetDeleteRequest {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(STRICT))
        .with_partitions(vec![partition]);
    OffsetDeleteRequest::default()
        .with_group_id(group(OWN_GROUP))
        .with_topics(vec![topic])
}

fn describe_quorum() -> DescribeQuorumRequest {
    let partition = PartitionData::default().with_partition_index(0);
    let topic = TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    DescribeQuorumRequest::default().with_topics(vec![topic])
}
