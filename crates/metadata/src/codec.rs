use crate::{BrokerRegistration, DirectoryOutcome, DirectoryReport, Endpoint, Member, PartitionImage, Record, pb};
use pb::record::Record as Arm;
use prost::Message;
use types::{
    BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, RaftId, ReplicaIncarnation, TopicId, TopicPartition,
    limits,
};
use uuid::Uuid;

/// Format of the bytes that this program writes, and the newest that it reads.
const FORMAT: u8 = 1;

/// Why bytes are no records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("no format version")]
    Empty,
    #[error("format version {0} is not known")]
    Format(u8),
    #[error("malformed: {0}")]
    Malformed(String),
    #[error("a record of an unknown kind")]
    UnknownRecord,
    #[error("{0} is missing or out of its range")]
    Field(&'static str),
    #[error("more than {} records", limits::METADATA_RECORDS_MAX)]
    TooMany,
}

/// ```text
/// | format version (u8) | length (varint) | pb.Record | length (varint) | pb.Record | …
/// ```
/// The same records give the same bytes.
#[must_use]
pub fn encode_records(records: &[Record]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for record in records {
        bytes.extend_from_slice(
            &pb::Record {
                record: Some(to_arm(record)),
            }
            .encode_length_delimited_to_vec(),
        );
    }
    bytes
}

/// Reads what [`encode_records`] wrote. Memory stays in proportion to the bytes; at most
/// [`limits::METADATA_RECORDS_MAX`] records.
///
/// # Errors
/// [`CodecError`], on anything else.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<Record>, CodecError> {
    let (format, mut rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *format != FORMAT {
        return Err(CodecError::Format(*format));
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        if records.len() >= limits::METADATA_RECORDS_MAX {
            return Err(CodecError::TooMany);
        }
        let message =
            pb::Record::decode_length_delimited(&mut rest).map_err(|error| CodecError::Malformed(error.to_string()))?;
        records.push(from_arm(message.record.ok_or(CodecError::UnknownRecord)?)?);
    }
    Ok(records)
}

fn to_arm(record: &Record) -> Arm {
    match record {
        Record::Cluster { cluster_id } => Arm::Cluster(pb::Cluster {
            cluster_id: cluster_id.clone(),
        }),
        Record::MetadataVersion { version } => Arm::MetadataVersion(pb::MetadataVersion {
            version: (*version).into(),
        }),
        Record::Member(member) => Arm::Member(pb::Member {
            raft_id: member.raft_id.0,
            node_id: member.node_id.0,
            directory: uuid(member.directory.0),
            endpoint: Some(endpoint(&member.endpoint)),
            vote_withheld: member.vote_withheld,
        }),
        Record::MemberRemoved { raft_id } => Arm::MemberRemoved(pb::MemberRemoved { raft_id: raft_id.0 }),
        Record::NextRaftId { next } => Arm::NextRaftId(pb::NextRaftId { next: *next }),
        Record::Broker(broker) => Arm::Broker(broker_message(broker)),
        Record::BrokerChange {
            node_id,
            broker_epoch,
            fenced,
            shutting_down,
            silent,
        } => Arm::BrokerChange(pb::BrokerChange {
            node_id: node_id.0,
            broker_epoch: broker_epoch.0,
            fenced: *fenced,
            shutting_down: *shutting_down,
            silent: *silent,
        }),
        Record::BrokerRemoved { node_id } => Arm::BrokerRemoved(pb::BrokerRemoved { node_id: node_id.0 }),
        Record::Topic {
            id,
            name,
            internal,
            configs,
            created_short,
        } => Arm::Topic(pb::Topic {
            id: uuid(id.0),
            name: name.clone(),
            internal: *internal,
            configs: configs.clone(),
            created_short: *created_short,
        }),
        Record::Partition { tp, partition } => Arm::Partition(pb::Partition {
            topic_id: uuid(tp.topic.0),
            partition: tp.partition,
            replicas: numbers(&partition.replicas),
            directories: partition.directories.iter().map(|id| uuid(id.0)).collect(),
            incarnation: partition.incarnation.0,
            isr: numbers(&partition.isr),
            elr: numbers(&partition.elr),
            last_known_elr: numbers(&partition.last_known_elr),
            leader: partition.leader.map(|leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            partition_epoch: partition.partition_epoch.0,
            strict: numbers(&partition.strict),
            adding_replicas: numbers(&partition.adding_replicas),
            removing_replicas: numbers(&partition.removing_replicas),
        }),
        Record::TopicRemoved { id } => Arm::TopicRemoved(pb::TopicRemoved { id: uuid(id.0) }),
        Record::TopicConfig { id, name, value } => Arm::TopicConfig(pb::TopicConfig {
            id: uuid(id.0),
            name: name.clone(),
            value: value.clone(),
        }),
        Record::BrokerConfig { node_id, name, value } => Arm::BrokerConfig(pb::BrokerConfig {
            node_id: node_id.map(|node| node.0),
            name: name.clone(),
            value: value.clone(),
        }),
        Record::NodeDrained { node_id, drained } => Arm::NodeDrained(pb::NodeDrained {
            node_id: node_id.0,
            drained: *drained,
        }),
        Record::TopicRaised { id } => Arm::TopicRaised(pb::TopicRaised { id: uuid(id.0) }),
        Record::NextProducerId { next } => Arm::NextProducerId(pb::NextProducerId { next: *next }),
    }
}

fn from_arm(arm: Arm) -> Result<Record, CodecError> {
    Ok(match arm {
        Arm::Cluster(m) => Record::Cluster {
            cluster_id: m.cluster_id,
        },
        Arm::MetadataVersion(m) => Record::MetadataVersion {
            version: u16::try_from(m.version).map_err(|_| CodecError::Field("metadata.version"))?,
        },
        Arm::Member(m) => Record::Member(Box::new(Member {
            raft_id: RaftId(m.raft_id),
            node_id: NodeId(m.node_id),
            directory: DirectoryId(parse_uuid(&m.directory, "directory")?),
            endpoint: parse_endpoint(m.endpoint, "endpoint")?,
            vote_withheld: m.vote_withheld,
        })),
        Arm::MemberRemoved(m) => Record::MemberRemoved {
            raft_id: RaftId(m.raft_id),
        },
        Arm::NextRaftId(m) => Record::NextRaftId { next: m.next },
        Arm::Broker(m) => Record::Broker(Box::new(parse_broker(m)?)),
        Arm::BrokerChange(m) => Record::BrokerChange {
            node_id: NodeId(m.node_id),
            broker_epoch: BrokerEpoch(m.broker_epoch),
            fenced: m.fenced,
            shutting_down: m.shutting_down,
            silent: m.silent,
        },
        Arm::BrokerRemoved(m) => Record::BrokerRemoved {
            node_id: NodeId(m.node_id),
        },
        Arm::Topic(m) => Record::Topic {
            id: TopicId(parse_uuid(&m.id, "topic id")?),
            name: m.name,
            internal: m.internal,
            configs: m.configs,
            created_short: m.created_short,
        },
        Arm::Partition(m) => parse_partition(m)?,
        Arm::TopicRemoved(m) => Record::TopicRemoved {
            id: TopicId(parse_uuid(&m.id, "topic id")?),
        },
        Arm::TopicConfig(m) => Record::TopicConfig {
            id: TopicId(parse_uuid(&m.id, "topic id")?),
            name: m.name,
            value: m.value,
        },
        Arm::BrokerConfig(m) => Record::BrokerConfig {
            node_id: m.node_id.map(NodeId),
            name: m.name,
            value: m.value,
        },
        Arm::NodeDrained(m) => Record::NodeDrained {
            node_id: NodeId(m.node_id),
            drained: m.drained,
        },
        Arm::TopicRaised(m) => Record::TopicRaised {
            id: TopicId(parse_uuid(&m.id, "topic id")?),
        },
        Arm::NextProducerId(m) => Record::NextProducerId { next: m.next },
    })
}

fn broker_message(broker: &BrokerRegistration) -> pb::Broker {
    pb::Broker {
        node_id: broker.node_id.0,
        broker_epoch: broker.broker_epoch.0,
        incarnation: broker.incarnation.to_be_bytes().to_vec(),
        raft_id: broker.raft_id.0,
        rack: broker.rack.clone(),
        kafka: Some(endpoint(&broker.kafka)),
        replica: Some(endpoint(&broker.replica)),
        control: Some(endpoint(&broker.control)),
        shards: broker.shards.into(),
        directories: broker
            .directories
            .iter()
            .map(|report| pb::Directory {
                id: uuid(report.id.0),
                outcome: match report.outcome {
                    DirectoryOutcome::Intact => 0,
                    DirectoryOutcome::Missing => 1,
                    DirectoryOutcome::Failed => 2,
                },
                clean: report.clean,
            })
            .collect(),
        fenced: broker.fenced,
        shutting_down: broker.shutting_down,
        silent: broker.silent,
    }
}

fn parse_broker(m: pb::Broker) -> Result<BrokerRegistration, CodecError> {
    let incarnation: [u8; 16] = m.incarnation.try_into().map_err(|_| CodecError::Field("incarnation"))?;
    let directory = |d: pb::Directory| {
        let outcome = match d.outcome {
            0 => DirectoryOutcome::Intact,
            1 => DirectoryOutcome::Missing,
            2 => DirectoryOutcome::Failed,
            _ => return Err(CodecError::Field("outcome")),
        };
        Ok(DirectoryReport {
            id: DirectoryId(parse_uuid(&d.id, "directory")?),
            outcome,
            clean: d.clean,
        })
    };
    Ok(BrokerRegistration {
        node_id: NodeId(m.node_id),
        broker_epoch: BrokerEpoch(m.broker_epoch),
        incarnation: u128::from_be_bytes(incarnation),
        raft_id: RaftId(m.raft_id),
        rack: m.rack,
        kafka: parse_endpoint(m.kafka, "kafka")?,
        replica: parse_endpoint(m.replica, "replica")?,
        control: parse_endpoint(m.control, "control")?,
        shards: u16::try_from(m.shards).map_err(|_| CodecError::Field("shards"))?,
        directories: m.directories.into_iter().map(directory).collect::<Result<_, _>>()?,
        fenced: m.fenced,
        shutting_down: m.shutting_down,
        silent: m.silent,
    })
}

fn parse_partition(m: pb::Partition) -> Result<Record, CodecError> {
    let nodes = |list: Vec<i32>| list.into_iter().map(NodeId).collect();
    let directory = |bytes: &Vec<u8>| parse_uuid(bytes, "directory").map(DirectoryId);
    Ok(Record::Partition {
        tp: TopicPartition {
            topic: TopicId(parse_uuid(&m.topic_id, "topic id")?),
            partition: m.partition,
        },
        partition: Box::new(PartitionImage {
            replicas: nodes(m.replicas),
            directories: m.directories.iter().map(directory).collect::<Result<_, _>>()?,
            incarnation: ReplicaIncarnation(m.incarnation),
            isr: nodes(m.isr),
            elr: nodes(m.elr),
            last_known_elr: nodes(m.last_known_elr),
            leader: m.leader.map(NodeId),
            leader_epoch: LeaderEpoch(m.leader_epoch),
            partition_epoch: PartitionEpoch(m.partition_epoch),
            strict: nodes(m.strict),
            adding_replicas: nodes(m.adding_replicas),
            removing_replicas: nodes(m.removing_replicas),
        }),
    })
}

fn uuid(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn parse_uuid(bytes: &[u8], field: &'static str) -> Result<Uuid, CodecError> {
    Uuid::from_slice(bytes).map_err(|_| CodecError::Field(field))
}

fn endpoint(endpoint: &Endpoint) -> pb::Endpoint {
    pb::Endpoint {
        host: endpoint.host.clone(),
        port: endpoint.port.into(),
    }
}

fn parse_endpoint(message: Option<pb::Endpoint>, field: &'static str) -> Result<Endpoint, CodecError> {
    let message = message.ok_or(CodecError::Field(field))?;
    Ok(Endpoint {
        host: message.host,
        port: u16::try_from(message.port).map_err(|_| CodecError::Field(field))?,
    })
}

fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}
