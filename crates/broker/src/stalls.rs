//! A disk that stalls takes no leadership down with it: its leaders resign while it may still recover.

use crate::partition_cell::PartitionRef;
use crate::shard::ShardRef;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use types::{DirectoryId, LeaderEpoch, Monotonic, TopicPartition};

/// What a shard knows of its stalled directories.
#[derive(Default)]
pub(crate) struct Stalls {
    directories: RefCell<BTreeSet<DirectoryId>>,
    /// The controller is being asked: one question at a time.
    asking: Rc<Cell<bool>>,
    /// What it was asked for when this was looked at last.
    asked: RefCell<BTreeMap<TopicPartition, LeaderEpoch>>,
}

/// Asks the controller for other leaders wherever this shard leads on a directory on which a flush takes longer than
/// [`types::Timings::flush_stall`]: also where nothing is written now, or the first write would wait as long again.
///
/// A new leader has the whole limit to itself, so that leadership does not run in circles among replicas whose disks all
/// stall. Where no other member of the ISR can lead, the leader stays. One that is still not told how its question ended
/// when this looks again takes no more records.
///
/// `due` holds all partitions whose flush is out.
pub(crate) fn resign_where_flushes_stall(shard: &ShardRef, due: &[(TopicPartition, PartitionRef)], now: Monotonic) {
    let limit = shard.timings().flush_stall;
    let flushes_stall = due
        .iter()
        .map(|(_, partition)| partition.borrow())
        .filter(|partition| partition.flush_stalls(now, limit));
    let stalled: BTreeSet<DirectoryId> = flushes_stall.map(|partition| partition.directory).collect();
    say(shard, &stalled);
    if stalled.is_empty() || shard.broker_epoch().is_none() {
        shard.stalls().asked.take();
        return;
    }
    let mut leaders = BTreeMap::new();
    for (tp, partition) in shard.partitions() {
        let mut partition = partition.borrow_mut();
        if stalled.contains(&partition.directory)
            && let Some(epoch) = partition.led_for(now, limit)
            && another_could_lead(shard, tp)
        {
            leaders.insert(tp, epoch);
            if shard.stalls().asked.borrow().get(&tp) == Some(&epoch) && partition.flush_stalls(now, limit) {
                partition.stand_down();
            }
        }
    }
    shard.stalls().asked.replace(leaders.clone());
    if !leaders.is_empty() && !shard.stalls().asking.get() {
        ask(shard, leaders.into_iter().collect());
    }
}

fn another_could_lead(shard: &ShardRef, tp: TopicPartition) -> bool {
    let (image, me) = (shard.image(), shard.links().node_id);
    let Some(partition) = image.partition(tp) else {
        return false;
    };
    let mut others = partition.isr.iter().filter(|member| **member != me);
    others.any(|member| image.may_lead(*member) && image.replica_is_online(partition, *member))
}

fn ask(shard: &ShardRef, leaders: Vec<(TopicPartition, LeaderEpoch)>) {
    tracing::info!(
        partitions = leaders.len(),
        "asking the controller for leaders with a disk that does not stall"
    );
    let asking = shard.stalls().asking.clone();
    asking.set(true);
    let asked = shard.broker().control_plane().resign_leaders(leaders);
    tokio::task::spawn_local(async move {
        if let Err(code) = asked.await {
            tracing::warn!(
                ?code,
                "the controller found no other leaders yet: asked again while the disk stalls"
            );
        }
        asking.set(false);
    });
}

/// Once when a directory begins to stall, once when that is over.
fn say(shard: &ShardRef, stalled: &BTreeSet<DirectoryId>) {
    shard.links().stats.stalled_directories.set(stalled.len() as u64);
    let before = shard.stalls().directories.replace(stalled.clone());
    for directory in stalled.difference(&before) {
        tracing::error!(%directory, limit_ms = shard.timings().flush_stall.as_millis(),
            "flushes to a log directory stall: its leaders resign where another in-sync replica can lead. What was acknowledged is safe; the disk needs a look");
    }
    for directory in before.difference(stalled) {
        tracing::info!(%directory, "flushes to a log directory no longer stall: its replicas catch up and join the ISR again");
    }
}
