//! A shard for tests of handlers: a data and a control plane that answer what the test says and write down what
//! they were asked.

use crate::control::{Control, CreatedTopic, DeletedTopic, NewTopic, Outcomes, TopicRef};
use crate::data::{Appended, Data, DataError, FetchPlan, FetchedPartition};
use crate::memory_budget::Fetched;
use crate::scripted_groups::ScriptedGroups;
use crate::{ApiSettings, MemoryBudget, Services};
use broker::LogDirDescription;
use bytes::Bytes;
use controller::ClusterStatus;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use group::{Joined, Synced};
use host::RealHost;
use metadata::Image;
use metadata::plan::{
    AlterConfigs, AlterReassignments, CreatePartitions, ElectLeaders, PartitionOutcomes, PlanError, ReassignedPartition,
};
use records::BatchHeader;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

pub(crate) struct ScriptedData {
    /// What every append comes to; `None`: it never resolves.
    pub(crate) append: Cell<Option<Result<Appended, DataError>>>,
    pub(crate) appended: RefCell<Vec<(TopicPartition, Bytes, BatchHeader, i16)>>,
    /// Records of every fetched partition, if it is read without error, and the error.
    pub(crate) records: RefCell<Bytes>,
    pub(crate) fetch_error: Cell<ErrorCode>,
    pub(crate) leader: Cell<Option<(NodeId, LeaderEpoch)>>,
    pub(crate) plans: RefCell<Vec<FetchPlan>>,
    /// Fetches wait for ever.
    pub(crate) stall_fetches: Cell<bool>,
    pub(crate) list_offset: Cell<Result<(Offset, i64, LeaderEpoch), DataError>>,
    /// What every deletion of records comes to.
    pub(crate) low_watermark: Cell<Result<Offset, DataError>>,
    pub(crate) trims: RefCell<Vec<(TopicPartition, Offset, Duration)>>,
    pub(crate) log_dirs: RefCell<Vec<LogDirDescription>>,
    pub(crate) epoch_end: Cell<Result<(LeaderEpoch, Offset), DataError>>,
}

impl Default for ScriptedData {
    fn default() -> Self {
        let appended = Appended {
            base_offset: Offset(40),
            log_append_time: -1,
            log_start: Offset(2),
        };
        Self {
            append: Cell::new(Some(Ok(appended))),
            appended: RefCell::default(),
            records: RefCell::default(),
            fetch_error: Cell::new(ErrorCode::None),
            leader: Cell::new(None),
            plans: RefCell::default(),
            stall_fetches: Cell::new(false),
            list_offset: Cell::new(Ok((Offset(7), 1_000, LeaderEpoch(4)))),
            low_watermark: Cell::new(Ok(Offset(5))),
            trims: RefCell::default(),
            log_dirs: RefCell::default(),
            epoch_end: Cell::new(Ok((LeaderEpoch(3), Offset(30)))),
        }
    }
}

impl Data for ScriptedData {
    fn append(
        &self,
        tp: TopicPartition,
        batch: Bytes,
        header: BatchHeader,
        acks: i16,
    ) -> LocalBoxFuture<'static, Result<Appended, DataError>> {
        self.appended.borrow_mut().push((tp, batch, header, acks));
        match self.append.get() {
            Some(outcome) => std::future::ready(outcome).boxed_local(),
            None => std::future::pending().boxed_local(),
        }
    }

    fn fetch(&self, plan: FetchPlan, memory: Fetched) -> LocalBoxFuture<'static, (Vec<FetchedPartition>, Fetched)> {
        let mut memory = memory;
        let max_bytes = memory.reserve(plan.max_bytes);
        let error = self.fetch_error.get();
        let answer = |tp| FetchedPartition {
            tp,
            error,
            high_watermark: Offset(9),
            last_stable_offset: Offset(9),
            log_start: Offset(0),
            diverging: None,
            records: if error.is_none() {
                self.records.borrow().clone()
            } else {
                Bytes::new()
            },
            current_leader: self.leader.get(),
        };
        let mut left = max_bytes;
        let mut fetched: Vec<_> = plan.partitions.iter().map(|p| answer(p.tp)).collect();
        for (index, answer) in fetched.iter_mut().enumerate() {
            if index > 0 && answer.records.len() > left {
                answer.records = Bytes::new();
            }
            left = left.saturating_sub(answer.records.len());
        }
        memory.keep(fetched.iter().map(|f| f.records.len()).sum());
        self.plans.borrow_mut().push(plan);
        if self.stall_fetches.get() {
            return std::future::pending().boxed_local();
        }
        std::future::ready((fetched, memory)).boxed_local()
    }

    fn list_offset(
        &self,
        _: TopicPartition,
        _: i64,
        _: LeaderEpoch,
        _: bool,
    ) -> LocalBoxFuture<'static, Result<(Offset, i64, LeaderEpoch), DataError>> {
        std::future::ready(self.list_offset.get()).boxed_local()
    }

    fn delete_records(
        &self,
        tp: TopicPartition,
        offset: Offset,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Offset, DataError>> {
        self.trims.borrow_mut().push((tp, offset, timeout));
        std::future::ready(self.low_watermark.get()).boxed_local()
    }

    fn describe_log_dirs(&self) -> LocalBoxFuture<'static, Vec<LogDirDescription>> {
        std::future::ready(self.log_dirs.borrow().clone()).boxed_local()
    }

    fn epoch_end_offset(
        &self,
        _: TopicPartition,
        _: LeaderEpoch,
        _: LeaderEpoch,
    ) -> LocalBoxFuture<'static, Result<(LeaderEpoch, Offset), DataError>> {
        std::future::ready(self.epoch_end.get()).boxed_local()
    }
}

pub(crate) struct ScriptedControl {
    image: RefCell<Arc<Image>>,
    /// What follows it, once somebody waits for it.
    pub(crate) next_image: RefCell<Option<Arc<Image>>>,
    /// Answers by topic, in order of what is asked; one that is not there is created or deleted without error.
    pub(crate) created: RefCell<VecDeque<CreatedTopic>>,
    pub(crate) deleted: RefCell<VecDeque<DeletedTopic>>,
    /// The whole call fails with it.
    pub(crate) error: Cell<Option<ErrorCode>>,
    pub(crate) blocks: RefCell<VecDeque<Result<(i64, i32), ErrorCode>>>,
    pub(crate) creations: RefCell<Vec<(Vec<NewTopic>, bool)>>,
    pub(crate) deletions: RefCell<Vec<Vec<TopicRef>>>,
    /// Answers to altered resources and grown topics, in order of what is asked; without one all is well.
    pub(crate) outcomes: RefCell<VecDeque<Result<(), PlanError>>>,
    pub(crate) growths: RefCell<Vec<CreatePartitions>>,
    pub(crate) alterations: RefCell<Vec<AlterConfigs>>,
    /// What the controller is made to see.
    pub(crate) status: RefCell<ClusterStatus>,
    pub(crate) elections: RefCell<Vec<ElectLeaders>>,
    pub(crate) reassignments: RefCell<Vec<AlterReassignments>>,
    /// How long each change may take.
    pub(crate) timeouts: RefCell<Vec<Duration>>,
}

impl ScriptedControl {
    /// The script's outcomes for each partition that was named.
    fn partition_outcomes(&self, topics: &[(String, Vec<i32>)]) -> Result<PartitionOutcomes, ErrorCode> {
        let mut script = self.outcomes.borrow_mut();
        let mut outcome = |number: &i32| (*number, script.pop_front().unwrap_or(Ok(())));
        let mut topic =
            |(name, numbers): &(String, Vec<i32>)| (name.clone(), numbers.iter().map(&mut outcome).collect());
        let outcomes = topics.iter().map(&mut topic).collect();
        self.error.get().map_or(Ok(outcomes), Err)
    }

    fn outcomes(&self, asked: usize) -> LocalBoxFuture<'static, Outcomes> {
        let mut script = self.outcomes.borrow_mut();
        let outcomes = (0..asked).map(|_| script.pop_front().unwrap_or(Ok(()))).collect();
        std::future::ready(self.error.get().map_or(Ok(outcomes), Err)).boxed_local()
    }
}

impl Control for ScriptedControl {
    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    fn image_changed(&self) -> LocalBoxFuture<'static, ()> {
        match self.next_image.take() {
            Some(next) => {
                self.image.replace(next);
                std::future::ready(()).boxed_local()
            }
            None => std::future::pending().boxed_local(),
        }
    }

    fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<CreatedTopic>, ErrorCode>> {
        self.timeouts.borrow_mut().push(timeout);
        let mut created = self.created.borrow_mut();
        let answer = |topic: &NewTopic| {
            created.pop_front().unwrap_or(CreatedTopic {
                id: crate::test_image::topic_id(77),
                error: ErrorCode::None,
                message: None,
                partitions: topic.partitions.max(1),
                replication_factor: topic.replication_factor.max(3),
            })
        };
        let answers = topics.iter().map(answer).collect();
        self.creations.borrow_mut().push((topics, validate_only));
        std::future::ready(self.error.get().map_or(Ok(answers), Err)).boxed_local()
    }

    fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<DeletedTopic>, ErrorCode>> {
        self.timeouts.borrow_mut().push(timeout);
        let mut deleted = self.deleted.borrow_mut();
        let image = self.image();
        let answer = |topic: &TopicRef| {
            let known = match topic {
                TopicRef::Name(name) => image.topic(name),
                TopicRef::Id(id) => image.topic_by_id(*id),
            };
            deleted.pop_front().unwrap_or(DeletedTopic {
                name: known.map(|topic| topic.name.clone()),
                id: known.map(|topic| topic.id).unwrap_or_default(),
                error: match (known, topic) {
                    (Some(_), _) => ErrorCode::None,
                    (None, TopicRef::Name(_)) => ErrorCode::UnknownTopicOrPartition,
                    (None, TopicRef::Id(_)) => ErrorCode::UnknownTopicId,
                },
            })
        };
        let answers = topics.iter().map(answer).collect();
        self.deletions.borrow_mut().push(topics);
        std::future::ready(self.error.get().map_or(Ok(answers), Err)).boxed_local()
    }

    fn create_partitions(&self, command: CreatePartitions, timeout: Duration) -> LocalBoxFuture<'static, Outcomes> {
        self.timeouts.borrow_mut().push(timeout);
        let asked = command.topics.len();
        self.growths.borrow_mut().push(command);
        self.outcomes(asked)
    }

    fn elect_leaders(
        &self,
        command: ElectLeaders,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        self.timeouts.borrow_mut().push(timeout);
        let outcomes = self.partition_outcomes(command.topics.as_deref().unwrap_or_default());
        self.elections.borrow_mut().push(command);
        std::future::ready(outcomes).boxed_local()
    }

    fn alter_reassignments(
        &self,
        command: AlterReassignments,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        self.timeouts.borrow_mut().push(timeout);
        let numbers = |of: &[ReassignedPartition]| of.iter().map(|asked| asked.partition).collect();
        let topics = command.topics.iter().map(|(name, of)| (name.clone(), numbers(of)));
        let outcomes = self.partition_outcomes(&topics.collect::<Vec<_>>());
        self.reassignments.borrow_mut().push(command);
        std::future::ready(outcomes).boxed_local()
    }

    fn alter_configs(&self, command: AlterConfigs) -> LocalBoxFuture<'static, Outcomes> {
        let asked = command.resources.len();
        self.alterations.borrow_mut().push(command);
        self.outcomes(asked)
    }

    fn cluster_status(&self) -> LocalBoxFuture<'static, ClusterStatus> {
        std::future::ready(self.status.borrow().clone()).boxed_local()
    }

    fn unregister_broker(&self, node: NodeId) -> LocalBoxFuture<'static, Result<(), ErrorCode>> {
        let known = self.image().brokers.contains_key(&node);
        std::future::ready(if known {
            Ok(())
        } else {
            Err(ErrorCode::BrokerIdNotRegistered)
        })
        .boxed_local()
    }

    fn allocate_producer_ids(&self) -> LocalBoxFuture<'static, Result<(i64, i32), ErrorCode>> {
        let block = self.blocks.borrow_mut().pop_front();
        std::future::ready(block.unwrap_or(Err(ErrorCode::RequestTimedOut))).boxed_local()
    }
}

/// Node 1 with its scripts.
pub(crate) struct TestNode {
    pub(crate) services: Rc<Services>,
    pub(crate) data: Rc<ScriptedData>,
    pub(crate) control: Rc<ScriptedControl>,
    pub(crate) groups: Rc<ScriptedGroups>,
}

impl TestNode {
    pub(crate) fn new(image: Image) -> Self {
        Self::with(image, ApiSettings::default(), MemoryBudget::default())
    }

    pub(crate) fn with(image: Image, settings: ApiSettings, budget: MemoryBudget) -> Self {
        let data = Rc::new(ScriptedData::default());
        let control = Rc::new(ScriptedControl {
            image: RefCell::new(Arc::new(image)),
            next_image: RefCell::default(),
            created: RefCell::default(),
            deleted: RefCell::default(),
            error: Cell::new(None),
            blocks: RefCell::default(),
            creations: RefCell::default(),
            deletions: RefCell::default(),
            outcomes: RefCell::default(),
            growths: RefCell::default(),
            alterations: RefCell::default(),
            status: RefCell::default(),
            elections: RefCell::default(),
            reassignments: RefCell::default(),
            timeouts: RefCell::default(),
        });
        let groups = Rc::new(ScriptedGroups {
            joined: RefCell::new(Some(Joined::failed(ErrorCode::None, "m1"))),
            synced: RefCell::new(Some(Synced::failed(ErrorCode::None))),
            ..ScriptedGroups::default()
        });
        let services = Services::new(
            NodeId(1),
            Arc::new(RealHost::new()),
            Arc::new(settings),
            Arc::new(budget),
            Rc::clone(&data) as _,
            Rc::clone(&control) as _,
            Rc::clone(&groups) as _,
        );
        Self {
            services,
            data,
            control,
            groups,
        }
    }
}

/// Runs a handler on a runtime whose clock jumps to the next timer when nothing else is to do.
pub(crate) fn run<T>(handler: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, handler)
}
