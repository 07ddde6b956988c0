//! A cluster for tests: brokers 1 and 2 live, 3 is fenced; topics `orders` (2 partitions, led by 1 and 3) and
//! `payments` (3 partitions, led by 2).

use ::metadata::{BrokerRegistration, Endpoint, Image, PartitionImage, TopicImage};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, RaftId, TopicId};

pub(crate) fn topic_id(number: u128) -> TopicId {
    TopicId(uuid::Uuid::from_u128(number))
}

fn broker(node: i32, fenced: bool) -> BrokerRegistration {
    let endpoint = |port| Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    };
    BrokerRegistration {
        node_id: NodeId(node),
        broker_epoch: BrokerEpoch(10),
        incarnation: 1,
        raft_id: RaftId(1),
        rack: None,
        kafka: endpoint(9090 + u16::try_from(node).unwrap()),
        replica: endpoint(1),
        control: endpoint(2),
        shards: 1,
        directories: Vec::new(),
        fenced,
        shutting_down: false,
        silent: false,
    }
}

fn partition(leader: i32) -> Arc<PartitionImage> {
    let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
    Arc::new(PartitionImage {
        directories: vec![DirectoryId::ZERO; 3],
        isr: nodes.clone(),
        replicas: nodes,
        leader: Some(NodeId(leader)),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(5),
        ..PartitionImage::default()
    })
}

pub(crate) fn cluster() -> Image {
    let mut image = Image {
        cluster_id: Some("cluster".to_owned()),
        ..Image::default()
    };
    for (node, fenced) in [(1, false), (2, false), (3, true)] {
        image.brokers.insert(NodeId(node), Arc::new(broker(node, fenced)));
    }
    for (number, name, leaders) in [(1, "orders", vec![1, 3]), (2, "payments", vec![2, 2, 2])] {
        let topic = TopicImage {
            id: topic_id(number),
            name: name.to_owned(),
            internal: false,
            configs: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
            partitions: leaders.into_iter().map(partition).collect(),
            created_short: false,
        };
        image.names.insert(name.to_owned(), topic.id);
        image.topics.insert(topic.id, Arc::new(topic));
    }
    image
}
