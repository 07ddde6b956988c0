//! The controller's part: one partition's record, brokers, elections, AlterPartition.

use replica::{Durability, PartitionView};
use std::collections::BTreeMap;
use types::{Broken, BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, broken};

pub struct Proposal {
    pub from: NodeId,
    pub isr: Vec<(NodeId, BrokerEpoch)>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
}

pub struct Controller {
    pub view: PartitionView,
    next_broker_epoch: u64,
}

impl Controller {
    pub fn new(durability: Durability) -> Self {
        let nodes: Vec<NodeId> = (1..=3).map(NodeId).collect();
        let brokers = nodes
            .iter()
            .map(|node| (*node, (BrokerEpoch(1), false)))
            .collect::<BTreeMap<_, _>>();
        let view = PartitionView {
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas: nodes.clone(),
            isr: nodes,
            elr: Vec::new(),
            min_isr: 2,
            durability,
            brokers,
        };
        Self {
            view,
            next_broker_epoch: 2,
        }
    }

    pub fn elect(&mut self, leader: Option<NodeId>) {
        self.view.leader = leader;
        self.view.leader_epoch = self.view.leader_epoch.next();
        self.view.partition_epoch = self.view.partition_epoch.next();
    }

    fn candidate(&self) -> Option<NodeId> {
        self.view
            .isr
            .iter()
            .copied()
            .find(|node| self.view.unfenced(*node).is_some())
    }

    fn set_fenced(&mut self, node: NodeId, fenced: bool) {
        if let Some(broker) = self.view.brokers.get_mut(&node) {
            broker.1 = fenced;
        }
    }

    /// Fenced brokers leave the ISR, but for its last member.
    pub fn fence(&mut self, node: NodeId) {
        self.set_fenced(node, true);
        if self.view.isr.len() > 1 && self.view.isr.contains(&node) {
            self.view.isr.retain(|member| *member != node);
            self.view.partition_epoch = self.view.partition_epoch.next();
        }
        if self.view.leader == Some(node) {
            let leader = self.candidate();
            self.elect(leader);
        }
    }

    /// It lost what it had acknowledged.
    pub fn expel(&mut self, node: NodeId) {
        self.view.isr.retain(|member| *member != node);
        self.view.partition_epoch = self.view.partition_epoch.next();
    }

    /// A strict replica keeps its place in the ISR; what it led gets a new leader epoch.
    pub fn register(&mut self, node: NodeId) -> BrokerEpoch {
        let epoch = BrokerEpoch(self.next_broker_epoch);
        self.next_broker_epoch += 1;
        self.view.brokers.insert(node, (epoch, true));
        if self.view.leader == Some(node) {
            let leader = self.candidate();
            self.elect(leader);
        }
        epoch
    }

    pub fn unfence(&mut self, node: NodeId) {
        self.set_fenced(node, false);
        if self.view.leader.is_none() {
            let leader = self.candidate();
            if leader.is_some() {
                self.elect(leader);
            }
        }
    }

    /// The new partition epoch if the proposal is committed.
    pub fn alter(&mut self, proposal: &Proposal) -> Option<PartitionEpoch> {
        let current = self.view.leader == Some(proposal.from)
            && self.view.leader_epoch == proposal.leader_epoch
            && self.view.partition_epoch == proposal.partition_epoch;
        let eligible = proposal
            .isr
            .iter()
            .all(|(node, epoch)| self.view.unfenced(*node) == Some(*epoch) || broken(Broken::JoinInAnEarlierLife));
        if !current || !eligible {
            return None;
        }
        self.view.isr = proposal.isr.iter().map(|(node, _)| *node).collect();
        self.view.partition_epoch = self.view.partition_epoch.next();
        Some(self.view.partition_epoch)
    }
}
