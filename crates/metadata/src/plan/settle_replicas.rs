use super::Plan;
use super::draft::Draft;
use super::placement::Directories;
use super::rules::{Candidates, Rules};
use crate::{Image, PartitionImage, Record, TopicImage};
use std::collections::{BTreeMap, BTreeSet};
use types::{NodeId, TopicPartition, limits};

/// Starts the reassignments that the controller wants by itself: replicas leave nodes that are being emptied, and topics
/// that were created short get the replicas that they lack as brokers join. At most [`limits::REPLICA_MOVES_MAX`]
/// partitions are under way at a time. `factor` is `default.replication.factor`. The response is how many start.
#[must_use]
pub fn settle_replicas(image: &Image, factor: usize) -> Plan<usize> {
    let short = image.topics.values().any(|topic| topic.created_short);
    if !short && image.drained.is_empty() {
        return Plan {
            records: Vec::new(),
            response: 0,
        };
    }
    let mut settling = Settling::new(image, factor);
    for (tp, topic, partition) in image.partitions() {
        settling.settle(tp, topic, partition);
    }
    let raised = |topic: &&std::sync::Arc<TopicImage>| {
        topic.created_short
            && topic
                .partitions
                .iter()
                .all(|p| !p.is_reassigned() && p.replicas.len() >= factor)
    };
    let raised = image
        .topics
        .values()
        .filter(raised)
        .map(|topic| Record::TopicRaised { id: topic.id });
    let mut records: Vec<Record> = raised.collect();
    records.extend(settling.draft.into_records());
    Plan {
        records,
        response: settling.started,
    }
}

pub(super) struct Settling<'a> {
    image: &'a Image,
    factor: usize,
    draft: Draft<'a>,
    directories: Directories,
    /// Replicas of each broker that takes new ones.
    loads: BTreeMap<NodeId, usize>,
    under_way: usize,
    started: usize,
}

impl<'a> Settling<'a> {
    pub(super) fn new(image: &'a Image, factor: usize) -> Self {
        let able = image
            .brokers
            .keys()
            .filter(|node| image.may_lead(**node) && !image.drained.contains(node));
        let mut loads: BTreeMap<NodeId, usize> = able.map(|node| (*node, 0)).collect();
        let mut under_way = 0;
        for (_, _, partition) in image.partitions() {
            under_way += usize::from(partition.is_reassigned());
            for node in partition.target_replicas() {
                if let Some(load) = loads.get_mut(&node) {
                    *load += 1;
                }
            }
        }
        Self {
            image,
            factor,
            draft: Draft::new(image),
            directories: Directories::new(image),
            loads,
            under_way,
            started: 0,
        }
    }

    fn settle(&mut self, tp: TopicPartition, topic: &TopicImage, partition: &PartitionImage) {
        if self.under_way >= limits::REPLICA_MOVES_MAX || partition.is_reassigned() || partition.leader.is_none() {
            return;
        }
        let mut target = self.emptied(&partition.replicas);
        let lacks = if topic.created_short {
            self.factor.saturating_sub(target.len())
        } else {
            0
        };
        for _ in 0..lacks {
            target.extend(self.choose(&target, &partition.replicas));
        }
        if target == partition.replicas {
            return;
        }
        self.under_way += 1;
        self.started += 1;
        let (image, directories) = (self.image, &mut self.directories);
        let rules = Rules::of(image, topic, partition);
        let place = |node| {
            image
                .broker(node)
                .map(|broker| directories.place(broker))
                .unwrap_or_default()
        };
        self.draft.change(tp, |partition| {
            rules.reassign(partition, &target, place, Candidates::all(image));
        });
    }

    /// The replicas with others in the place of those on nodes that are being emptied; those for which there is no other
    /// stay where they are.
    pub(super) fn emptied(&mut self, replicas: &[NodeId]) -> Vec<NodeId> {
        let mut target = replicas.to_vec();
        for at in 0..target.len() {
            if self.image.drained.contains(&target[at]) {
                let others: Vec<NodeId> = target.iter().copied().filter(|node| *node != target[at]).collect();
                if let Some(other) = self.choose(&others, replicas) {
                    target[at] = other;
                }
            }
        }
        target
    }

    /// A broker for one more replica beside `others`, none of `taken`: of a rack that has the fewest of them, and of its
    /// brokers the one with the fewest replicas.
    fn choose(&mut self, others: &[NodeId], taken: &[NodeId]) -> Option<NodeId> {
        let rack = |node: &NodeId| self.image.broker(*node).and_then(|broker| broker.rack.as_deref());
        let crowd = |node: &NodeId| others.iter().filter(|other| rack(other) == rack(node)).count();
        let excluded: BTreeSet<&NodeId> = others.iter().chain(taken).collect();
        let free = self.loads.iter().filter(|(node, _)| !excluded.contains(node));
        let (node, _) = free.min_by_key(|(node, load)| (crowd(node), **load))?;
        let node = *node;
        *self.loads.entry(node).or_default() += 1;
        Some(node)
    }
}
