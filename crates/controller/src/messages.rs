//! Commands and answers as they go over the wire (`proto/controller.proto`), and back. What comes from a
//! peer is checked here: a wrong id or number becomes the zero id or an error code, never a panic.

use crate::envelope::error_code;
use crate::{
    AlterConfigs, AlterPartition, AlterReassignments, AlteredPartition, ConfigChange, ConfigResource, CreatePartitions,
    CreateTopics, CreatedTopic, DeletedTopic, ElectLeaders, MarkStrict, MorePartitions, PartitionOutcomes, PlanError,
    TopicRef,
};
use metadata::plan::ReassignedPartition;
use raft::pb;
use types::{BrokerEpoch, ErrorCode, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, TopicId, TopicPartition};
use uuid::Uuid;

const TOPIC: i32 = 2;
const BROKER: i32 = 4;

/// 16 bytes as an id; anything else is the zero id, which names nothing.
pub(crate) fn topic_id(bytes: &[u8]) -> TopicId {
    TopicId(Uuid::from_slice(bytes).unwrap_or_default())
}

pub(crate) fn bytes_of(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(crate) fn create_topics(command: CreateTopics, ids: Vec<TopicId>, known: LogIndex) -> pb::CreateTopicsRequest {
    let topics = command
        .topics
        .into_iter()
        .zip(ids)
        .map(|(topic, id)| pb::NewTopicMessage {
            name: topic.name,
            partitions: topic.partitions,
            replication_factor: i32::from(topic.replication_factor),
            assignments: topic
                .assignments
                .into_iter()
                .map(|(partition, replicas)| pb::PartitionReplicas {
                    partition,
                    replicas: replicas.into_iter().map(|node| node.0).collect(),
                })
                .collect(),
            configs: topic
                .configs
                .into_iter()
                .map(|(name, value)| pb::ConfigValue { name, value })
                .collect(),
            topic_id: bytes_of(id.0),
        });
    pb::CreateTopicsRequest {
        topics: topics.collect(),
        validate_only: command.validate_only,
        known_index: known.0,
    }
}

pub(crate) fn created_topics(reply: pb::CreateTopicsReply) -> Vec<CreatedTopic> {
    let topic = |topic: pb::CreatedTopicMessage| CreatedTopic {
        id: topic_id(&topic.topic_id),
        name: topic.name,
        error: error_code(topic.error_code),
        message: some(topic.message),
        partitions: topic.partitions,
        replication_factor: i16::try_from(topic.replication_factor).unwrap_or(-1),
    };
    reply.topics.into_iter().map(topic).collect()
}

pub(crate) fn create_partitions(command: CreatePartitions) -> pb::CreatePartitionsRequest {
    let replicas = |nodes: Vec<NodeId>| pb::PartitionReplicas {
        partition: 0,
        replicas: nodes.into_iter().map(|node| node.0).collect(),
    };
    let topic = |more: MorePartitions| pb::MorePartitionsMessage {
        name: more.name,
        count: more.count,
        assigned: more.assignments.is_some(),
        assignments: more.assignments.into_iter().flatten().map(replicas).collect(),
    };
    pb::CreatePartitionsRequest {
        topics: command.topics.into_iter().map(topic).collect(),
        validate_only: command.validate_only,
    }
}

/// What became of one topic or resource of a command.
fn outcome(error_code: i32, message: String) -> Result<(), PlanError> {
    match self::error_code(error_code) {
        ErrorCode::None => Ok(()),
        code => Err(PlanError { code, message }),
    }
}

pub(crate) fn grown_topics(reply: pb::CreatePartitionsReply) -> Vec<Result<(), PlanError>> {
    let topics = reply.topics.into_iter();
    topics.map(|topic| outcome(topic.error_code, topic.message)).collect()
}

pub(crate) fn elect_leaders(command: ElectLeaders) -> pb::ElectLeadersRequest {
    let topic = |(name, partitions)| pb::TopicPartitionsMessage { name, partitions };
    pb::ElectLeadersRequest {
        unclean: command.unclean,
        all: command.topics.is_none(),
        topics: command.topics.into_iter().flatten().map(topic).collect(),
    }
}

pub(crate) fn alter_reassignments(command: AlterReassignments) -> pb::AlterReassignmentsRequest {
    let partition = |asked: ReassignedPartition| pb::ReassignedPartitionMessage {
        partition: asked.partition,
        cancel: asked.replicas.is_none(),
        replicas: asked.replicas.into_iter().flatten().map(|node| node.0).collect(),
    };
    let topic = |(name, partitions): (String, Vec<ReassignedPartition>)| pb::ReassignedTopicMessage {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    pb::AlterReassignmentsRequest {
        topics: command.topics.into_iter().map(topic).collect(),
        allow_factor_change: command.allow_factor_change,
    }
}

pub(crate) fn reassignments(request: &pb::AlterReassignmentsRequest) -> AlterReassignments {
    let partition = |asked: &pb::ReassignedPartitionMessage| ReassignedPartition {
        partition: asked.partition,
        replicas: (!asked.cancel).then(|| asked.replicas.iter().copied().map(NodeId).collect()),
    };
    let topic = |topic: &pb::ReassignedTopicMessage| {
        let partitions = topic.partitions.iter().map(partition).collect();
        (topic.name.clone(), partitions)
    };
    AlterReassignments {
        allow_factor_change: request.allow_factor_change,
        topics: request.topics.iter().map(topic).collect(),
    }
}

/// What became of each partition of a command, as it goes to whoever sent that.
pub(crate) fn outcomes_message(topics: PartitionOutcomes) -> Vec<pb::TopicOutcomesMessage> {
    let partition = |(partition, outcome): (i32, Result<(), PlanError>)| {
        let (error_code, message) = outcome.err().map_or((0, String::new()), |error| {
            (i32::from(error.code.code()), error.message)
        });
        pb::PartitionOutcomeMessage {
            partition,
            error_code,
            message,
        }
    };
    let topic = |(name, partitions): (String, Vec<_>)| pb::TopicOutcomesMessage {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    topics.into_iter().map(topic).collect()
}

pub(crate) fn partition_outcomes(topics: Vec<pb::TopicOutcomesMessage>) -> PartitionOutcomes {
    let partition = |p: pb::PartitionOutcomeMessage| (p.partition, outcome(p.error_code, p.message));
    let topic = |topic: pb::TopicOutcomesMessage| {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        (topic.name, partitions)
    };
    topics.into_iter().map(topic).collect()
}

pub(crate) fn delete_topics(topics: Vec<TopicRef>, known: LogIndex) -> pb::DeleteTopicsRequest {
    let mut request = pb::DeleteTopicsRequest {
        known_index: known.0,
        ..pb::DeleteTopicsRequest::default()
    };
    for topic in topics {
        match topic {
            TopicRef::Name(name) => request.names.push(name),
            TopicRef::Id(id) => request.topic_ids.push(bytes_of(id.0)),
        }
    }
    request
}

pub(crate) fn deleted_topics(reply: pb::DeleteTopicsReply) -> Vec<DeletedTopic> {
    let topic = |topic: pb::DeletedTopicMessage| DeletedTopic {
        id: topic_id(&topic.topic_id),
        name: some(topic.name),
        error: error_code(topic.error_code),
    };
    reply.topics.into_iter().map(topic).collect()
}

pub(crate) fn alter_partitions(
    node: NodeId,
    broker_epoch: BrokerEpoch,
    partitions: Vec<AlterPartition>,
) -> pb::AlterPartitionsRequest {
    let partition = |change: AlterPartition| pb::AlterPartitionMessage {
        topic_id: bytes_of(change.tp.topic.0),
        partition: change.tp.partition,
        leader_epoch: change.leader_epoch.0,
        partition_epoch: change.partition_epoch.0,
        isr: change
            .isr
            .into_iter()
            .map(|(node, epoch)| pb::IsrMember {
                node_id: node.0,
                broker_epoch: epoch.0,
            })
            .collect(),
    };
    pb::AlterPartitionsRequest {
        node_id: node.0,
        broker_epoch: broker_epoch.0,
        partitions: partitions.into_iter().map(partition).collect(),
    }
}

pub(crate) fn altered_partitions(
    reply: pb::AlterPartitionsReply,
) -> Vec<(TopicPartition, Result<AlteredPartition, ErrorCode>)> {
    let partition = |p: pb::AlteredPartitionMessage| {
        let tp = TopicPartition {
            topic: topic_id(&p.topic_id),
            partition: p.partition,
        };
        let result = match error_code(p.error_code) {
            ErrorCode::None => Ok(AlteredPartition {
                leader: (p.leader >= 0).then_some(NodeId(p.leader)),
                leader_epoch: LeaderEpoch(p.leader_epoch),
                partition_epoch: PartitionEpoch(p.partition_epoch),
                isr: p.isr.into_iter().map(NodeId).collect(),
            }),
            error => Err(error),
        };
        (tp, result)
    };
    reply.partitions.into_iter().map(partition).collect()
}

pub(crate) fn resource_message(resource: &ConfigResource) -> (i32, String) {
    match resource {
        ConfigResource::Topic(name) => (TOPIC, name.clone()),
        ConfigResource::Broker(None) => (BROKER, String::new()),
        ConfigResource::Broker(Some(node)) => (BROKER, node.to_string()),
    }
}

pub(crate) fn resource(resource_type: i32, name: &str) -> Option<ConfigResource> {
    match (resource_type, name) {
        (TOPIC, name) => Some(ConfigResource::Topic(name.to_owned())),
        (BROKER, "") => Some(ConfigResource::Broker(None)),
        (BROKER, node) => node.parse().ok().map(|node| ConfigResource::Broker(Some(NodeId(node)))),
        _ => None,
    }
}

pub(crate) fn alter_configs(command: AlterConfigs) -> pb::AlterConfigsRequest {
    let resources = command.resources.into_iter().map(|of| {
        let (resource_type, name) = resource_message(&of.resource);
        let operation = |(name, change): (String, ConfigChange)| {
            let (operation, value) = match change {
                ConfigChange::Set(value) => (0, Some(value)),
                ConfigChange::Delete => (1, None),
                ConfigChange::Append(value) => (2, Some(value)),
                ConfigChange::Subtract(value) => (3, Some(value)),
            };
            pb::ConfigOperation { name, operation, value }
        };
        let operations = of.changes.into_iter().map(operation).collect();
        pb::ConfigResourceMessage {
            resource_type,
            name,
            operations,
            replace: of.replace,
        }
    });
    pb::AlterConfigsRequest {
        resources: resources.collect(),
        validate_only: command.validate_only,
    }
}

/// # Errors
/// [`ErrorCode::InvalidConfig`] for an operation without the value it needs or of an unknown kind.
pub(crate) fn config_change(operation: pb::ConfigOperation) -> Result<(String, ConfigChange), ErrorCode> {
    let change = match (operation.operation, operation.value) {
        (0, Some(value)) => ConfigChange::Set(value),
        (1, _) => ConfigChange::Delete,
        (2, Some(value)) => ConfigChange::Append(value),
        (3, Some(value)) => ConfigChange::Subtract(value),
        _ => return Err(ErrorCode::InvalidConfig),
    };
    Ok((operation.name, change))
}

pub(crate) fn altered_configs(reply: pb::AlterConfigsReply) -> Vec<Result<(), PlanError>> {
    let resources = reply.resources.into_iter();
    resources.map(|of| outcome(of.error_code, of.message)).collect()
}

pub(crate) fn mark_strict(
    node: NodeId,
    broker_epoch: BrokerEpoch,
    partitions: Vec<MarkStrict>,
) -> pb::MarkStrictRequest {
    let partition = |mark: MarkStrict| pb::StrictPartition {
        topic_id: bytes_of(mark.tp.topic.0),
        partition: mark.tp.partition,
        leader_epoch: mark.leader_epoch.0,
        strict: mark.strict,
    };
    pb::MarkStrictRequest {
        node_id: node.0,
        broker_epoch: broker_epoch.0,
        partitions: partitions.into_iter().map(partition).collect(),
    }
}

pub(crate) fn resign_leaders(
    node: NodeId,
    broker_epoch: BrokerEpoch,
    partitions: Vec<(TopicPartition, LeaderEpoch)>,
) -> pb::ResignLeadersRequest {
    let partition = |(tp, leader_epoch): (TopicPartition, LeaderEpoch)| pb::ResignedPartition {
        topic_id: bytes_of(tp.topic.0),
        partition: tp.partition,
        leader_epoch: leader_epoch.0,
    };
    pb::ResignLeadersRequest {
        node_id: node.0,
        broker_epoch: broker_epoch.0,
        partitions: partitions.into_iter().map(partition).collect(),
    }
}

pub(crate) fn expel_damaged(
    node: NodeId,
    broker_epoch: BrokerEpoch,
    partitions: &[(TopicPartition, LeaderEpoch)],
) -> pb::ExpelDamagedRequest {
    let partition = |(tp, leader_epoch): &(TopicPartition, LeaderEpoch)| pb::DamagedPartition {
        topic_id: bytes_of(tp.topic.0),
        partition: tp.partition,
        leader_epoch: leader_epoch.0,
    };
    pb::ExpelDamagedRequest {
        node_id: node.0,
        broker_epoch: broker_epoch.0,
        partitions: partitions.iter().map(partition).collect(),
    }
}
