use crate::coordinators::OFFSETS_TOPIC;
use crate::group_metrics::GroupStats;
use crate::load::{self, LoadError};
use broker::{AppendError, Appended, Leadership, ShardRef};
use futures::future::LocalBoxFuture;
use group::{Answer, AppendId, Coordinator, Effect, Now, Record, Ticket};
use metadata::topic_config;
use records::{BatchBuilder, BatchHeader, Compression};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use types::{ErrorCode, LeaderEpoch, TopicPartition, limits};

/// An append that is under way.
struct Append {
    id: AppendId,
    /// Offsets that it commits.
    offsets: u64,
    outcome: LocalBoxFuture<'static, Result<Appended, AppendError>>,
}

/// The coordinator of one partition of `__consumer_offsets`, in one leader epoch: the state machine, what it waits for, and
/// the task that drives it.
pub(crate) struct GroupPartition {
    shard: ShardRef,
    tp: TopicPartition,
    leadership: Leadership,
    state: RefCell<State>,
    waiting: RefCell<BTreeMap<Ticket, oneshot::Sender<Answer>>>,
    tickets: Cell<u64>,
    appends: RefCell<VecDeque<Append>>,
    /// Something is to be done that the task does not know of.
    changed: Notify,
    stats: Arc<GroupStats>,
    /// Groups and generations, as they were counted last.
    counted: Cell<(u64, u64)>,
}

enum State {
    Loading,
    Active(Box<Coordinator>),
    Ended,
}

impl GroupPartition {
    /// Reads the log and then coordinates, until [`GroupPartition::end`], or until it is not known what the log holds.
    pub(crate) fn start(
        shard: &ShardRef,
        tp: TopicPartition,
        leadership: Leadership,
        coordinator: Coordinator,
        stats: Arc<GroupStats>,
    ) -> Rc<Self> {
        let partition = Rc::new(Self {
            shard: shard.clone(),
            tp,
            leadership,
            state: RefCell::new(State::Loading),
            waiting: RefCell::default(),
            tickets: Cell::new(0),
            appends: RefCell::default(),
            changed: Notify::new(),
            stats,
            counted: Cell::default(),
        });
        tokio::task::spawn_local(partition.clone().run(coordinator));
        partition
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.leadership.epoch
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Ended)
    }

    fn now(&self) -> Now {
        let host = self.shard.broker().host();
        Now {
            at: host.now(),
            wall_ms: host.wall_ms(),
        }
    }

    /// Does something with the state machine, and what comes of it.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR.
    pub(crate) fn with<T>(&self, event: impl FnOnce(&mut Coordinator, Now) -> T) -> Result<T, ErrorCode> {
        let now = self.now();
        let (answer, effects) = match &mut *self.state.borrow_mut() {
            State::Loading => return Err(ErrorCode::CoordinatorLoadInProgress),
            State::Ended => return Err(ErrorCode::NotCoordinator),
            State::Active(coordinator) => {
                let answer = event(coordinator, now);
                self.count(coordinator);
                (answer, coordinator.effects())
            }
        };
        self.carry_out(effects);
        Ok(answer)
    }

    /// [`GroupPartition::with`] for what must not be older than what another coordinator has acknowledged. ◆ One that was cut
    /// off from all others does not know that it is none any more; clients reach it still.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR; the latter also while no follower has said that it still leads.
    pub(crate) fn with_newest<T>(&self, event: impl FnOnce(&mut Coordinator, Now) -> T) -> Result<T, ErrorCode> {
        if matches!(*self.state.borrow(), State::Active(_)) && !self.shard.leads_surely(self.tp) {
            return Err(ErrorCode::NotCoordinator);
        }
        self.with(event)
    }

    /// [`GroupPartition::with`] for what is answered later.
    ///
    /// # Errors
    /// As it; NOT_COORDINATOR also when the shard ends meanwhile.
    pub(crate) fn ask(
        &self,
        event: impl FnOnce(&mut Coordinator, Ticket, Now),
    ) -> LocalBoxFuture<'static, Result<Answer, ErrorCode>> {
        let ticket = Ticket(self.tickets.get() + 1);
        self.tickets.set(ticket.0);
        let (reply, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(ticket, reply);
        match self.with(|coordinator, now| event(coordinator, ticket, now)) {
            Ok(()) => Box::pin(async move { answer.await.map_err(|_| ErrorCode::NotCoordinator) }),
            Err(error) => {
                self.waiting.borrow_mut().remove(&ticket);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }

    fn count(&self, coordinator: &Coordinator) {
        let now = (coordinator.group_count() as u64, coordinator.generations());
        let before = self.counted.replace(now);
        let groups = (self.stats.groups.get() + now.0).saturating_sub(before.0);
        self.stats.groups.set(groups);
        self.stats.generations.add(now.1.saturating_sub(before.1));
        self.stats.memory_bytes.set(coordinator.memory_used() as u64);
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => {
                    if let Some(reply) = self.waiting.borrow_mut().remove(&ticket) {
                        // Whoever asked may be gone.
                        let _ = reply.send(answer);
                    }
                }
                Effect::Append(id, records) => {
                    let commits = |record: &&Record| matches!(record, Record::Offset { value: Some(_), .. });
                    let append = Append {
                        id,
                        offsets: records.iter().filter(commits).count() as u64,
                        outcome: self.append(&records),
                    };
                    self.appends.borrow_mut().push_back(append);
                }
            }
        }
        self.changed.notify_one();
    }

    /// Starts an append; two in order append in order.
    fn append(&self, records: &[Record]) -> LocalBoxFuture<'static, Result<Appended, AppendError>> {
        let mut batch = BatchBuilder::new(Compression::None);
        let now_ms = self.now().wall_ms;
        for record in records {
            let (key, value) = record.encode();
            batch.push(now_ms, Some(&key), value.as_deref(), &[]);
        }
        let batch = batch.build();
        let header = match BatchHeader::parse(&batch) {
            Ok(header) if batch.len() <= self.max_message_bytes() => header,
            _ => return Box::pin(std::future::ready(Err(ErrorCode::MessageTooLarge.into()))),
        };
        self.shard.append(self.tp, batch, header, -1)
    }

    fn max_message_bytes(&self) -> usize {
        let image = self.shard.image();
        let topic = image.topic_by_id(self.tp.topic).map(|topic| &**topic);
        let set = topic_config::effective(&image, topic, "max.message.bytes");
        set.and_then(|bytes| bytes.parse().ok())
            .unwrap_or(limits::MESSAGE_BYTES_MAX)
    }

    /// Another leads, or the topic is gone.
    pub(crate) fn end(&self) {
        let was = std::mem::replace(&mut *self.state.borrow_mut(), State::Ended);
        if let State::Active(mut coordinator) = was {
            coordinator.resign();
            self.count(&coordinator);
            self.carry_out(coordinator.effects());
        }
        self.appends.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
        self.changed.notify_one();
    }

    async fn run(self: Rc<Self>, coordinator: Coordinator) {
        if self.load(coordinator).await {
            while !self.has_ended() {
                self.step().await;
            }
        }
    }

    /// Reads the log; `false` if this has ended meanwhile.
    async fn load(&self, mut coordinator: Coordinator) -> bool {
        let (partition, started) = (self.tp.partition, self.now());
        let _loading = Loading::new(&self.stats);
        let loaded = tokio::select! {
            loaded = load::read(&self.shard, self.tp, self.leadership, |record| coordinator.replay(record, self.now())) => loaded,
            () = self.ended() => return false,
        };
        match loaded {
            Ok(records) => {
                coordinator.loaded(self.now());
                let effects = coordinator.effects();
                tracing::info!(topic = OFFSETS_TOPIC, partition, leader_epoch = %self.epoch(), records, groups = coordinator.list().len(),
                    ms = self.now().at.since(started.at).as_millis(), "coordinating groups");
                self.state.replace(State::Active(Box::new(coordinator)));
                self.carry_out(effects);
                true
            }
            Err(LoadError::NotLeader) => {
                self.end();
                false
            }
        }
    }

    async fn ended(&self) {
        while !self.has_ended() {
            self.changed.notified().await;
        }
    }

    /// Waits for the next thing that happens, and lets the state machine know.
    async fn step(&self) {
        let deadline = match &*self.state.borrow() {
            State::Active(coordinator) => coordinator.next_deadline(),
            State::Loading | State::Ended => None,
        };
        let now = self.now().at;
        let first = self.appends.borrow_mut().pop_front();
        let Some(mut append) = first else {
            return self.step_without_append(deadline.map(|at| at.since(now))).await;
        };
        tokio::select! {
            biased;
            outcome = &mut append.outcome => self.appended(append.id, append.offsets, outcome),
            () = sleep(deadline.map(|at| at.since(now))) => {
                self.appends.borrow_mut().push_front(append);
                // It ended meanwhile, or time has passed for something.
                let _ = self.with(|coordinator, now| coordinator.tick(now));
            }
            () = self.changed.notified() => self.appends.borrow_mut().push_front(append),
        }
    }

    async fn step_without_append(&self, delay: Option<std::time::Duration>) {
        tokio::select! {
            () = sleep(delay) => {
                let _ = self.with(|coordinator, now| coordinator.tick(now));
            }
            () = self.changed.notified() => {}
        }
    }

    fn appended(&self, id: AppendId, offsets: u64, outcome: Result<Appended, AppendError>) {
        let outcome = match outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(error.code),
        };
        let leads = self
            .shard
            .leadership(self.tp)
            .is_some_and(|now| now.epoch == self.epoch());
        match outcome {
            Err(error) if !leads || !certainly_not_in_the_log(error) => {
                tracing::warn!(topic = OFFSETS_TOPIC, partition = self.tp.partition, %error,
                    "it is not known what became of a commit: the log is read again, and members look for their coordinator anew");
                self.end();
                self.shard.look_at_roles();
            }
            outcome => {
                if outcome.is_ok() {
                    self.stats.committed_offsets.add(offsets);
                }
                // An error: it has ended, and nobody waits any more.
                let _ = self.with(|coordinator, now| coordinator.appended(id, outcome, now));
            }
        }
    }
}

/// Counts a partition that is being read.
struct Loading<'a>(&'a GroupStats);

impl<'a> Loading<'a> {
    fn new(stats: &'a GroupStats) -> Self {
        stats.loading.set(stats.loading.get() + 1);
        Self(stats)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.loading.set(self.0.loading.get().saturating_sub(1));
        self.0.loads.add(1);
    }
}

/// Errors of an append that was refused before it was written.
fn certainly_not_in_the_log(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotEnoughReplicas | ErrorCode::MessageTooLarge | ErrorCode::KafkaStorageError
    )
}

async fn sleep(delay: Option<std::time::Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep(delay).await,
        None => std::future::pending().await,
    }
}
