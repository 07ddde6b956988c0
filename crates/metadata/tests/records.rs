//! The encoding of records: golden file, hostile bytes, snapshots.

mod fixture;

use fixture::{Cluster, TOPIC, TP, disk, nodes, registration};
use metadata::{CodecError, Endpoint, Image, Member, PartitionImage, Record, decode_records, encode_records};
use proptest::prelude::*;
use types::{BrokerEpoch, DirectoryId, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, RaftId, ReplicaIncarnation};
use uuid::Uuid;

/// One of each kind, every field set.
fn samples() -> Vec<Record> {
    let mut broker = registration(7, 0x0102_0304);
    broker.rack = Some("r1".into());
    let partition = PartitionImage {
        replicas: nodes(&[1, 2, 3]),
        directories: vec![disk(1).id, disk(2).id, disk(3).id],
        incarnation: ReplicaIncarnation(9),
        isr: nodes(&[1]),
        elr: nodes(&[2]),
        last_known_elr: nodes(&[3]),
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(5),
        strict: nodes(&[1, 2]),
        adding_replicas: Vec::new(),
        removing_replicas: Vec::new(),
    };
    let reassigned = PartitionImage {
        adding_replicas: nodes(&[3]),
        removing_replicas: nodes(&[2]),
        ..partition.clone()
    };
    let endpoint = Endpoint {
        host: "node-7".into(),
        port: 19092,
    };
    let directory = DirectoryId(Uuid::from_u128(6));
    vec![
        Record::Cluster { cluster_id: "c".into() },
        Record::MetadataVersion { version: 1 },
        Record::Member(Box::new(Member {
            raft_id: RaftId(3),
            node_id: NodeId(7),
            directory,
            endpoint,
            vote_withheld: false,
        })),
        Record::MemberRemoved { raft_id: RaftId(2) },
        Record::NextRaftId { next: 8 },
        Record::Broker(Box::new(broker)),
        Record::BrokerChange {
            node_id: NodeId(7),
            broker_epoch: BrokerEpoch(5),
            fenced: true,
            shutting_down: true,
            silent: false,
        },
        Record::BrokerRemoved { node_id: NodeId(7) },
        Record::Topic {
            id: TOPIC,
            name: "t".into(),
            internal: true,
            configs: [
                ("retention.ms".into(), "1".into()),
                ("flush.messages".into(), "1".into()),
            ]
            .into(),
            created_short: true,
        },
        Record::Partition {
            tp: TP,
            partition: Box::new(partition),
        },
        Record::TopicRemoved { id: TOPIC },
        Record::TopicConfig {
            id: TOPIC,
            name: "retention.ms".into(),
            value: None,
        },
        Record::BrokerConfig {
            node_id: None,
            name: "log.retention.ms".into(),
            value: Some("2".into()),
        },
        Record::NextProducerId { next: 1000 },
        // Since metadata.version 1 was first written.
        Record::Partition {
            tp: TP,
            partition: Box::new(reassigned),
        },
    ]
}

#[test]
fn bytes_are_those_of_the_release() {
    let golden = include_str!("metadata_records_v1.hex");
    let encoded: String = encode_records(&samples())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let golden: String = golden.split_whitespace().collect();
    assert_eq!(encoded, golden);
    let bytes: Vec<u8> = (0..golden.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(decode_records(&bytes).unwrap(), samples());
}

#[test]
fn what_is_no_record_is_refused() {
    type Case = (&'static [u8], fn(&CodecError) -> bool);
    let cases: [Case; 5] = [
        (&[], |error| *error == CodecError::Empty),
        (&[2], |error| *error == CodecError::Format(2)),
        (&[1, 0], |error| *error == CodecError::UnknownRecord),
        (&[1, 0xff, 0xff, 0xff, 0xff, 0x0f], |error| {
            matches!(error, CodecError::Malformed(_))
        }),
        // A partition without ids.
        (&[1, 2, 0x52, 0], |error| matches!(error, CodecError::Field(_))),
    ];
    for (bytes, expected) in cases {
        let error = decode_records(bytes).unwrap_err();
        assert!(expected(&error), "{bytes:?}: {error}");
    }
    assert_eq!(decode_records(&[1]), Ok(vec![]));
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
        let mut bytes = encode_records(&samples());
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut % (length + 1));
        let mut image = Cluster::with_topic(&[]).image;
        if let Ok(records) = decode_records(&bytes) {
            for record in &records {
                let before = image.clone();
                if image.apply(LogIndex(100), record).is_err() {
                    prop_assert_eq!(&image, &before);
                }
            }
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_records(&bytes);
    }
}

#[test]
fn a_snapshot_is_the_image() {
    let mut cluster = Cluster::with_topic(&[("retention.ms", "5")]);
    cluster.fence(1);
    cluster.apply(&[
        samples()[0].clone(),
        samples()[1].clone(),
        samples()[2].clone(),
        samples()[12].clone(),
        samples()[13].clone(),
    ]);
    cluster.apply(&[Record::MemberRemoved { raft_id: RaftId(3) }]);
    let bytes = encode_records(&cluster.image.to_snapshot());
    let restored = Image::from_snapshot(cluster.image.index, &decode_records(&bytes).unwrap()).unwrap();
    assert_eq!(restored, cluster.image);
    assert_eq!(
        restored.next_raft_id, 4,
        "ids of removed members are not given out again"
    );
}

/// Written since the release whose bytes are above: absent in its members, who keep their vote.
#[test]
fn a_vote_that_was_taken_stays_taken() {
    let member = Member {
        raft_id: RaftId(3),
        node_id: NodeId(7),
        directory: DirectoryId(Uuid::from_u128(6)),
        endpoint: Endpoint {
            host: "h".into(),
            port: 1,
        },
        vote_withheld: true,
    };
    let records = vec![Record::Member(Box::new(member))];
    assert_eq!(decode_records(&encode_records(&records)).unwrap(), records);
}
