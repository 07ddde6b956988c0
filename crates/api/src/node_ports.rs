//! The handlers' two ports on a real node: [`Data`] on the shard that serves the connection, [`Control`] on the node's
//! control plane.

use crate::control::{Control, CreatedTopic, DeletedTopic, NewTopic, Outcomes, TopicRef};
use crate::data::{Appended, Data, DataError, FetchPlan, FetchedPartition};
use crate::memory_budget::Fetched;
use crate::{Api, Services};
use broker::{AppendError, Broker, ConnectionFactory, LogDirDescription, ShardRef};
use bytes::Bytes;
use controller::{ClusterStatus, ControlHandle};
use coordinator::{Coordinators, GroupMetrics, Groups};
use futures::future::LocalBoxFuture;
use group::GroupConfig;
use host::Incoming;
use metadata::Image;
use metadata::plan::{AlterConfigs, AlterReassignments, CreatePartitions, ElectLeaders, PartitionOutcomes};
use records::BatchHeader;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};

/// Serves Kafka clients on a node's shards.
pub struct KafkaConnections {
    pub api: Arc<Api>,
    pub control: ControlHandle,
    pub groups: GroupConfig,
    pub group_metrics: Arc<GroupMetrics>,
}

impl ConnectionFactory for KafkaConnections {
    fn serve(&self, broker: Broker, shard: ShardRef, incoming: Box<dyn Incoming>) -> LocalBoxFuture<'static, ()> {
        let api = self.api.clone();
        // Fetch sessions belong to the shard: one set of services each.
        let services = shard.keep(|| {
            let services = Services::new(
                broker.node_id(),
                broker.host().clone(),
                api.settings.clone(),
                api.budget.clone(),
                Rc::new(ShardData(shard.clone())),
                Rc::new(NodeControl(self.control.clone())),
                Rc::new(Groups::new(shard.clone())),
            );
            api.count(services.stats.clone());
            tokio::task::spawn_local(look_for_silence(Rc::downgrade(&services), self.control.image()));
            services
        });
        Box::pin(async move { api.serve(services, incoming).await })
    }

    fn started(&self, shard: &ShardRef) {
        Coordinators::start(shard, self.groups, &self.group_metrics);
    }
}

async fn look_for_silence(services: Weak<Services>, mut image: watch::Receiver<Arc<Image>>) {
    loop {
        let newest = image.borrow_and_update().clone();
        let Some(services) = services.upgrade() else { return };
        services
            .silence
            .look(&newest, services.node_id, tokio::time::Instant::now());
        drop(services);
        if image.changed().await.is_err() {
            return;
        }
    }
}

struct ShardData(ShardRef);

impl broker::FetchMemory for Fetched {
    fn reserve(&mut self, wanted: usize) -> usize {
        Fetched::reserve(self, wanted)
    }

    fn keep(&mut self, bytes: usize) {
        Fetched::keep(self, bytes);
    }
}

fn data_error(error: AppendError) -> DataError {
    DataError {
        code: error.code,
        leader: error.leader,
    }
}

impl Data for ShardData {
    fn append(
        &self,
        tp: TopicPartition,
        batch: Bytes,
        header: BatchHeader,
        acks: i16,
    ) -> LocalBoxFuture<'static, Result<Appended, DataError>> {
        let appended = self.0.append(tp, batch, header, acks);
        Box::pin(async move {
            let appended = appended.await.map_err(data_error)?;
            Ok(Appended {
                base_offset: appended.base_offset,
                log_append_time: appended.log_append_time,
                log_start: appended.log_start,
            })
        })
    }

    fn fetch(&self, plan: FetchPlan, memory: Fetched) -> LocalBoxFuture<'static, (Vec<FetchedPartition>, Fetched)> {
        let shard = self.0.clone();
        let partition = |wanted: crate::data::FetchPartition| broker::FetchPartition {
            tp: wanted.tp,
            fetch_offset: wanted.fetch_offset,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.last_fetched_epoch,
            max_bytes: wanted.max_bytes,
        };
        let plan = broker::FetchPlan {
            partitions: plan.partitions.into_iter().map(partition).collect(),
            max_bytes: plan.max_bytes,
            min_bytes: plan.min_bytes,
            max_wait: plan.max_wait,
            read_committed: plan.read_committed,
            from_follower: false,
        };
        let fetched = |found: broker::FetchedPartition| FetchedPartition {
            tp: found.tp,
            error: found.error,
            high_watermark: found.high_watermark,
            last_stable_offset: found.last_stable_offset,
            log_start: found.log_start,
            diverging: found.diverging,
            records: found.records,
            current_leader: found.current_leader,
        };
        Box::pin(async move {
            let mut memory = memory;
            let found = shard.fetch_within(plan, &mut memory).await;
            (found.into_iter().map(fetched).collect(), memory)
        })
    }

    fn list_offset(
        &self,
        tp: TopicPartition,
        timestamp: i64,
        current_leader_epoch: LeaderEpoch,
        read_committed: bool,
    ) -> LocalBoxFuture<'static, Result<(Offset, i64, LeaderEpoch), DataError>> {
        let shard = self.0.clone();
        Box::pin(async move {
            shard
                .list_offset(tp, timestamp, current_leader_epoch, read_committed)
                .await
                .map_err(data_error)
        })
    }

    fn delete_records(
        &self,
        tp: TopicPartition,
        offset: Offset,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Offset, DataError>> {
        let shard = self.0.clone();
        Box::pin(async move { shard.delete_records(tp, offset, timeout).await.map_err(data_error) })
    }

    fn describe_log_dirs(&self) -> LocalBoxFuture<'static, Vec<LogDirDescription>> {
        let shard = self.0.clone();
        Box::pin(async move { shard.describe_log_dirs().await })
    }

    fn epoch_end_offset(
        &self,
        tp: TopicPartition,
        current_leader_epoch: LeaderEpoch,
        epoch: LeaderEpoch,
    ) -> LocalBoxFuture<'static, Result<(LeaderEpoch, Offset), DataError>> {
        let shard = self.0.clone();
        Box::pin(async move {
            shard
                .epoch_end_offset(tp, current_leader_epoch, epoch)
                .await
                .map_err(data_error)
        })
    }
}

struct NodeControl(ControlHandle);

impl Control for NodeControl {
    fn image(&self) -> Arc<Image> {
        self.0.image().borrow().clone()
    }

    fn image_changed(&self) -> LocalBoxFuture<'static, ()> {
        let mut image = self.0.image();
        image.mark_unchanged();
        Box::pin(async move {
            // An error: the control plane has ended, and nothing changes any more.
            let _ = image.changed().await;
        })
    }

    fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<CreatedTopic>, ErrorCode>> {
        let handle = self.0.within(timeout);
        let new = |topic: NewTopic| controller::NewTopic {
            name: topic.name,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignments,
            configs: topic.configs,
        };
        let command = controller::CreateTopics {
            topics: topics.into_iter().map(new).collect(),
            validate_only,
        };
        let created = |topic: controller::CreatedTopic| CreatedTopic {
            id: topic.id,
            error: topic.error,
            message: topic.message,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
        };
        Box::pin(async move { Ok(handle.create_topics(command).await?.into_iter().map(created).collect()) })
    }

    fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<Vec<DeletedTopic>, ErrorCode>> {
        let handle = self.0.within(timeout);
        let wanted = |topic: TopicRef| match topic {
            TopicRef::Name(name) => controller::TopicRef::Name(name),
            TopicRef::Id(id) => controller::TopicRef::Id(id),
        };
        let deleted = |topic: controller::DeletedTopic| DeletedTopic {
            name: topic.name,
            id: topic.id,
            error: topic.error,
        };
        let topics = topics.into_iter().map(wanted).collect();
        Box::pin(async move { Ok(handle.delete_topics(topics).await?.into_iter().map(deleted).collect()) })
    }

    fn create_partitions(&self, command: CreatePartitions, timeout: Duration) -> LocalBoxFuture<'static, Outcomes> {
        let handle = self.0.within(timeout);
        Box::pin(async move { handle.create_partitions(command).await })
    }

    fn elect_leaders(
        &self,
        command: ElectLeaders,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        let handle = self.0.within(timeout);
        Box::pin(async move { handle.elect_leaders(command).await })
    }

    fn alter_reassignments(
        &self,
        command: AlterReassignments,
        timeout: Duration,
    ) -> LocalBoxFuture<'static, Result<PartitionOutcomes, ErrorCode>> {
        let handle = self.0.within(timeout);
        Box::pin(async move { handle.alter_reassignments(command).await })
    }

    fn alter_configs(&self, command: AlterConfigs) -> LocalBoxFuture<'static, Outcomes> {
        let handle = self.0.clone();
        Box::pin(async move { handle.alter_configs(command).await })
    }

    fn cluster_status(&self) -> LocalBoxFuture<'static, ClusterStatus> {
        let handle = self.0.clone();
        Box::pin(async move { handle.cluster_status().await })
    }

    fn unregister_broker(&self, node: NodeId) -> LocalBoxFuture<'static, Result<(), ErrorCode>> {
        let handle = self.0.clone();
        Box::pin(async move { handle.unregister(node).await })
    }

    fn allocate_producer_ids(&self) -> LocalBoxFuture<'static, Result<(i64, i32), ErrorCode>> {
        let handle = self.0.clone();
        Box::pin(async move { handle.allocate_producer_ids().await })
    }
}
