//! Compares the shard's state with the newest image and closes the difference. ◆ A watch skips images, so nothing is
//! taken from what changed, only from what is: (topic id, incarnation, leader epoch, partition epoch).

use crate::offline;
use crate::partition::{NewReplica, Partition};
use crate::partition_cell::{PartitionCell, PartitionRef};
use crate::recovered;
use crate::shard::ShardRef;
use crate::topic_settings::{rules_of, view_of};
use crate::twins;
use host::PoolExt;
use logstore::{Log, LogError};
use metadata::{Image, PartitionImage, TopicImage};
use replica::{ProducerStates, first_generation};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use types::{ErrorCode, Offset, TopicPartition};

/// Replicas are created and deleted for so long before a newer image is looked at: each takes a sync of the disk, and there
/// may be thousands of them, while others of this shard's partitions wait for their new leader.
const SLICE: Duration = Duration::from_millis(100);
/// And for at least so many times as long as looking takes, which grows with the number of partitions.
const LOOKS_PER_SLICE: u32 = 8;

pub(crate) async fn run(shard: ShardRef) {
    let control = shard.broker().control_plane();
    let (mut image, mut registration) = (control.image(), control.registration());
    loop {
        let (newest, epoch) = (image.borrow_and_update().clone(), *registration.borrow_and_update());
        let began = shard.links().host.now();
        shard.set_state(newest.clone(), epoch);
        let due = match epoch {
            Some(_) => see(&shard, &newest),
            None => {
                stand_back(&shard);
                Due::default()
            }
        };
        shard.image_changed();
        let looked = shard.links().host.now();
        let slice = SLICE.max(looked.since(began) * LOOKS_PER_SLICE);
        let is_old = || image.has_changed().unwrap_or(true) || registration.has_changed().unwrap_or(true);
        let stop = || is_old() && shard.links().host.now().since(looked) >= slice;
        if carry_out(&shard, &newest, due, stop).await {
            shard.image_changed();
        }
        tokio::select! {
            changed = image.changed() => if changed.is_err() { return },
            changed = registration.changed() => if changed.is_err() { return },
            () = shard.looked() => {}
        }
    }
}

/// ◆ Without a registration nothing is served, led or followed.
fn stand_back(shard: &ShardRef) {
    for (tp, partition) in shard.partitions() {
        let change = partition.borrow_mut().become_idle(ErrorCode::NotLeaderOrFollower);
        shard.change(tp, change);
    }
}

/// What wants the disk.
#[derive(Default)]
struct Due {
    gone: BTreeSet<TopicPartition>,
    missing: Vec<TopicPartition>,
}

/// Tells every replica that is here what the image says of it.
fn see(shard: &ShardRef, image: &Arc<Image>) -> Due {
    let mut due = Due::default();
    twins::choose(shard, image);
    // The image holds our registration, so everything older: what it does not name is gone.
    for (tp, partition) in shard.partitions() {
        if mine(shard, image, tp).is_none_or(|(_, record)| is_another(shard, &partition, record)) {
            let change = partition.borrow_mut().become_idle(ErrorCode::UnknownTopicOrPartition);
            shard.change(tp, change);
            due.gone.insert(tp);
        }
    }
    let (me, index, shards) = (shard.links().node_id, shard.index(), shard.shards());
    for (tp, topic, record) in image.partitions() {
        if tp.shard(shards) != index || !record.replicas.contains(&me) {
            continue;
        }
        match shard.partition(tp) {
            Some(_) if due.gone.contains(&tp) => due.missing.push(tp),
            Some(partition) => show(shard, image, tp, &partition, topic, record),
            None => due.missing.push(tp),
        }
    }
    due
}

fn show(
    shard: &ShardRef,
    image: &Image,
    tp: TopicPartition,
    partition: &PartitionRef,
    topic: &TopicImage,
    record: &PartitionImage,
) {
    let view = view_of(image, topic, record);
    let rules = rules_of(image, shard.broker().local(), topic, view.durability);
    let mut partition = partition.borrow_mut();
    if let Some(epoch) = shard.broker_epoch() {
        partition.raise_generation(first_generation(epoch));
    }
    let change = partition.on_view(view, rules, shard.links().host.now());
    drop(partition);
    shard.change(tp, change);
}

/// Deletes and creates replicas, one after the other, until `stop`: what is left then, the next image names again. Answers
/// whether there was anything to do.
async fn carry_out(shard: &ShardRef, image: &Arc<Image>, due: Due, stop: impl Fn() -> bool) -> bool {
    let busy = !(due.gone.is_empty() && due.missing.is_empty());
    for twin in twins::superfluous(shard, image) {
        let Some(log) = twin.borrow_mut().take_log() else {
            continue;
        };
        shard.twins().borrow_mut().retain(|other| !Rc::ptr_eq(other, &twin));
        discard(shard, log).await;
        if stop() {
            return busy;
        }
    }
    for tp in due.gone {
        delete(shard, tp).await;
        if stop() {
            return busy;
        }
    }
    for tp in due.missing {
        let Some((topic, record)) = mine(shard, image, tp) else {
            continue;
        };
        // One that could not be deleted, its log being away, is still in its place.
        if shard.partition(tp).is_none() {
            create(shard, image, tp, topic, record).await;
        }
        if let Some(partition) = shard.partition(tp) {
            show(shard, image, tp, &partition, topic, record);
        }
        if stop() {
            return busy;
        }
    }
    busy
}

pub(crate) fn mine<'a>(
    shard: &ShardRef,
    image: &'a Image,
    tp: TopicPartition,
) -> Option<(&'a TopicImage, &'a PartitionImage)> {
    let topic = image.topic_by_id(tp.topic)?;
    let record = image.partition(tp)?;
    record
        .replicas
        .contains(&shard.links().node_id)
        .then_some((topic, record))
}

/// Whether the record is of another replica than the one that is here. ◆ One that was taken away and given again, with
/// the image between them skipped, may belong into another log directory: a failure of the one that it is in would go
/// unnoticed. It is no member of anything before it has spoken in its new life.
pub(crate) fn is_another(shard: &ShardRef, partition: &PartitionRef, record: &PartitionImage) -> bool {
    let (partition, me) = (partition.borrow(), shard.links().node_id);
    let wanted = record.directory(me).unwrap_or_default();
    let elsewhere = partition.directory != wanted && shard.broker().directory(wanted).is_some();
    let member = record.isr.contains(&me) || record.elr.contains(&me) || record.last_known_elr.contains(&me);
    record.incarnation != partition.incarnation || (elsewhere && !wanted.is_zero() && !member)
}

async fn delete(shard: &ShardRef, tp: TopicPartition) {
    let Some(partition) = shard.partition(tp) else { return };
    let retired = &shard.links().retired_generation;
    retired.set(retired.get().max(partition.borrow().generation()));
    // Away on a pool: this is looked at again when it is back.
    let Some(log) = partition.borrow_mut().take_log() else {
        return;
    };
    shard.remove_partition(tp);
    discard(shard, log).await;
}

async fn discard(shard: &ShardRef, log: Log) {
    let (topic, partition) = (log.topic_name().to_owned(), log.topic_partition().partition);
    tracing::info!(topic, partition, "deleting a replica");
    match shard.cold_pool().run(move || log.delete()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(topic, partition, %error, "a replica was not deleted"),
        Err(error) => tracing::error!(topic, partition, %error, "a replica was not deleted"),
    }
}

async fn create(shard: &ShardRef, image: &Arc<Image>, tp: TopicPartition, topic: &TopicImage, record: &PartitionImage) {
    let wanted = record.directory(shard.links().node_id).unwrap_or_default();
    let Some(directory) = shard.broker().directory(wanted) else {
        offline::say_missing(shard, wanted);
        return;
    };
    let view = view_of(image, topic, record);
    let rules = rules_of(image, shard.broker().local(), topic, view.durability);
    let (name, incarnation, config) = (topic.name.clone(), record.incarnation, rules.log);
    let id = directory.id();
    let created = shard
        .cold_pool()
        .run(move || directory.create_log(&name, tp, incarnation, config))
        .await;
    let log = match created.unwrap_or_else(|error| Err(LogError::Io(error))) {
        Ok(log) => log,
        // The directory says so, once.
        Err(LogError::Offline) => return,
        Err(LogError::Full) => return offline::wait_for_room(shard, id),
        Err(error) => {
            tracing::error!(topic = topic.name, partition = tp.partition, %error, "a replica cannot be created");
            return;
        }
    };
    let replica = NewReplica {
        log,
        producers: ProducerStates::new(recovered::PRODUCER_EXPIRATION_MS),
        high_watermark: Offset::ZERO,
    };
    // ◆ Above every generation of an earlier life: an answer to that is not taken for one to this.
    let first = shard.broker_epoch().map(first_generation).unwrap_or_default();
    let generation = first.max(shard.links().retired_generation.get());
    let partition = Partition::new(shard.links().clone(), replica, view, rules, generation);
    shard.add_partition(PartitionCell::new(partition));
}
