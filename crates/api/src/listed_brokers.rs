use metadata::Image;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{Monotonic, NodeId};

/// A broker is still listed so long after it was seen fenced. In Apache Kafka it is until its session has ended.
const LISTED_AFTER_FENCING: Duration = Duration::from_secs(5);

/// Which brokers Metadata lists: those that live, and those that lived until just now.
///
/// librdkafka takes down the broker that has left the list, and where that crosses with the news of a partition's next
/// leader it leaves the partition without one until its next scan, up to a second later (seen with 2.11: "Reverting
/// from preferred replica … to leader -1"). An address that refuses connections costs clients nothing.
///
/// One that went silent does: an idempotent librdkafka producer sends nothing to the next leader before the last one has
/// answered, or has left the list. It is not listed any more.
#[derive(Debug, Default)]
pub(crate) struct ListedBrokers {
    alive: BTreeSet<NodeId>,
    fenced_at: BTreeMap<NodeId, Monotonic>,
}

impl ListedBrokers {
    /// Looks at the image; both maps stay within its brokers.
    pub fn look(&mut self, image: &Image, now: Monotonic) {
        let alive: BTreeSet<NodeId> = image
            .brokers
            .keys()
            .copied()
            .filter(|node| image.alive(*node))
            .collect();
        for node in self.alive.difference(&alive) {
            self.fenced_at.insert(*node, now);
        }
        self.fenced_at.retain(|node, at| {
            let speaks = image.broker(*node).is_some_and(|broker| !broker.silent);
            speaks && !alive.contains(node) && now.since(*at) < LISTED_AFTER_FENCING
        });
        self.alive = alive;
    }

    /// As of the last look.
    pub fn contains(&self, node: NodeId) -> bool {
        self.alive.contains(&node) || self.fenced_at.contains_key(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use std::sync::Arc;

    fn with_fenced(nodes: &[i32]) -> Image {
        let mut image = cluster();
        for (node, broker) in &mut image.brokers {
            Arc::make_mut(broker).fenced = nodes.contains(&node.0);
        }
        image
    }

    #[test]
    fn a_broker_is_listed_while_it_lives_and_five_seconds_on_unless_it_went_silent() {
        let mut listed = ListedBrokers::default();
        let at = Monotonic::from_millis;
        let steps: &[(u64, &[i32], &[i32])] = &[
            // Fenced before anyone looked.
            (0, &[3], &[1, 2]),
            (1_000, &[], &[1, 2, 3]),
            (2_000, &[2], &[1, 2, 3]),
            (6_999, &[2], &[1, 2, 3]),
            (7_000, &[2], &[1, 3]),
            (8_000, &[], &[1, 2, 3]),
        ];
        for (ms, fenced, expected) in steps {
            listed.look(&with_fenced(fenced), at(*ms));
            let found: Vec<i32> = (1..=3).filter(|node| listed.contains(NodeId(*node))).collect();
            assert_eq!(found, *expected, "at {ms} ms, fenced: {fenced:?}");
        }
        let mut silent = with_fenced(&[3]);
        Arc::make_mut(silent.brokers.get_mut(&NodeId(3)).unwrap()).silent = true;
        listed.look(&silent, at(8_001));
        assert!(
            !listed.contains(NodeId(3)),
            "clients wait for a broker that went silent"
        );
        let mut gone = with_fenced(&[]);
        gone.brokers.remove(&NodeId(1));
        listed.look(&gone, at(8_001));
        assert!(
            !listed.contains(NodeId(1)),
            "an unregistered broker has no address to list"
        );
    }
}
