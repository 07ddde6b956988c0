//! Three brokers that vote, node 1 the controller, and one topic.

use super::{Diagnosis, Facts};
use metadata::{BrokerRegistration, DirectoryOutcome, DirectoryReport, Image, Member, PartitionImage, TopicImage};
use raft::{RaftState, RaftStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use types::{DirectoryId, LogIndex, NodeId, RaftId, TopicId};
use uuid::Uuid;

pub struct TestCluster {
    image: Image,
    heard: BTreeMap<NodeId, Duration>,
    controller: Option<NodeId>,
    raft: RaftStatus,
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn directory(node: i32) -> DirectoryId {
    DirectoryId(Uuid::from_u128(0xd0 + node as u128))
}

impl TestCluster {
    pub fn new() -> Self {
        let broker = |node: i32| {
            let report = DirectoryReport {
                id: directory(node),
                ..DirectoryReport::default()
            };
            let registration = BrokerRegistration {
                node_id: NodeId(node),
                directories: vec![report],
                ..BrokerRegistration::default()
            };
            (NodeId(node), Arc::new(registration))
        };
        let member = |node: i32| {
            let id = RaftId(10 + node.unsigned_abs() as u64);
            let member = Member {
                raft_id: id,
                node_id: NodeId(node),
                ..Member::default()
            };
            (id, Arc::new(member))
        };
        let voters: BTreeSet<RaftId> = [11, 12, 13].map(RaftId).into();
        Self {
            image: Image {
                brokers: (1..=3).map(broker).collect(),
                members: (1..=3).map(member).collect(),
                ..Image::default()
            },
            heard: (1..=3).map(|node| (NodeId(node), Duration::from_millis(100))).collect(),
            controller: Some(NodeId(1)),
            raft: RaftStatus {
                id: RaftId(11),
                state: RaftState::Leader,
                term: 1,
                leader: Some(RaftId(11)),
                last_log: LogIndex(50),
                committed: LogIndex(50),
                applied: LogIndex(50),
                snapshot: None,
                matched: voters.iter().map(|id| (*id, LogIndex(50))).collect(),
                voters,
                learners: BTreeSet::new(),
                members: BTreeMap::new(),
                settled: true,
            },
        }
    }

    /// A partition of `orders` on all three, after those that are there.
    pub fn partition(&mut self, leader: Option<i32>, isr: &[i32], elr: &[i32]) {
        let partition = PartitionImage {
            replicas: nodes(&[1, 2, 3]),
            directories: [1, 2, 3].map(directory).to_vec(),
            isr: nodes(isr),
            elr: nodes(elr),
            leader: leader.map(NodeId),
            ..PartitionImage::default()
        };
        let topic = self.image.topics.entry(TopicId::ZERO).or_insert_with(|| {
            Arc::new(TopicImage {
                id: TopicId::ZERO,
                name: "orders".to_owned(),
                internal: false,
                configs: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
                partitions: Vec::new(),
                created_short: false,
            })
        });
        Arc::make_mut(topic).partitions.push(Arc::new(partition));
        self.image.names.insert("orders".to_owned(), TopicId::ZERO);
    }

    /// One that is led by node 1 and moved: `added` comes, `removed` goes.
    pub fn moving(&mut self, isr: &[i32], added: i32, removed: i32) {
        self.partition(Some(1), isr, &[]);
        let topic = self.image.topics.get_mut(&TopicId::ZERO).unwrap();
        let partition = Arc::make_mut(Arc::make_mut(topic).partitions.last_mut().unwrap());
        partition.adding_replicas = nodes(&[added]);
        partition.removing_replicas = nodes(&[removed]);
    }

    /// A partition of `orders` on one node alone.
    pub fn lone_partition(&mut self, node: i32) {
        self.partition(Some(node), &[node], &[]);
        let topic = self.image.topics.get_mut(&TopicId::ZERO).unwrap();
        let partition = Arc::make_mut(Arc::make_mut(topic).partitions.last_mut().unwrap());
        partition.replicas = nodes(&[node]);
        partition.directories = vec![directory(node)];
    }

    pub fn broker(&mut self, node: i32, change: impl FnOnce(&mut BrokerRegistration)) {
        change(Arc::make_mut(self.image.brokers.get_mut(&NodeId(node)).unwrap()));
    }

    /// Fenced, and silent for so many seconds; `None`: the controller never heard of it.
    pub fn down(&mut self, node: i32, seconds: Option<u64>) {
        self.broker(node, |broker| broker.fenced = true);
        match seconds {
            Some(seconds) => self.heard.insert(NodeId(node), Duration::from_secs(seconds)),
            None => self.heard.remove(&NodeId(node)),
        };
    }

    pub fn lose_directory(&mut self, node: i32) {
        self.broker(node, |broker| broker.directories[0].outcome = DirectoryOutcome::Failed);
    }

    pub fn no_controller(&mut self) {
        self.controller = None;
        self.raft.leader = None;
        self.raft.state = RaftState::Follower;
    }

    pub fn unregister(&mut self, node: i32) {
        self.image.brokers.remove(&NodeId(node));
        self.heard.remove(&NodeId(node));
    }

    pub fn raft(&mut self, change: impl FnOnce(&mut RaftStatus)) {
        change(&mut self.raft);
    }

    pub fn ask(&self, ask: impl FnOnce(&Facts) -> Diagnosis) -> Diagnosis {
        let leads = self.controller == Some(NodeId(1));
        ask(&Facts {
            image: &self.image,
            answered_by: NodeId(1),
            leads,
            controller: self.controller,
            heard: if leads { self.heard.clone() } else { BTreeMap::new() },
            raft: Some(&self.raft),
        })
    }
}
