use crate::partition::Partition;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use types::TopicPartition;

pub(crate) type PartitionRef = Rc<PartitionCell>;

/// A partition in its place on a shard, and whether anybody has looked for it since it came to rest.
pub(crate) struct PartitionCell {
    tp: TopicPartition,
    stirred: Cell<bool>,
    partition: RefCell<Partition>,
}

impl PartitionCell {
    pub fn new(partition: Partition) -> PartitionRef {
        Rc::new(Self {
            tp: partition.tp,
            stirred: Cell::new(false),
            partition: RefCell::new(partition),
        })
    }
}

impl Deref for PartitionCell {
    type Target = RefCell<Partition>;

    fn deref(&self) -> &RefCell<Partition> {
        &self.partition
    }
}

/// The partitions of a shard that the next tick must look at: somebody has done something with them, or they wait for time
/// to pass. A node has thousands of others, which cost nothing.
#[derive(Default)]
pub(crate) struct Stirred(RefCell<Vec<PartitionRef>>);

impl Stirred {
    /// Something may be done with it now.
    pub fn stir(&self, partition: &PartitionRef) {
        if !partition.stirred.replace(true) {
            self.0.borrow_mut().push(partition.clone());
        }
    }

    /// All that were stirred since the last time; from here on they rest.
    pub fn take(&self) -> Vec<(TopicPartition, PartitionRef)> {
        let taken = self.0.take().into_iter();
        taken
            .map(|partition| {
                partition.stirred.set(false);
                (partition.tp, partition)
            })
            .collect()
    }
}
