use crate::group_metrics::{GroupMetrics, GroupStats};
use crate::group_partition::GroupPartition;
use broker::ShardRef;
use group::{Coordinator, GroupConfig, ListedGroup, Memory};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use types::{ErrorCode, TopicId, TopicPartition, limits};

/// Where groups are written down.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The coordinators of one shard.
pub struct Coordinators {
    config: GroupConfig,
    memory: Memory,
    stats: Arc<GroupStats>,
    groups: RefCell<BTreeMap<TopicPartition, Rc<GroupPartition>>>,
    /// Topics as they were when this last looked.
    topics: RefCell<BTreeMap<String, TopicId>>,
}

impl Coordinators {
    /// Begins to coordinate on a shard that starts.
    pub fn start(shard: &ShardRef, config: GroupConfig, metrics: &GroupMetrics) {
        let coordinators = shard.keep(|| {
            Rc::new(Self {
                config,
                memory: Memory::new(limits::COORDINATOR_BYTES_MAX),
                stats: metrics.shard(),
                groups: RefCell::default(),
                topics: RefCell::default(),
            })
        });
        tokio::task::spawn_local(follow_leadership(shard.clone(), Rc::downgrade(&coordinators)));
    }

    /// The coordinator of a partition.
    ///
    /// # Errors
    /// NOT_COORDINATOR. One that is not ready yet says so itself.
    pub(crate) fn find(&self, tp: TopicPartition) -> Result<Rc<GroupPartition>, ErrorCode> {
        let found = self.groups.borrow().get(&tp).cloned();
        found.ok_or(ErrorCode::NotCoordinator)
    }

    /// Every group of this shard.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS while one of its partitions is being read.
    pub(crate) fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let partitions: Vec<_> = self.groups.borrow().values().cloned().collect();
        let mut listed = Vec::new();
        for partition in partitions {
            match partition.with(|coordinator, _| coordinator.list()) {
                Ok(groups) => listed.extend(groups),
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// Compares with the newest image: each partition that this shard leads has a coordinator of its leader epoch.
    fn look(&self, shard: &ShardRef) {
        let image = shard.image();
        let mut wanted = BTreeMap::new();
        if let Some(topic) = image.topic(OFFSETS_TOPIC) {
            for partition in (0i32..).take(topic.partitions.len()) {
                let topic = topic.id;
                let tp = TopicPartition { topic, partition };
                if let Some(leadership) = shard.leadership(tp) {
                    wanted.insert(tp, leadership);
                }
            }
        }
        let current = |tp: &TopicPartition, one: &GroupPartition| {
            wanted.get(tp).is_some_and(|leadership| leadership.epoch == one.epoch()) && !one.has_ended()
        };
        let mut groups = self.groups.borrow_mut();
        let over: Vec<_> = groups.extract_if(.., |tp, one| !current(tp, one)).collect();
        for (_, one) in over {
            one.end();
        }
        for (tp, leadership) in wanted {
            groups.entry(tp).or_insert_with(|| {
                let coordinator = Coordinator::new(self.config, self.memory.clone());
                GroupPartition::start(shard, tp, leadership, coordinator, self.stats.clone())
            });
        }
        drop(groups);
        self.forget_deleted_topics(shard);
    }

    fn forget_deleted_topics(&self, shard: &ShardRef) {
        let image = shard.image();
        if *self.topics.borrow() == image.names {
            return;
        }
        let before = self.topics.replace(image.names.clone());
        let now = self.topics.borrow();
        let deleted = before.iter().filter(|(name, id)| now.get(*name) != Some(*id));
        for (name, _) in deleted {
            let partitions: Vec<_> = self.groups.borrow().values().cloned().collect();
            for partition in partitions {
                // One that is still being read leaves them to their retention.
                let _ = partition.with(|coordinator, now| coordinator.topic_deleted(name, now));
            }
        }
    }
}

async fn follow_leadership(shard: ShardRef, coordinators: Weak<Coordinators>) {
    let mut roles = shard.roles();
    loop {
        roles.borrow_and_update();
        let Some(coordinators) = coordinators.upgrade() else {
            return;
        };
        coordinators.look(&shard);
        drop(coordinators);
        if roles.changed().await.is_err() {
            return;
        }
    }
}
