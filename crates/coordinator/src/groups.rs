use crate::coordinators::{Coordinators, OFFSETS_TOPIC};
use crate::group_partition::GroupPartition;
use broker::ShardRef;
use futures::future::{LocalBoxFuture, join_all};
use group::{
    Answer, CommitOffsets, DeleteOffsets, FetchOffsets, FetchedOffsets, GroupDescription, Heartbeat, JoinGroup, Joined,
    LeaveGroup, Left, ListedGroup, PartitionErrors, SyncGroup, Synced, partition_of,
};
use metadata::Image;
use std::rc::Rc;
use std::sync::Arc;
use types::{ErrorCode, TopicId, TopicPartition};

/// The node's coordinators, from the shard that serves a client. A request goes to the shard that leads the group's
/// partition; what this node does not coordinate is answered with NOT_COORDINATOR.
#[derive(Clone)]
pub struct Groups {
    shard: ShardRef,
}

impl Groups {
    /// Callable from this shard.
    #[must_use]
    pub fn new(shard: ShardRef) -> Self {
        Self { shard }
    }

    /// JoinGroup: resolves when the rebalance is over, or its first half is.
    pub async fn join(&self, request: JoinGroup) -> Joined {
        let member_id = request.member_id.clone();
        let host = self.shard.broker().host();
        let random = u128::from(host.random_u64()) << 64 | u128::from(host.random_u64());
        let group_id = request.group_id.clone();
        let asked = self.ask(&group_id, move |partition, _| {
            partition.ask(|coordinator, ticket, now| coordinator.join(ticket, &request, random, now))
        });
        match asked.await {
            Ok(Answer::Joined(joined)) => joined,
            Ok(_) => Joined::failed(ErrorCode::UnknownServerError, member_id),
            Err(error) => Joined::failed(error, member_id),
        }
    }

    /// SyncGroup: resolves when the leader has assigned.
    pub async fn sync(&self, request: SyncGroup) -> Synced {
        let group_id = request.group_id.clone();
        let asked = self.ask(&group_id, move |partition, _| {
            partition.ask(|coordinator, ticket, now| coordinator.sync(ticket, request, now))
        });
        match asked.await {
            Ok(Answer::Synced(synced)) => synced,
            Ok(_) => Synced::failed(ErrorCode::UnknownServerError),
            Err(error) => Synced::failed(error),
        }
    }

    /// Heartbeat. While the coordinator reads its log there is nothing to complain of, as in Kafka.
    pub async fn heartbeat(&self, request: Heartbeat) -> ErrorCode {
        let group_id = request.group_id.clone();
        let beaten = self.call(&group_id, move |partition, _| {
            partition.with(|coordinator, now| coordinator.heartbeat(&request, now))
        });
        match beaten.await {
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Ok(code) | Err(code) => code,
        }
    }

    /// LeaveGroup.
    pub async fn leave(&self, request: LeaveGroup) -> Left {
        let group_id = request.group_id.clone();
        let left = self.call(&group_id, move |partition, _| {
            partition.with(|coordinator, now| coordinator.leave(&request, now))
        });
        left.await.unwrap_or_else(|error| Left {
            error,
            members: Vec::new(),
        })
    }

    /// OffsetCommit: resolves when the offsets are replicated.
    ///
    /// # Errors
    /// Why none of it was done.
    pub async fn commit(&self, request: CommitOffsets) -> Result<PartitionErrors, ErrorCode> {
        let group_id = request.group_id.clone();
        let asked = self.ask(&group_id, move |partition, image| {
            partition.ask(|coordinator, ticket, now| coordinator.commit(ticket, &request, id_in(&image), now))
        });
        offsets(asked.await)
    }

    /// OffsetFetch.
    ///
    /// # Errors
    /// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
    pub async fn fetch(&self, request: FetchOffsets) -> Result<FetchedOffsets, ErrorCode> {
        let group_id = request.group_id.clone();
        self.call(&group_id, move |partition, image| {
            partition.with_newest(|coordinator, _| coordinator.fetch(&request, id_in(&image)))
        })
        .await
    }

    /// DescribeGroups.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
    pub async fn describe(&self, group_id: String) -> Result<GroupDescription, ErrorCode> {
        let id = group_id.clone();
        let described = self.call(&group_id, move |partition, _| {
            partition.with(|coordinator, _| coordinator.describe(&id))
        });
        described.await?
    }

    /// ListGroups: of all partitions that this node coordinates.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let shards = 0..self.shard.shard_count();
        let asked = shards.map(|shard| {
            self.shard.on_owner(shard, |shard| {
                let kept = shard.kept::<Coordinators>();
                Box::pin(async move { kept.map_or(Ok(Vec::new()), |coordinators| coordinators.list()) })
            })
        });
        let mut listed = Vec::new();
        for groups in join_all(asked).await {
            listed.extend(groups.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))?);
        }
        Ok(listed)
    }

    /// DeleteGroups, of one: resolves when that is replicated.
    pub async fn delete(&self, group_id: String) -> ErrorCode {
        let id = group_id.clone();
        let asked = self.ask(&group_id, move |partition, _| {
            partition.ask(|coordinator, ticket, now| coordinator.delete(ticket, &id, now))
        });
        match asked.await {
            Ok(Answer::Deleted(code)) | Err(code) => code,
            Ok(_) => ErrorCode::UnknownServerError,
        }
    }

    /// OffsetDelete.
    ///
    /// # Errors
    /// Why none of it was done.
    pub async fn delete_offsets(&self, request: DeleteOffsets) -> Result<PartitionErrors, ErrorCode> {
        let group_id = request.group_id.clone();
        let asked = self.ask(&group_id, move |partition, _| {
            partition.ask(|coordinator, ticket, now| coordinator.delete_offsets(ticket, &request, now))
        });
        offsets(asked.await)
    }

    /// Where the group belongs, if its topic is there.
    fn partition_of(&self, group_id: &str) -> Option<TopicPartition> {
        let image = self.shard.image();
        let topic = image.topic(OFFSETS_TOPIC)?;
        let partitions = i32::try_from(topic.partitions.len()).ok()?;
        Some(TopicPartition {
            topic: topic.id,
            partition: partition_of(group_id, partitions),
        })
    }

    async fn ask(
        &self,
        group_id: &str,
        work: impl FnOnce(Rc<GroupPartition>, Arc<Image>) -> LocalBoxFuture<'static, Result<Answer, ErrorCode>>
        + Send
        + 'static,
    ) -> Result<Answer, ErrorCode> {
        let tp = self.partition_of(group_id).ok_or(ErrorCode::NotCoordinator)?;
        let on_owner = move |shard: ShardRef| match find(&shard, tp) {
            Ok(partition) => work(partition, shard.image()),
            Err(error) => Box::pin(std::future::ready(Err(error))) as LocalBoxFuture<'static, _>,
        };
        self.on_owner(tp, on_owner).await
    }

    async fn call<T: Send + 'static>(
        &self,
        group_id: &str,
        work: impl FnOnce(Rc<GroupPartition>, Arc<Image>) -> Result<T, ErrorCode> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let tp = self.partition_of(group_id).ok_or(ErrorCode::NotCoordinator)?;
        let on_owner = move |shard: ShardRef| -> LocalBoxFuture<'static, _> {
            let answer = find(&shard, tp).and_then(|partition| work(partition, shard.image()));
            Box::pin(std::future::ready(answer))
        };
        self.on_owner(tp, on_owner).await
    }

    async fn on_owner<T: Send + 'static>(
        &self,
        tp: TopicPartition,
        work: impl FnOnce(ShardRef) -> LocalBoxFuture<'static, Result<T, ErrorCode>> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let owner = tp.shard(self.shard.shard_count());
        let answer = self.shard.on_owner(owner, work).await;
        answer.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }
}

fn find(shard: &ShardRef, tp: TopicPartition) -> Result<Rc<GroupPartition>, ErrorCode> {
    let coordinators = shard.kept::<Coordinators>().ok_or(ErrorCode::NotCoordinator)?;
    coordinators.find(tp)
}

fn offsets(answer: Result<Answer, ErrorCode>) -> Result<PartitionErrors, ErrorCode> {
    match answer? {
        Answer::Offsets(answer) => answer,
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// What stands behind a topic's name.
fn id_in(image: &Image) -> impl Fn(&str) -> TopicId + '_ {
    |name| image.topic(name).map(|topic| topic.id).unwrap_or_default()
}
