use crate::data_plane::DataPlane;
use crate::envelope::error_code;
use crate::forwarding::Forward;
use crate::messages;
use crate::{
    AlterConfigs, AlterPartition, AlterReassignments, AlteredPartition, ClusterStatus, CreatePartitions, CreateTopics,
    CreatedTopic, DeletedTopic, ElectLeaders, MarkStrict, PartitionOutcomes, PlanError, TopicRef,
};
use host::HostRef;
use metadata::Image;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{RaftNode, RaftStatus, pb};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use types::{BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition};
use uuid::Uuid;

/// How long a call looks for a controller before it gives up, unless its client says.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Status is for people who look because something is wrong: they get the local view soon.
const STATUS_DEADLINE: Duration = Duration::from_millis(800);

/// The control plane as the rest of the node sees it. Cheap to clone, usable from any thread.
///
/// Every call works on any node: it is forwarded to the node that leads the metadata log and repeated until
/// its deadline while there is none. A call that fails with [`ErrorCode::RequestTimedOut`] may have been
/// carried out.
#[derive(Clone)]
pub struct ControlHandle {
    pub(crate) node_id: NodeId,
    pub(crate) host: HostRef,
    pub(crate) image: watch::Receiver<Arc<Image>>,
    pub(crate) registration: watch::Receiver<Option<BrokerEpoch>>,
    pub(crate) raft: Arc<OnceLock<RaftNode>>,
    pub(crate) data_plane: Arc<OnceLock<Arc<dyn DataPlane>>>,
    pub(crate) forward: mpsc::Sender<Forward>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) ended: watch::Receiver<bool>,
    /// Of what clients ask for: see [`Self::within`].
    pub(crate) deadline: Duration,
}

impl ControlHandle {
    /// The same, whose changes of topics and leaders are given up after `deadline`.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The data plane of this node has started.
    pub fn speaks_for(&self, data_plane: Arc<dyn DataPlane>) {
        let _ = self.data_plane.set(data_plane);
    }

    /// The newest image; a watch, so images may be skipped.
    #[must_use]
    pub fn image(&self) -> watch::Receiver<Arc<Image>> {
        self.image.clone()
    }

    /// `Some` once the image of this node holds the registration of this very start, and `None` again when
    /// another registration of the same `node.id` took its place. Nothing may be served, led or followed
    /// while it is `None`.
    #[must_use]
    pub fn registration(&self) -> watch::Receiver<Option<BrokerEpoch>> {
        self.registration.clone()
    }

    /// The Raft group as this node sees it now; `None` before it belongs to a cluster. Does not wait.
    #[must_use]
    pub fn raft(&self) -> Option<RaftStatus> {
        self.raft.get().map(RaftNode::status)
    }

    /// Creates topics; one answer per topic, in order. The topic ids are chosen here, so that a repeated call
    /// finds what its first attempt created. Where that may have been deleted since, they are chosen anew: no id
    /// is used twice.
    ///
    /// # Errors
    /// [`ErrorCode::RequestTimedOut`] without a controller; errors of single topics are in the answers.
    pub async fn create_topics(&self, command: CreateTopics) -> Result<Vec<CreatedTopic>, ErrorCode> {
        let start = self.host.now();
        loop {
            let known = self.image.borrow().index;
            let any = |_: &_| TopicId(Uuid::from_u128(self.host.random_uuid()));
            let ids = command.topics.iter().map(any).collect();
            let request = Request::CreateTopics(messages::create_topics(command.clone(), ids, known));
            let left = self.deadline.saturating_sub(self.host.now().since(start));
            match self.call(request, left).await? {
                Reply::CreateTopics(reply) if reply.again_after != 0 => self.applied(reply.again_after).await,
                Reply::CreateTopics(reply) => return Ok(messages::created_topics(reply)),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
    }

    /// Adds partitions to topics; one answer per topic, in order. As in Kafka, a repeated call that finds the work of
    /// its first attempt done is told that it is no increase.
    ///
    /// # Errors
    /// As [`Self::create_topics`].
    pub async fn create_partitions(&self, command: CreatePartitions) -> Result<Vec<Result<(), PlanError>>, ErrorCode> {
        let request = Request::CreatePartitions(messages::create_partitions(command));
        match self.call(request, self.deadline).await? {
            Reply::CreatePartitions(reply) => Ok(messages::grown_topics(reply)),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Elects leaders (KIP-460). Returns once this node's own image holds them.
    ///
    /// # Errors
    /// As [`Self::create_topics`].
    pub async fn elect_leaders(&self, command: ElectLeaders) -> Result<PartitionOutcomes, ErrorCode> {
        let request = Request::ElectLeaders(messages::elect_leaders(command));
        match self.call(request, self.deadline).await? {
            Reply::ElectLeaders(reply) => {
                self.applied(reply.index).await;
                Ok(messages::partition_outcomes(reply.topics))
            }
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Starts, changes and cancels reassignments (KIP-455). Returns once this node's own image holds them.
    ///
    /// # Errors
    /// As [`Self::create_topics`].
    pub async fn alter_reassignments(&self, command: AlterReassignments) -> Result<PartitionOutcomes, ErrorCode> {
        let request = Request::AlterReassignments(messages::alter_reassignments(command));
        match self.call(request, self.deadline).await? {
            Reply::AlterReassignments(reply) => {
                self.applied(reply.index).await;
                Ok(messages::partition_outcomes(reply.topics))
            }
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Deletes topics; one answer per topic, in order. A name means the topic that has it now: never one that is created
    /// while the controller is asked again because no answer came.
    ///
    /// # Errors
    /// As [`Self::create_topics`]; also [`ErrorCode::RequestTimedOut`] where the name is a new topic's by the time that the
    /// controller can be asked again.
    pub async fn delete_topics(&self, topics: Vec<TopicRef>) -> Result<Vec<DeletedTopic>, ErrorCode> {
        let start = self.host.now();
        loop {
            let known = self.image.borrow().index;
            let request = Request::DeleteTopics(messages::delete_topics(topics.clone(), known));
            let left = self.deadline.saturating_sub(self.host.now().since(start));
            match self.call(request, left).await? {
                Reply::DeleteTopics(reply) if reply.again_after != 0 => self.applied(reply.again_after).await,
                Reply::DeleteTopics(reply) => return Ok(messages::deleted_topics(reply)),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
    }

    /// Proposes ISRs (KIP-497). Returns once this node's own image holds what was committed, so that the
    /// leader's next look at it is not at an older one.
    ///
    /// # Errors
    /// [`ErrorCode::StaleBrokerEpoch`] if this node is not registered; [`ErrorCode::RequestTimedOut`]: the
    /// outcome is unknown.
    pub async fn alter_partitions(
        &self,
        partitions: Vec<AlterPartition>,
    ) -> Result<Vec<(TopicPartition, Result<AlteredPartition, ErrorCode>)>, ErrorCode> {
        let broker_epoch = self.broker_epoch()?;
        let request = messages::alter_partitions(self.node_id, broker_epoch, partitions);
        match self.call(Request::AlterPartitions(request), DEADLINE).await? {
            Reply::AlterPartitions(reply) => {
                self.applied(reply.index).await;
                Ok(messages::altered_partitions(reply))
            }
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// A block of producer ids: the first and how many (KIP-730).
    ///
    /// # Errors
    /// As [`Self::alter_partitions`].
    pub async fn allocate_producer_ids(&self) -> Result<(i64, i32), ErrorCode> {
        let request = pb::AllocateProducerIdsRequest {
            node_id: self.node_id.0,
            broker_epoch: self.broker_epoch()?.0,
        };
        match self.call(Request::AllocateProducerIds(request), DEADLINE).await? {
            Reply::AllocateProducerIds(reply) => Ok((reply.first, reply.len)),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// AlterConfigs and IncrementalAlterConfigs (KIP-339); one answer per resource, in order.
    ///
    /// # Errors
    /// As [`Self::create_topics`].
    pub async fn alter_configs(&self, command: AlterConfigs) -> Result<Vec<Result<(), PlanError>>, ErrorCode> {
        match self
            .call(Request::AlterConfigs(messages::alter_configs(command)), DEADLINE)
            .await?
        {
            Reply::AlterConfigs(reply) => Ok(messages::altered_configs(reply)),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Removes a broker's registration for good.
    ///
    /// # Errors
    /// [`ErrorCode::BrokerIdNotRegistered`]; [`ErrorCode::RequestTimedOut`].
    pub async fn unregister(&self, node: NodeId) -> Result<(), ErrorCode> {
        let request = pb::UnregisterBrokerRequest { node_id: node.0 };
        self.call(Request::UnregisterBroker(request), DEADLINE).await.map(drop)
    }

    /// Records that what this broker's replicas acknowledge is on disk, or will not be.
    ///
    /// # Errors
    /// As [`Self::alter_partitions`].
    pub async fn mark_strict(&self, partitions: Vec<MarkStrict>) -> Result<(), ErrorCode> {
        let request = messages::mark_strict(self.node_id, self.broker_epoch()?, partitions);
        self.call(Request::MarkStrict(request), DEADLINE).await.map(drop)
    }

    /// The disk under these leaders, each named with its leader epoch, stalls: others of the ISR should lead.
    ///
    /// # Errors
    /// As [`Self::alter_partitions`].
    pub async fn resign_leaders(&self, partitions: Vec<(TopicPartition, LeaderEpoch)>) -> Result<(), ErrorCode> {
        let request = messages::resign_leaders(self.node_id, self.broker_epoch()?, partitions);
        self.call(Request::ResignLeaders(request), DEADLINE).await.map(drop)
    }

    /// These log directories of this broker have failed: others should lead what is in them.
    ///
    /// # Errors
    /// As [`Self::alter_partitions`].
    pub async fn offline_directories(&self, directories: Vec<DirectoryId>) -> Result<(), ErrorCode> {
        let request = pb::OfflineDirectoriesRequest {
            node_id: self.node_id.0,
            broker_epoch: self.broker_epoch()?.0,
            directory_ids: directories.iter().map(|id| messages::bytes_of(id.0)).collect(),
        };
        self.call(Request::OfflineDirectories(request), DEADLINE)
            .await
            .map(drop)
    }

    /// The logs of these replicas of this broker are damaged below their durable marks: they should leave ISR and ELR. One
    /// answer for each, in order; `ELIGIBLE_LEADERS_NOT_AVAILABLE`: nobody else could lead, the replica stays.
    ///
    /// # Errors
    /// As [`Self::alter_partitions`].
    pub async fn expel_damaged(
        &self,
        partitions: &[(TopicPartition, LeaderEpoch)],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let request = messages::expel_damaged(self.node_id, self.broker_epoch()?, partitions);
        match self.call(Request::ExpelDamaged(request), DEADLINE).await? {
            Reply::ExpelDamaged(reply) => Ok(reply.error_codes.into_iter().map(error_code).collect()),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// The cluster as its controller sees it, or, where none answers, as this node does.
    pub async fn cluster_status(&self) -> ClusterStatus {
        for (local, deadline) in [(false, STATUS_DEADLINE), (true, DEADLINE)] {
            let request = Request::ClusterStatus(pb::ClusterStatusRequest { local });
            if let Ok(Reply::ClusterStatus(reply)) = self.call(request, deadline).await {
                return ClusterStatus::from_message(reply);
            }
        }
        ClusterStatus::default()
    }

    /// Moves leadership away from this broker, and returns when it leads nothing or after the session
    /// timeout, whichever is first. Call before [`Self::stop`] on an orderly stop.
    pub async fn controlled_shutdown(&self) {
        let Ok(broker_epoch) = self.broker_epoch() else { return };
        let deadline = Duration::from_secs(5);
        let me = self.node_id;
        let moved = async {
            let request = pb::ControlledShutdownRequest {
                node_id: me.0,
                broker_epoch: broker_epoch.0,
            };
            if self.call(Request::ControlledShutdown(request), deadline).await.is_err() {
                return;
            }
            let mut image = self.image.clone();
            // Fails only when the control plane has ended, and then there is nothing to wait for.
            let _ = image.wait_for(|image| !leads_what_another_could(image, me)).await;
        };
        if tokio::time::timeout(deadline, moved).await.is_err() {
            tracing::warn!(node_id = me.0, "the node stops although it still leads partitions");
        }
    }

    /// Stops the control plane and returns when it has ended.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        // An error means that its thread is gone: ended as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Waits for what was committed at `index` to be in this node's image. A node that lags for long learns the rest from
    /// the watch.
    async fn applied(&self, index: u64) {
        let mut image = self.image.clone();
        let reached = image.wait_for(|image| image.index.0 >= index);
        let _ = tokio::time::timeout(Duration::from_secs(1), reached).await;
    }

    fn broker_epoch(&self) -> Result<BrokerEpoch, ErrorCode> {
        (*self.registration.borrow()).ok_or(ErrorCode::StaleBrokerEpoch)
    }

    async fn call(&self, request: Request, deadline: Duration) -> Result<Reply, ErrorCode> {
        let (reply, answer) = oneshot::channel();
        let forward = Forward {
            request,
            deadline,
            reply,
        };
        self.forward
            .send(forward)
            .await
            .map_err(|_| ErrorCode::BrokerNotAvailable)?;
        answer.await.map_err(|_| ErrorCode::BrokerNotAvailable)?
    }
}

/// Whether `node` leads a partition that another member of its ISR could lead.
fn leads_what_another_could(image: &Image, node: NodeId) -> bool {
    image
        .topics
        .values()
        .flat_map(|topic| topic.partitions.iter())
        .any(|partition| {
            partition.leader == Some(node)
                && partition.isr.iter().any(|other| {
                    *other != node
                        && image.replica_is_online(partition, *other)
                        && image
                            .brokers
                            .get(other)
                            .is_some_and(|broker| !broker.fenced && !broker.shutting_down)
                })
        })
}
