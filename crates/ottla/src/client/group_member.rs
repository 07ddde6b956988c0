use super::consumer_protocol::{Assignment, assignment, read_assignment, read_subscription, subscription};
use super::{Assignor, ClientError, Cluster, Coordinator};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::ErrorCode;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    RequestKind, ResponseKind, SyncGroupRequest, TopicName,
};
use wire::{ApiKey, StrBytes};

/// After so long without a heartbeat the coordinator gives this member's partitions to others.
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// So long it waits for this member to join again.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
const BACKOFF: Duration = Duration::from_millis(100);
const CONSUMER: StrBytes = StrBytes::from_static_str("consumer");

/// A member of a consumer group that reads one topic, with the classic protocol.
pub struct GroupMember {
    coordinator: Coordinator,
    topic: String,
    /// Empty before the first join.
    member_id: String,
    generation_id: i32,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its partitions are its own.
    Assigned,
    /// The group rebalances, or goes on without it: it must join again.
    MustJoin,
}

impl GroupMember {
    #[must_use]
    pub fn new(group_id: &str, topic: &str) -> Self {
        Self {
            coordinator: Coordinator::new(group_id),
            topic: topic.to_owned(),
            member_id: String::new(),
            generation_id: -1,
        }
    }

    /// Of the group, as of the last join.
    #[must_use]
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// Joins, as the leader assigns, and gives the partitions of this member. Takes as long as the others do to join.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join(&mut self, cluster: &mut Cluster) -> Result<Vec<i32>, ClientError> {
        loop {
            let joined = self.join_once(cluster).await?;
            match ErrorCode::from_code(joined.error_code) {
                ErrorCode::None => {
                    self.member_id = joined.member_id.to_string();
                    self.generation_id = joined.generation_id;
                    if let Some(partitions) = self.sync(cluster, &joined).await? {
                        return Ok(partitions);
                    }
                }
                // It is told its id first.
                ErrorCode::MemberIdRequired => {
                    self.member_id = joined.member_id.to_string();
                    continue;
                }
                error => self.lost(error)?,
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn join_once(&mut self, cluster: &mut Cluster) -> Result<JoinGroupResponse, ClientError> {
        let metadata = subscription(std::slice::from_ref(&self.topic));
        let protocol = |assignor: Assignor| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(metadata.clone())
        };
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id().into())
            .with_session_timeout_ms(SESSION_TIMEOUT_MS)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(self.id())
            .with_protocol_type(CONSUMER)
            .with_protocols(Assignor::ALL.map(protocol).to_vec());
        let request = RequestKind::JoinGroup(request);
        match self.coordinator.call(cluster, ApiKey::JoinGroup, 5, request).await? {
            ResponseKind::JoinGroup(joined) => Ok(joined),
            _ => Err(wrong()),
        }
    }

    /// `None`: it must join again.
    async fn sync(
        &mut self,
        cluster: &mut Cluster,
        joined: &JoinGroupResponse,
    ) -> Result<Option<Vec<i32>>, ClientError> {
        let leads = joined.leader == joined.member_id;
        let assigned = if leads {
            assign(cluster, joined).await?
        } else {
            BTreeMap::new()
        };
        let one = |(member, topics): (String, Assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_string(member))
                .with_assignment(assignment(&topics))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_id().into())
            .with_generation_id(self.generation_id)
            .with_member_id(self.id())
            .with_assignments(assigned.into_iter().map(one).collect());
        let request = RequestKind::SyncGroup(request);
        let answer = self.coordinator.call(cluster, ApiKey::SyncGroup, 3, request).await?;
        let ResponseKind::SyncGroup(answer) = answer else {
            return Err(wrong());
        };
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            error => {
                self.lost(error)?;
                return Ok(None);
            }
        }
        let topics = read_assignment(&answer.assignment).ok_or_else(|| {
            ClientError::Other(format!(
                "{}: its leader assigns in no way that is known here",
                self.what()
            ))
        })?;
        let mine = topics.into_iter().filter(|(topic, _)| *topic == self.topic);
        Ok(Some(mine.flat_map(|(_, partitions)| partitions).collect()))
    }

    /// # Errors
    /// [`ClientError`].
    pub async fn heartbeat(&mut self, cluster: &mut Cluster) -> Result<Standing, ClientError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id().into())
            .with_generation_id(self.generation_id)
            .with_member_id(self.id());
        let request = RequestKind::Heartbeat(request);
        match self.coordinator.call(cluster, ApiKey::Heartbeat, 3, request).await? {
            ResponseKind::Heartbeat(answer) => self.standing(ErrorCode::from_code(answer.error_code)),
            _ => Err(wrong()),
        }
    }

    /// Where each of the partitions is to be read on, if that was committed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn committed(
        &mut self,
        cluster: &mut Cluster,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(self.topic_name())
            .with_partition_indexes(partitions.to_vec());
        let request = OffsetFetchRequest::default()
            .with_group_id(self.group_id().into())
            .with_topics(Some(vec![topic]));
        let request = RequestKind::OffsetFetch(request);
        let answer = self.coordinator.call(cluster, ApiKey::OffsetFetch, 7, request).await?;
        let ResponseKind::OffsetFetch(answer) = answer else {
            return Err(wrong());
        };
        ClientError::check(self.what(), answer.error_code, None)?;
        let mut committed = BTreeMap::new();
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = format!(
                "{} partition {} of {}",
                self.topic,
                partition.partition_index,
                self.what()
            );
            ClientError::check(what, partition.error_code, None)?;
            if partition.committed_offset >= 0 {
                committed.insert(partition.partition_index, partition.committed_offset);
            }
        }
        Ok(committed)
    }

    /// # Errors
    /// [`ClientError`].
    pub async fn commit(
        &mut self,
        cluster: &mut Cluster,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<Standing, ClientError> {
        if offsets.is_empty() {
            return Ok(Standing::Assigned);
        }
        let partition = |(partition, offset): (&i32, &i64)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::default()))
        };
        let topic = OffsetCommitRequestTopic::default()
            .with_name(self.topic_name())
            .with_partitions(offsets.iter().map(partition).collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id().into())
            .with_generation_id_or_member_epoch(self.generation_id)
            .with_member_id(self.id())
            .with_topics(vec![topic]);
        let request = RequestKind::OffsetCommit(request);
        let answer = self.coordinator.call(cluster, ApiKey::OffsetCommit, 7, request).await?;
        let ResponseKind::OffsetCommit(answer) = answer else {
            return Err(wrong());
        };
        let mut codes = answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|p| p.error_code);
        self.standing(ErrorCode::from_code(codes.find(|code| *code != 0).unwrap_or(0)))
    }

    /// Gives its partitions to the others now, not when its session has timed out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        if self.member_id.is_empty() {
            return Ok(());
        }
        let request = LeaveGroupRequest::default()
            .with_group_id(self.group_id().into())
            .with_member_id(self.id());
        let request = RequestKind::LeaveGroup(request);
        match self.coordinator.call(cluster, ApiKey::LeaveGroup, 2, request).await? {
            ResponseKind::LeaveGroup(_) => Ok(()),
            _ => Err(wrong()),
        }
    }

    fn standing(&mut self, error: ErrorCode) -> Result<Standing, ClientError> {
        if error.is_none() {
            return Ok(Standing::Assigned);
        }
        self.lost(error).map(|()| Standing::MustJoin)
    }

    /// Ready to join again after this error, if that helps.
    fn lost(&mut self, error: ErrorCode) -> Result<(), ClientError> {
        match error {
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => Ok(()),
            ErrorCode::UnknownMemberId => {
                self.member_id.clear();
                Ok(())
            }
            error => {
                let message = (error == ErrorCode::InconsistentGroupProtocol).then(|| {
                    "its members have no protocol in common with this one, which knows range and roundrobin".to_owned()
                });
                Err(ClientError::Kafka {
                    what: self.what(),
                    error,
                    message,
                })
            }
        }
    }

    fn group_id(&self) -> StrBytes {
        StrBytes::from_string(self.coordinator.group_id().to_owned())
    }

    fn id(&self) -> StrBytes {
        StrBytes::from_string(self.member_id.clone())
    }

    fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.clone()))
    }

    fn what(&self) -> String {
        format!("group {}", self.coordinator.group_id())
    }
}

/// What the leader gives to whom. A topic that does not exist has no partitions.
async fn assign(
    cluster: &mut Cluster,
    joined: &JoinGroupResponse,
) -> Result<BTreeMap<String, Assignment>, ClientError> {
    let assignor = joined.protocol_name.as_ref().and_then(|name| Assignor::of(name));
    let assignor =
        assignor.ok_or_else(|| ClientError::Other("the group has chosen a protocol that was not offered".into()))?;
    let subscribed = |metadata| read_subscription(metadata).unwrap_or_default();
    let members = joined.members.iter();
    let subscriptions: BTreeMap<String, Vec<String>> = members
        .map(|member| (member.member_id.to_string(), subscribed(&member.metadata)))
        .collect();
    let names: BTreeSet<&String> = subscriptions.values().flatten().collect();
    let mut topics = BTreeMap::new();
    for name in names {
        match cluster.topic(name, false).await {
            Ok(topic) => {
                topics.insert(name.clone(), i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
            }
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(assignor.assign(&subscriptions, &topics))
}

fn wrong() -> ClientError {
    ClientError::Other("a wrong answer".into())
}
