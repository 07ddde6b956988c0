//! What Metadata and DescribeTopicPartitions tell of a partition.

use metadata::{Image, PartitionImage};
use types::{DirectoryId, ErrorCode, NodeId};
use wire::messages::BrokerId;

/// The leader that clients can reach, or why there is none: −1 and LEADER_NOT_AVAILABLE.
pub(crate) fn reachable_leader(image: &Image, partition: &PartitionImage) -> (BrokerId, ErrorCode) {
    match partition.leader.filter(|leader| image.alive(*leader)) {
        Some(leader) => (leader.0.into(), ErrorCode::None),
        None => ((-1).into(), ErrorCode::LeaderNotAvailable),
    }
}

/// Replicas whose broker is fenced or gone, or whose directory the broker does not report (KIP-858).
pub(crate) fn offline(image: &Image, partition: &PartitionImage) -> Vec<BrokerId> {
    let is_offline = |node: &NodeId| match image.brokers.get(node) {
        Some(broker) if !broker.fenced => {
            let directory = partition.directory(*node).unwrap_or(DirectoryId::ZERO);
            !directory.is_zero() && !broker.directories.iter().any(|d| d.id == directory)
        }
        _ => true,
    };
    ids(partition.replicas.iter().filter(|node| is_offline(node)))
}

pub(crate) fn ids<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> Vec<BrokerId> {
    nodes.into_iter().map(|node| node.0.into()).collect()
}

/// A live broker for clients to send admin requests to; every broker forwards them. −1: none lives.
pub(crate) fn any_live_broker(image: &Image, random: u64) -> BrokerId {
    let alive: Vec<NodeId> = image
        .brokers
        .values()
        .filter(|b| !b.fenced)
        .map(|b| b.node_id)
        .collect();
    let at = usize::try_from(random % alive.len().max(1) as u64).unwrap_or(0);
    alive.get(at).map_or(-1, |node| node.0).into()
}
