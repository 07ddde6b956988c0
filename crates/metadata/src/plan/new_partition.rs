use super::placement::Directories;
use crate::{Image, PartitionImage};
use types::{LeaderEpoch, NodeId, PartitionEpoch, ReplicaIncarnation};

/// A new, empty partition. Its log holds nothing, so all of it is durable.
pub(super) fn new_partition(
    image: &Image,
    directories: &mut Directories,
    replicas: Vec<NodeId>,
    strict: bool,
) -> PartitionImage {
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|node| image.may_lead(*node)).collect();
    let place = |node: &NodeId| {
        let broker = image.broker(*node);
        broker.map(|broker| directories.place(broker)).unwrap_or_default()
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
        adding_replicas: Vec::new(),
        removing_replicas: Vec::new(),
    }
}
