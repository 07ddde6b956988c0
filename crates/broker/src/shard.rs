use crate::broker::Broker;
use crate::data::{AppendError, Appended};
use crate::links::{FlushResult, Links};
use crate::offline::Offline;
use crate::partition::{ListOffset, Partition, PollId, RoleChange};
use crate::partition_cell::{PartitionRef, Stirred};
use crate::replica_stream::{FollowOut, StreamOut};
use crate::shard_queue::{Call, Outbox};
use crate::stalls::Stalls;
use crate::tenants::Tenants;
use crate::{damage, errands, isr, reconcile, replica_stream};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use host::{Listener, Pool, PoolExt};
use logstore::LogError;
use metadata::Image;
use records::BatchHeader;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use types::{BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, Timings, TopicPartition};

/// The one timer of a shard, [`ShardRef::tick`].
const TICK: Duration = Duration::from_millis(500);
/// The first check of retention after a start comes no later (Kafka's initial delay).
const RETENTION_FIRST: Duration = Duration::from_secs(30);
/// An orderly stop waits so long for the last flushes.
const STOP_FLUSHES: Duration = Duration::from_secs(5);

/// A shard, on its own thread: everything in it is touched by that thread only.
pub(crate) struct Shard {
    broker: Broker,
    index: u16,
    links: Rc<Links>,
    partitions: RefCell<BTreeMap<TopicPartition, PartitionRef>>,
    stirred: Stirred,
    /// Replicas that were found at the start in more than one log directory, but for the one that is in its place.
    twins: RefCell<Vec<PartitionRef>>,
    outboxes: Vec<Rc<Outbox>>,
    image: RefCell<Arc<Image>>,
    registration: Cell<Option<BrokerEpoch>>,
    /// Streams of followers.
    streams: RefCell<Vec<Rc<StreamOut>>>,
    /// Streams to leaders, and which of them each partition is on.
    followed: RefCell<BTreeMap<(NodeId, u16), Rc<FollowOut>>>,
    following: RefCell<BTreeMap<TopicPartition, Rc<FollowOut>>>,
    refused: RefCell<BTreeSet<TopicPartition>>,
    stalls: Stalls,
    offline: Offline,
    pub(crate) look: Notify,
    tenants: Tenants,
    polls: Cell<u64>,
}

/// Handle to the shard that runs the caller. Not `Send`.
#[derive(Clone)]
pub struct ShardRef(Rc<Shard>);

impl ShardRef {
    pub(crate) fn new(broker: Broker, index: u16, links: Rc<Links>, queues: Vec<mpsc::Sender<Call>>) -> Self {
        let image = broker.image();
        let outboxes = queues.into_iter().map(Outbox::start).collect();
        let shard = Rc::new(Shard {
            broker,
            index,
            links,
            partitions: RefCell::default(),
            stirred: Stirred::default(),
            twins: RefCell::default(),
            outboxes,
            image: RefCell::new(image),
            registration: Cell::new(None),
            streams: RefCell::default(),
            followed: RefCell::default(),
            following: RefCell::default(),
            refused: RefCell::default(),
            stalls: Stalls::default(),
            offline: Offline::default(),
            look: Notify::new(),
            tenants: Tenants::default(),
            polls: Cell::new(0),
        });
        #[cfg(feature = "inspect")]
        crate::inspect::register(shard.links.node_id, &shard);
        Self(shard)
    }

    #[cfg(feature = "inspect")]
    pub(crate) fn of(shard: Rc<Shard>) -> Self {
        Self(shard)
    }

    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// What lives on this shard beside its partitions.
    pub(crate) fn tenants(&self) -> &Tenants {
        &self.0.tenants
    }

    /// Which of the node's shards this is.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.0.index
    }

    /// The image that this shard acts on. [`Broker::image`] may be newer.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.0.image.borrow().clone()
    }

    /// A number for a fetch that may wait.
    pub(crate) fn next_poll(&self) -> PollId {
        self.0.polls.set(self.0.polls.get() + 1);
        (self.0.index, self.0.polls.get())
    }

    pub(crate) fn stalls(&self) -> &Stalls {
        &self.0.stalls
    }

    pub(crate) fn offline(&self) -> &Offline {
        &self.0.offline
    }

    pub(crate) fn twins(&self) -> &RefCell<Vec<PartitionRef>> {
        &self.0.twins
    }

    pub(crate) fn shards(&self) -> u16 {
        self.0.broker.shards()
    }

    pub(crate) fn links(&self) -> &Rc<Links> {
        &self.0.links
    }

    pub(crate) fn timings(&self) -> &Timings {
        self.0.broker.timings()
    }

    /// Where replica streams are authenticated.
    pub(crate) fn gate(&self) -> &security::Gate {
        self.0.broker.gate()
    }

    pub(crate) fn cold_pool(&self) -> Arc<dyn Pool> {
        self.0.broker.cold_pool()
    }

    pub(crate) fn directories(&self) -> Vec<DirectoryId> {
        self.0.broker.directory_ids()
    }

    pub(crate) fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.0.registration.get()
    }

    pub(crate) fn set_state(&self, image: Arc<Image>, registration: Option<BrokerEpoch>) {
        self.0.image.replace(image);
        self.0.registration.set(registration);
    }

    /// Where something is to be done with it; the next tick looks at it.
    pub(crate) fn partition(&self, tp: TopicPartition) -> Option<PartitionRef> {
        let partition = self.0.partitions.borrow().get(&tp).cloned()?;
        self.stir(&partition);
        Some(partition)
    }

    /// The next tick looks at it.
    pub(crate) fn stir(&self, partition: &PartitionRef) {
        self.0.stirred.stir(partition);
    }

    pub(crate) fn partitions(&self) -> Vec<(TopicPartition, PartitionRef)> {
        self.0
            .partitions
            .borrow()
            .iter()
            .map(|(tp, partition)| (*tp, partition.clone()))
            .collect()
    }

    /// Partitions that time may change; all of them where checkpoints are due.
    pub(crate) fn due(&self, checkpoints: bool) -> Vec<(TopicPartition, PartitionRef)> {
        let mut stirred = self.0.stirred.take();
        if checkpoints {
            return self.partitions();
        }
        let partitions = self.0.partitions.borrow();
        stirred.retain(|(tp, partition)| partitions.get(tp).is_some_and(|here| Rc::ptr_eq(here, partition)));
        stirred
    }

    /// Shows each without a copy of the list.
    #[cfg(feature = "inspect")]
    pub(crate) fn show_each(&self, mut seen: impl FnMut(TopicPartition, &PartitionRef)) {
        for (tp, partition) in &*self.0.partitions.borrow() {
            seen(*tp, partition);
        }
    }

    /// How many are here.
    pub(crate) fn replicas(&self) -> usize {
        self.0.partitions.borrow().len()
    }

    /// Does something with a partition. A broken invariant stops that partition, not the shard.
    pub(crate) fn with<T>(&self, tp: TopicPartition, work: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        let partition = self.partition(tp)?;
        self.guarded(&partition, work)
    }

    pub(crate) fn guarded<T>(&self, partition: &PartitionRef, work: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        partition.touch();
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut partition.borrow_mut())));
        match worked {
            Ok(answer) => Some(answer),
            Err(_) => {
                let mut stopping = partition.borrow_mut();
                let tp = stopping.tp;
                tracing::error!(
                    topic = stopping.topic,
                    partition = tp.partition,
                    "an invariant of this replica broke: it stops"
                );
                let change = stopping.stop_broken();
                drop(stopping);
                self.change(tp, change);
                None
            }
        }
    }

    /// Answers the replica that was in its place.
    pub(crate) fn add_partition(&self, partition: PartitionRef) -> Option<PartitionRef> {
        let tp = partition.borrow().tp;
        self.0.partitions.borrow_mut().insert(tp, partition)
    }

    pub(crate) fn remove_partition(&self, tp: TopicPartition) -> Option<PartitionRef> {
        self.unfollow(tp);
        self.0.partitions.borrow_mut().remove(&tp)
    }

    pub(crate) fn add_stream(&self, stream: &Rc<StreamOut>) {
        self.0.streams.borrow_mut().push(stream.clone());
    }

    pub(crate) fn remove_stream(&self, stream: &Rc<StreamOut>) {
        self.0.streams.borrow_mut().retain(|other| !Rc::ptr_eq(other, stream));
    }

    /// Asks another shard to do something. Never waits.
    pub(crate) fn call(&self, shard: u16, call: Call) {
        if let Some(outbox) = self.0.outboxes.get(usize::from(shard)) {
            outbox.push(call);
        }
    }

    /// Runs `work` on the shard that owns `tp`; the slot for its answer is there before it crosses. `None` if that
    /// shard has ended.
    pub async fn on_owner<T: Send + 'static>(
        &self,
        shard: u16,
        work: impl FnOnce(ShardRef) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Option<T> {
        if shard == self.0.index {
            return Some(work(self.clone()).await);
        }
        let (reply, answer) = oneshot::channel();
        self.call(
            shard,
            Box::new(move |shard| {
                let answer = work(shard.clone());
                tokio::task::spawn_local(async move {
                    // The caller may be gone; the work is done all the same.
                    let _ = reply.send(answer.await);
                });
            }),
        );
        answer.await.ok()
    }

    /// Why this node does not serve `tp`, and who leads it.
    pub(crate) fn not_served(&self, tp: TopicPartition) -> AppendError {
        match self.0.image.borrow().partition(tp) {
            None => ErrorCode::UnknownTopicOrPartition.into(),
            Some(partition) => AppendError {
                code: ErrorCode::NotLeaderOrFollower,
                leader: partition.leader.map(|leader| (leader, partition.leader_epoch)),
            },
        }
    }

    /// Appends one checked client batch. Starts now: two calls in order append in order. Resolves when `acks` is
    /// satisfied (−1: committed; 1, 0: written here), for a duplicate with the place of the original; fails on leaving
    /// the leader epoch. Dropping the future takes nothing back. No time limit of its own.
    pub fn append(
        &self,
        tp: TopicPartition,
        batch: Bytes,
        header: BatchHeader,
        acks: i16,
    ) -> LocalBoxFuture<'static, Result<Appended, AppendError>> {
        let (reply, answer) = oneshot::channel();
        let owner = tp.shard(self.shards());
        let work = move |shard: &ShardRef| match shard.partition(tp) {
            Some(partition) => partition.borrow_mut().append(batch, header, acks, reply),
            None => {
                // Nobody listens any more if the connection is gone.
                let _ = reply.send(Err(shard.not_served(tp)));
            }
        };
        if owner == self.0.index {
            work(self);
        } else {
            self.call(owner, Box::new(work));
        }
        Box::pin(async move { answer.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower.into())) })
    }

    /// What a timestamp of ListOffsets means: offset, timestamp, leader epoch; offset −1 for none.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, OFFSET_NOT_AVAILABLE (KIP-207).
    pub async fn list_offset(
        &self,
        tp: TopicPartition,
        timestamp: i64,
        current_leader_epoch: LeaderEpoch,
        _read_committed: bool,
    ) -> Result<(Offset, i64, LeaderEpoch), AppendError> {
        let work = move |shard: ShardRef| -> LocalBoxFuture<'static, _> {
            Box::pin(async move {
                let partition = shard.partition(tp).ok_or_else(|| shard.not_served(tp))?;
                let listed = partition.borrow().list_offset(timestamp, current_leader_epoch)?;
                let (search, otherwise) = match listed {
                    ListOffset::Known(listed) => return Ok(listed),
                    ListOffset::Search { search, otherwise } => (search, otherwise),
                };
                match shard.cold_pool().run(move || search.run()).await {
                    Ok(Ok(found)) => found.map_or(otherwise, Ok),
                    Ok(Err(LogError::Rot(rot))) => {
                        partition.borrow_mut().suspect(&rot);
                        Err(ErrorCode::KafkaStorageError.into())
                    }
                    Ok(Err(error)) => Err(partition.borrow().log_failed(&error)),
                    Err(error) => Err(partition.borrow().log_failed(&error.into())),
                }
            })
        };
        self.on_owner(tp.shard(self.shards()), work)
            .await
            .unwrap_or(Err(ErrorCode::NotLeaderOrFollower.into()))
    }

    /// Deletes the records below `offset`, or below the high watermark if it is −1. Resolves when the log start of every
    /// live replica is at least that, with the low watermark: the least log start among them.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER, also on leaving the leader epoch; UNKNOWN_TOPIC_OR_PARTITION; POLICY_VIOLATION without
    /// `delete` in the topic's `cleanup.policy`; OFFSET_OUT_OF_RANGE below −1 or above the high watermark;
    /// KAFKA_STORAGE_ERROR; REQUEST_TIMED_OUT after `timeout`, and the leader's log start has moved all the same.
    pub async fn delete_records(
        &self,
        tp: TopicPartition,
        offset: Offset,
        timeout: Duration,
    ) -> Result<Offset, AppendError> {
        let work = move |shard: ShardRef| -> LocalBoxFuture<'static, _> {
            Box::pin(async move {
                let (reply, answer) = oneshot::channel();
                shard
                    .with(tp, |partition| partition.delete_records(offset, reply))
                    .ok_or_else(|| shard.not_served(tp))?;
                match tokio::time::timeout(timeout, answer).await {
                    Ok(answer) => answer.unwrap_or(Err(ErrorCode::NotLeaderOrFollower.into())),
                    Err(_) => Err(ErrorCode::RequestTimedOut.into()),
                }
            })
        };
        self.on_owner(tp.shard(self.shards()), work)
            .await
            .unwrap_or(Err(ErrorCode::NotLeaderOrFollower.into()))
    }

    /// The largest epoch not above `epoch` and its end (KIP-101, KIP-279); (−1, −1) if nothing is known of it.
    ///
    /// # Errors
    /// As [`Self::list_offset`].
    pub async fn epoch_end_offset(
        &self,
        tp: TopicPartition,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> Result<(LeaderEpoch, Offset), AppendError> {
        let work = move |shard: ShardRef| -> LocalBoxFuture<'static, _> {
            Box::pin(async move {
                let partition = shard.partition(tp).ok_or_else(|| shard.not_served(tp))?;
                partition.borrow().epoch_end_offset(current_leader_epoch, epoch)
            })
        };
        self.on_owner(tp.shard(self.shards()), work)
            .await
            .unwrap_or(Err(ErrorCode::NotLeaderOrFollower.into()))
    }

    /// The image or the state of a log changed: compare again.
    pub(crate) fn look_again(&self) {
        self.0.look.notify_one();
    }

    pub(crate) async fn looked(&self) {
        self.0.look.notified().await;
    }

    /// Carries out what a change of role asks for.
    pub(crate) fn change(&self, tp: TopicPartition, change: RoleChange) {
        match change {
            RoleChange::Nothing => {}
            RoleChange::Unfollow => self.unfollow(tp),
            RoleChange::Follow { leader } => self.follow(tp, leader),
        }
    }

    fn follow(&self, tp: TopicPartition, leader: NodeId) {
        let shards = self
            .0
            .image
            .borrow()
            .broker(leader)
            .map_or(1, |broker| broker.shards.max(1));
        let key = (leader, tp.shard(shards));
        let out = self
            .0
            .followed
            .borrow_mut()
            .entry(key)
            .or_insert_with(|| FollowOut::new(key.0, key.1))
            .clone();
        let before = self.0.following.borrow_mut().insert(tp, out.clone());
        if let Some(before) = before.filter(|before| !Rc::ptr_eq(before, &out)) {
            before.unfollow(tp);
        }
        out.follow(self, tp);
    }

    pub(crate) fn unfollow(&self, tp: TopicPartition) {
        if let Some(out) = self.0.following.borrow_mut().remove(&tp) {
            out.unfollow(tp);
        }
    }

    /// States the position of a partition again, if it is followed.
    pub(crate) fn state(&self, tp: TopicPartition) {
        if let Some(out) = self.0.following.borrow().get(&tp) {
            out.state(tp);
        }
    }

    /// Acknowledges what a partition has, if it is followed.
    pub(crate) fn acknowledge(&self, tp: TopicPartition) {
        if let Some(out) = self.0.following.borrow().get(&tp) {
            out.ack(tp);
        }
    }

    /// The leader refused a position: state it again with the next image, or at the next tick.
    pub(crate) fn restate_later(&self, tp: TopicPartition) {
        self.0.refused.borrow_mut().insert(tp);
    }

    pub(crate) fn restate_refused(&self) {
        for tp in std::mem::take(&mut *self.0.refused.borrow_mut()) {
            self.state(tp);
        }
    }

    /// The image is newer: positions that came before it are looked at again.
    pub(crate) fn image_changed(&self) {
        let streams = self.0.streams.borrow().clone();
        for stream in streams {
            stream.image_changed(self);
        }
        self.restate_refused();
        self.0.tenants.roles_changed();
    }

    fn flushed(&self, result: FlushResult) {
        let tp = result.tp;
        if result.outcome.is_err() {
            self.0.broker.check_storage();
        }
        let now = self.0.links.host.now();
        let restate = self.with(tp, |partition| {
            partition.flushed(result, now);
            partition.take_restate()
        });
        if let Some(out) = self.0.following.borrow().get(&tp) {
            out.ack(tp);
            if restate == Some(true) {
                out.state(tp);
            }
        }
    }

    /// Runs the shard until `stop`. True if every log is then whole, durable and closed.
    pub(crate) async fn run(
        self,
        mut queue: mpsc::Receiver<Call>,
        mut flushed: mpsc::UnboundedReceiver<FlushResult>,
        listener: Option<Box<dyn Listener>>,
        stop: oneshot::Receiver<()>,
    ) -> bool {
        let shard = self.clone();
        self.0.broker.connections().started(&self);
        let mut tasks = vec![tokio::task::spawn_local(reconcile::run(self.clone()))];
        tasks.push(tokio::task::spawn_local(isr::run(self.clone())));
        tasks.push(tokio::task::spawn_local(errands::run(self.clone())));
        tasks.push(tokio::task::spawn_local(damage::inspect(self.clone())));
        tasks.push(tokio::task::spawn_local(damage::scrub(self.clone())));
        tasks.push(tokio::task::spawn_local(async move {
            loop {
                shard.0.links.drain.notified().await;
                for tp in shard.0.links.take_dirty() {
                    let now = shard.0.links.host.now();
                    shard.with(tp, |partition| partition.drain(now));
                }
            }
        }));
        if let Some(listener) = listener {
            tasks.push(tokio::task::spawn_local(replica_stream::listen(self.clone(), listener)));
        }
        let interval = self.timings().retention_check;
        let first = tokio::time::Instant::now() + interval.min(RETENTION_FIRST);
        let mut retention = tokio::time::interval_at(first, interval);
        retention.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut ticks, mut stop) = (0u64, stop);
        loop {
            tokio::select! {
                Some(call) = queue.recv() => call(&self),
                Some(result) = flushed.recv() => self.flushed(result),
                _ = tick.tick() => {
                    ticks += 1;
                    self.tick(ticks);
                }
                _ = retention.tick() => self.enforce_retention(),
                _ = &mut stop => break,
            }
        }
        for task in tasks {
            task.abort();
        }
        self.stop(flushed).await
    }

    /// Orderly: nobody is led or followed, everything is flushed, then the logs are closed.
    async fn stop(&self, mut flushed: mpsc::UnboundedReceiver<FlushResult>) -> bool {
        for (tp, partition) in self.partitions() {
            let change = partition.borrow_mut().become_idle(ErrorCode::NotLeaderOrFollower);
            self.change(tp, change);
            partition.borrow_mut().flush();
        }
        self.0.tenants.roles_changed();
        let all_flushed = async {
            while !self
                .partitions()
                .iter()
                .all(|(_, partition)| partition.borrow().is_settled())
            {
                let Some(result) = flushed.recv().await else { return };
                let tp = result.tp;
                self.flushed(result);
                if let Some(partition) = self.partition(tp) {
                    partition.borrow_mut().flush();
                }
            }
        };
        if tokio::time::timeout(STOP_FLUSHES, all_flushed).await.is_err() {
            tracing::warn!(shard = self.0.index, "the shard ends before its last flush did");
        }
        let mut clean = true;
        for (_, partition) in self.partitions() {
            let mut partition = partition.borrow_mut();
            partition.checkpoint(0);
            clean &= partition.is_clean();
            if let Some(mut log) = partition.take_log()
                && let Err(error) = log.close()
            {
                clean = false;
                tracing::warn!(topic = partition.topic, partition = partition.tp.partition, %error, "a log was not closed cleanly");
            }
        }
        clean
    }
}
