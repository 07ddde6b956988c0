//! Who leads instead (KIP-951): the leader of a partition in an error, and where that broker listens.

use metadata::Image;
use std::collections::BTreeSet;
use types::{ErrorCode, LeaderEpoch, NodeId, TopicPartition};

/// The leader to name in an answer with this error: what the partition said, else what the image says.
pub(crate) fn leader_for(
    image: &Image,
    tp: TopicPartition,
    error: ErrorCode,
    known: Option<(NodeId, LeaderEpoch)>,
) -> Option<(NodeId, LeaderEpoch)> {
    if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return None;
    }
    known.or_else(|| {
        let partition = image.partition(tp)?;
        Some((partition.leader?, partition.leader_epoch))
    })
}

/// Node, host, port and rack of those of `nodes` that live.
pub(crate) fn endpoints(image: &Image, nodes: &BTreeSet<NodeId>) -> Vec<(NodeId, String, i32, Option<String>)> {
    let alive = nodes
        .iter()
        .filter(|node| image.alive(**node))
        .filter_map(|node| image.brokers.get(node));
    alive
        .map(|b| (b.node_id, b.kafka.host.clone(), i32::from(b.kafka.port), b.rack.clone()))
        .collect()
}
