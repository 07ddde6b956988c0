use metadata::{Image, PartitionImage};
use std::sync::Arc;
use types::NodeId;

/// What happened to partitions that a node leads, counted from one image to the next. Images may be skipped: several
/// changes of a partition in between count as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageChanges {
    pub isr_shrinks: u64,
    pub isr_expands: u64,
    /// Leader epochs that began with the node as leader.
    pub elections: u64,
    /// Of these, those of a leader from outside ISR and ELR: what it lacked is lost.
    pub unclean_elections: u64,
}

impl ImageChanges {
    /// Adds what is different in `after`. What did not change is shared between images and costs nothing.
    pub fn add(&mut self, before: &Image, after: &Image, me: NodeId) {
        for (id, topic) in &after.topics {
            let Some(old) = before.topics.get(id).filter(|old| !Arc::ptr_eq(old, topic)) else {
                continue;
            };
            for (old, new) in old.partitions.iter().zip(&topic.partitions) {
                if !Arc::ptr_eq(old, new) && new.leader == Some(me) {
                    self.add_partition(old, new, me);
                }
            }
        }
    }

    fn add_partition(&mut self, old: &PartitionImage, new: &PartitionImage, me: NodeId) {
        let lost = old.isr.iter().any(|node| !new.isr.contains(node));
        let won = new.isr.iter().any(|node| !old.isr.contains(node));
        let elected = new.leader_epoch > old.leader_epoch;
        let knew_all = old.isr.contains(&me) || old.elr.contains(&me);
        self.isr_shrinks += u64::from(lost);
        self.isr_expands += u64::from(won);
        self.elections += u64::from(elected);
        self.unclean_elections += u64::from(elected && !knew_all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::TopicImage;
    use std::collections::BTreeMap;
    use types::{LeaderEpoch, TopicId};

    fn image(leader: i32, epoch: i32, isr: &[i32], elr: &[i32]) -> Image {
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let partition = PartitionImage {
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            elr: nodes(elr),
            leader: (leader > 0).then_some(NodeId(leader)),
            leader_epoch: LeaderEpoch(epoch),
            ..PartitionImage::default()
        };
        let topic = TopicImage {
            id: TopicId::ZERO,
            name: "t".to_owned(),
            internal: false,
            configs: BTreeMap::new(),
            partitions: vec![Arc::new(partition)],
            created_short: false,
        };
        Image {
            topics: BTreeMap::from([(TopicId::ZERO, Arc::new(topic))]),
            ..Image::default()
        }
    }

    #[test]
    fn changes_are_counted_by_the_leader_alone() {
        // before, after, (shrinks, expands, elections, unclean)
        let all = || image(1, 1, &[1, 2, 3], &[]);
        for (before, after, expected) in [
            (Image::default(), all(), (0, 0, 0, 0)),
            (all(), all(), (0, 0, 0, 0)),
            (all(), image(1, 1, &[1, 2], &[]), (1, 0, 0, 0)),
            (image(1, 1, &[1], &[]), all(), (0, 1, 0, 0)),
            (image(1, 1, &[1, 2], &[]), image(1, 1, &[1, 3], &[]), (1, 1, 0, 0)),
            (all(), image(2, 2, &[2, 3], &[]), (0, 0, 0, 0)),
            (image(2, 1, &[1, 2], &[]), image(1, 2, &[1], &[]), (1, 0, 1, 0)),
            (all(), image(1, 2, &[1, 2, 3], &[]), (0, 0, 1, 0)),
            (image(0, 1, &[], &[1]), image(1, 2, &[1], &[]), (0, 1, 1, 0)),
            (image(0, 1, &[2], &[3]), image(1, 2, &[1], &[]), (1, 1, 1, 1)),
        ] {
            let mut changes = ImageChanges::default();
            changes.add(&before, &after, NodeId(1));
            let found = (
                changes.isr_shrinks,
                changes.isr_expands,
                changes.elections,
                changes.unclean_elections,
            );
            assert_eq!(found, expected, "{before:?} -> {after:?}");
        }
    }
}
