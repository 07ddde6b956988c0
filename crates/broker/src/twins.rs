//! Replicas that were found in more than one log directory at the start: one was put back as it once was, or it is a disk that
//! was away while the replica was made anew on another. ◆ Which of them counts is metadata (KIP-858): an older copy in the
//! place of a member of the ISR would be a member that forgot what it acknowledged.

use crate::partition::Partition;
use crate::partition_cell::{PartitionCell, PartitionRef};
use crate::reconcile::{is_another, mine};
use crate::shard::ShardRef;
use metadata::{Image, PartitionImage};
use types::ErrorCode;

/// A replica as recovery found it. Where one is in its place already, it waits for the image.
pub(crate) fn add_recovered(shard: &ShardRef, partition: Partition) {
    let (tp, partition) = (partition.tp, PartitionCell::new(partition));
    match shard.partition(tp) {
        None => {
            shard.add_partition(partition);
        }
        Some(_) => {
            let topic = partition.borrow().topic.clone();
            tracing::warn!(
                topic,
                partition = tp.partition,
                "a replica is in two log directories: the one where the metadata has it counts, and the other is deleted"
            );
            shard.twins().borrow_mut().push(partition);
        }
    }
}

/// Puts replicas in their place that are where the image has them.
pub(crate) fn choose(shard: &ShardRef, image: &Image) {
    let mut twins = shard.twins().borrow_mut();
    for twin in twins.iter_mut() {
        let tp = twin.borrow().tp;
        if !mine(shard, image, tp).is_some_and(|(_, record)| is_where(shard, twin, record)) {
            continue;
        }
        // A directory holds one replica of a partition, so the one in its place is elsewhere.
        let present = shard.remove_partition(tp);
        shard.add_partition(twin.clone());
        if let Some(present) = present {
            let change = present.borrow_mut().become_idle(ErrorCode::NotLeaderOrFollower);
            shard.change(tp, change);
            *twin = present;
        }
    }
}

/// Those that nobody will ever ask for.
pub(crate) fn superfluous(shard: &ShardRef, image: &Image) -> Vec<PartitionRef> {
    let is_superfluous = |twin: &&PartitionRef| {
        let tp = twin.borrow().tp;
        let Some((_, record)) = mine(shard, image, tp) else {
            return true;
        };
        let chosen = shard
            .partition(tp)
            .is_some_and(|present| is_where(shard, &present, record));
        chosen || is_another(shard, twin, record)
    };
    shard.twins().borrow().iter().filter(is_superfluous).cloned().collect()
}

fn is_where(shard: &ShardRef, partition: &PartitionRef, record: &PartitionImage) -> bool {
    let partition = partition.borrow();
    let wanted = record.directory(shard.links().node_id);
    partition.incarnation == record.incarnation && wanted == Some(partition.directory)
}
