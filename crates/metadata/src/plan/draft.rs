use super::rules::Rules;
use crate::{Image, PartitionImage, Record};
use std::collections::{BTreeMap, BTreeSet};
use types::{NodeId, PartitionEpoch, TopicPartition};

/// Changes of partitions while a command is planned: however many touch a partition, it gets one record and
/// one new partition epoch.
pub(crate) struct Draft<'a> {
    image: &'a Image,
    changed: BTreeMap<TopicPartition, PartitionImage>,
    /// Get a record and a new partition epoch even if nothing else changes.
    touched: BTreeSet<TopicPartition>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(image: &'a Image) -> Self {
        Self {
            image,
            changed: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Changes one partition, if it exists.
    pub(crate) fn change(&mut self, tp: TopicPartition, change: impl FnOnce(&mut PartitionImage)) {
        let recorded = self.image.partition(tp);
        let Some(mut partition) = self
            .changed
            .remove(&tp)
            .or_else(|| recorded.map(|recorded| (**recorded).clone()))
        else {
            return;
        };
        change(&mut partition);
        if self.touched.contains(&tp) || recorded.is_some_and(|recorded| **recorded != partition) {
            self.changed.insert(tp, partition);
        }
    }

    /// Raises the partition epoch of one partition, if it exists, whether or not anything else changes.
    pub(crate) fn touch(&mut self, tp: TopicPartition) {
        self.touched.insert(tp);
        self.change(tp, |_| {});
    }

    /// Changes every partition with a replica on `node`.
    pub(crate) fn change_replicas_of(
        &mut self,
        node: NodeId,
        change: impl Fn(Rules, TopicPartition, &mut PartitionImage),
    ) {
        let image = self.image;
        for topic in image.topics.values() {
            for (number, partition) in (0i32..).zip(&topic.partitions) {
                if partition.replicas.contains(&node) {
                    let rules = Rules::of(image, topic, partition);
                    let tp = TopicPartition {
                        topic: topic.id,
                        partition: number,
                    };
                    self.change(tp, |partition| change(rules, tp, partition));
                }
            }
        }
    }

    /// One record per partition that differs from the image or was touched, in the order of topic id and number.
    pub(crate) fn into_records(self) -> Vec<Record> {
        let record = |(tp, mut partition): (TopicPartition, PartitionImage)| {
            partition.partition_epoch = PartitionEpoch(partition.partition_epoch.0.saturating_add(1));
            Record::Partition {
                tp,
                partition: Box::new(partition),
            }
        };
        self.changed.into_iter().map(record).collect()
    }
}
