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
    /// Not yet seen by [`crate::inspect`] since something was done with it.
    #[cfg(feature = "inspect")]
    unseen: Cell<bool>,
    partition: RefCell<Partition>,
}

impl PartitionCell {
    pub fn new(partition: Partition) -> PartitionRef {
        Rc::new(Self {
            tp: partition.tp,
            stirred: Cell::new(false),
            #[cfg(feature = "inspect")]
            unseen: Cell::new(true),
            partition: RefCell::new(partition),
        })
    }

    /// Whether something was done with it since this was asked last.
    #[cfg(feature = "inspect")]
    pub fn take_unseen(&self) -> bool {
        self.unseen.replace(false)
    }

    /// Something is done with it.
    pub fn touch(&self) {
        #[cfg(feature = "inspect")]
        self.unseen.set(true);
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
        partition.touch();
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
