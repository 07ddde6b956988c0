use super::placement::directory;
use crate::{Image, PartitionImage};
use types::{LeaderEpoch, NodeId, PartitionEpoch, ReplicaIncarnation};

/// A new, empty partition. Its log holds nothing, so all of it is durable.
pub(super) fn new_partition(image: &Image, number: usize, replicas: Vec<NodeId>, strict: bool) -> PartitionImage {
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|node| image.may_lead(*node)).collect();
    let place = |node: &NodeId| {
        image
            .broker(*node)
            .map(|broker| directory(broker, number))
            .unwrap_or_default()
    };
    PartitionImage {
        directories: replicas.iter().map(place).collect(),
        incarnation: ReplicaIncarnation(0),
        leader: isr.first().copied(),
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        strict: if strict { replicas.clone() } else { Vec::new() },
        replicas,
    }
}
