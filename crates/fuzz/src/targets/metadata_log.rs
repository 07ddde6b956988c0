//! Records of the metadata log and its snapshots, and requests to the controller that become records.

use crate::bounded::bounded;
use crate::{Kind, Target};
use metadata::{
    BrokerRegistration, DirectoryReport, Endpoint, Image, Member, PartitionImage, Record, decode_records,
    encode_records,
};
use prost::Message;
use raft::pb;
use raft::pb::controller_request::Request;
use std::collections::BTreeMap;
use types::{
    BrokerEpoch, DirectoryId, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, RaftId, ReplicaIncarnation, TopicId,
    TopicPartition,
};
use uuid::Uuid;

/// Memory that records or a request may take: a base, and so much for each byte.
const BYTES_BASE: usize = 4 << 20;
const BYTES_PER_BYTE: usize = 512;
const TOPIC: Uuid = Uuid::from_u128(1);

pub(crate) fn all() -> Vec<Target> {
    vec![
        Target::new("metadata-records", Kind::Disk, metadata_records, || {
            let one = records().into_iter().map(|record| encode_records(&[record]));
            one.chain([encode_records(&records())]).collect()
        }),
        Target::new("controller-request", Kind::Peer, controller_request, || {
            requests()
                .into_iter()
                .map(|request| pb::ControllerRequest { request: Some(request) }.encode_to_vec())
                .collect()
        }),
    ]
}

fn limit(input: &[u8]) -> usize {
    BYTES_BASE + BYTES_PER_BYTE * input.len()
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// A cluster of three brokers and one topic of two partitions.
fn records() -> Vec<Record> {
    let mut records = vec![
        Record::Cluster {
            cluster_id: "cluster".to_owned(),
        },
        Record::MetadataVersion { version: 1 },
    ];
    for node in 1..=3u8 {
        records.push(Record::Member(Box::new(Member {
            raft_id: RaftId(node.into()),
            node_id: NodeId(node.into()),
            directory: DirectoryId(Uuid::from_u128(node.into())),
            endpoint: endpoint(19092),
            vote_withheld: false,
        })));
        records.push(Record::Broker(Box::new(BrokerRegistration {
            node_id: NodeId(node.into()),
            broker_epoch: BrokerEpoch(0),
            incarnation: u128::from(node) << 96 | 1 << 64,
            raft_id: RaftId(node.into()),
            rack: Some("rack".to_owned()),
            kafka: endpoint(9092),
            replica: endpoint(29092),
            control: endpoint(19092),
            shards: 2,
            directories: vec![DirectoryReport::default()],
            fenced: node == 3,
            shutting_down: false,
            silent: false,
        })));
    }
    records.push(Record::Topic {
        id: TopicId(TOPIC),
        name: "orders".to_owned(),
        internal: false,
        configs: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
        created_short: false,
    });
    let nodes: Vec<NodeId> = (1..=3).map(NodeId).collect();
    for partition in 0..2 {
        records.push(Record::Partition {
            tp: TopicPartition {
                topic: TopicId(TOPIC),
                partition,
            },
            partition: Box::new(PartitionImage {
                directories: vec![DirectoryId(Uuid::from_u128(1)); 3],
                incarnation: ReplicaIncarnation(4),
                isr: nodes.clone(),
                replicas: nodes.clone(),
                leader: Some(NodeId(1)),
                leader_epoch: LeaderEpoch(4),
                partition_epoch: PartitionEpoch(5),
                ..PartitionImage::default()
            }),
        });
    }
    records.extend([
        Record::TopicConfig {
            id: TopicId(TOPIC),
            name: "min.insync.replicas".to_owned(),
            value: Some("2".to_owned()),
        },
        Record::BrokerConfig {
            node_id: None,
            name: "log.retention.ms".to_owned(),
            value: Some("5".to_owned()),
        },
        Record::BrokerChange {
            node_id: NodeId(2),
            broker_epoch: BrokerEpoch(1),
            fenced: false,
            shutting_down: false,
            silent: false,
        },
        Record::NextRaftId { next: 9 },
        Record::NextProducerId { next: 1_000 },
    ]);
    records
}

/// Records that are read are a snapshot, or are refused; an image's own snapshot makes the same image.
fn metadata_records(input: &[u8]) {
    bounded(limit(input), || {
        let Ok(records) = decode_records(input) else { return };
        assert_eq!(decode_records(&encode_records(&records)).as_ref(), Ok(&records));
        let mut image = cluster();
        let before = image.clone();
        let next = LogIndex(image.index.0 + 1);
        if image.apply_all(next, &records).is_err() {
            assert_eq!(image, before, "refused, and changed all the same");
        }
        if let Ok(image) = Image::from_snapshot(LogIndex(3), &records) {
            let again = Image::from_snapshot(LogIndex(3), &image.to_snapshot());
            assert_eq!(again.as_ref(), Ok(&image));
        }
    });
}

fn cluster() -> Image {
    Image::from_snapshot(LogIndex(1), &records()).expect("they are valid")
}

fn requests() -> Vec<Request> {
    let topic_id = TOPIC.as_bytes().to_vec();
    let address = pb::Address {
        host: "127.0.0.1".to_owned(),
        port: 9092,
    };
    let (node_id, broker_epoch, raft_id) = (1, 1, 1);
    vec![
        Request::Join(pb::JoinRequest {
            node_id: 4,
            control: Some(address.clone()),
            directory_id: vec![4; 16],
        }),
        Request::RegisterBroker(pb::RegisterBrokerRequest {
            node_id,
            raft_id,
            incarnation: (1u128 << 96 | 2 << 64).to_be_bytes().to_vec(),
            rack: "rack".to_owned(),
            kafka: Some(address.clone()),
            replica: Some(address.clone()),
            control: Some(address),
            shards: 2,
            directories: vec![pb::DirectoryRecovery {
                directory_id: Uuid::from_u128(1).as_bytes().to_vec(),
                outcome: 0,
                clean: false,
                damaged: vec![pb::DamagedReplica {
                    topic_id: topic_id.clone(),
                    partition: 1,
                }],
            }],
        }),
        Request::ControlledShutdown(pb::ControlledShutdownRequest { node_id, broker_epoch }),
        Request::CreateTopics(pb::CreateTopicsRequest {
            topics: vec![
                pb::NewTopicMessage {
                    name: "new".to_owned(),
                    partitions: 3,
                    replication_factor: 2,
                    topic_id: vec![9; 16],
                    configs: vec![pb::ConfigValue {
                        name: "retention.ms".to_owned(),
                        value: Some("1000".to_owned()),
                    }],
                    ..pb::NewTopicMessage::default()
                },
                pb::NewTopicMessage {
                    name: "placed".to_owned(),
                    partitions: -1,
                    replication_factor: -1,
                    topic_id: vec![8; 16],
                    assignments: vec![pb::PartitionReplicas {
                        partition: 0,
                        replicas: vec![2, 1],
                    }],
                    ..pb::NewTopicMessage::default()
                },
            ],
            validate_only: false,
            known_index: 7,
        }),
        Request::DeleteTopics(pb::DeleteTopicsRequest {
            names: vec!["orders".to_owned()],
            topic_ids: vec![topic_id.clone()],
            known_index: 7,
            repeated: true,
        }),
        Request::AlterPartitions(pb::AlterPartitionsRequest {
            node_id,
            broker_epoch,
            partitions: vec![pb::AlterPartitionMessage {
                topic_id: topic_id.clone(),
                partition: 0,
                leader_epoch: 4,
                partition_epoch: 5,
                isr: [1, 2].map(|node_id| pb::IsrMember { node_id, broker_epoch }).to_vec(),
            }],
        }),
        Request::AlterConfigs(pb::AlterConfigsRequest {
            resources: [(2, "orders"), (4, ""), (4, "1")]
                .map(|(resource_type, name)| pb::ConfigResourceMessage {
                    resource_type,
                    name: name.to_owned(),
                    operations: (0..4)
                        .map(|operation| pb::ConfigOperation {
                            name: "cleanup.policy".to_owned(),
                            operation,
                            value: Some("compact".to_owned()),
                        })
                        .collect(),
                    replace: false,
                })
                .to_vec(),
            validate_only: false,
        }),
        Request::AllocateProducerIds(pb::AllocateProducerIdsRequest { node_id, broker_epoch }),
        Request::UnregisterBroker(pb::UnregisterBrokerRequest { node_id: 3 }),
        Request::MarkStrict(pb::MarkStrictRequest {
            node_id,
            broker_epoch,
            partitions: vec![pb::StrictPartition {
                topic_id,
                partition: 0,
                leader_epoch: 4,
                strict: true,
            }],
        }),
    ]
}

/// Whatever a peer asks for, what the controller plans fits its image, and every other node can read it.
fn controller_request(input: &[u8]) {
    let Ok(pb::ControllerRequest { request: Some(request) }) = pb::ControllerRequest::decode(input) else {
        return;
    };
    // 10,000 partitions may be made of a few bytes (`types::limits::CREATE_PARTITIONS_MAX`).
    bounded(limit(input) + (64 << 20), || {
        let mut image = cluster();
        let records = controller::fuzzing::records(&image, &request);
        assert_eq!(decode_records(&encode_records(&records)).as_ref(), Ok(&records));
        let next = LogIndex(image.index.0 + 1);
        assert_eq!(image.apply_all(next, &records), Ok(()), "planned, and does not fit");
    });
}
