use super::consumer_protocol::{Assignment, read_assignment};
use super::{ClientError, Cluster, Coordinator};
use std::collections::BTreeMap;
use types::ErrorCode;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use wire::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    RequestKind, ResponseKind, TopicName,
};
use wire::{ApiKey, StrBytes};

/// Topic and partition.
pub type Place = (String, i32);

/// A group as an operator sees it.
pub struct Group {
    coordinator: Coordinator,
}

/// What DescribeGroups says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub state: String,
    pub protocol_type: String,
    /// The assignor of a consumer group.
    pub protocol: String,
    /// The node that keeps the group.
    pub coordinator: i32,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    /// `None` where it is not the consumer protocol's.
    pub assignment: Option<Assignment>,
}

impl Group {
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            coordinator: Coordinator::new(id),
        }
    }

    #[must_use]
    pub fn id(&self) -> &str {
        self.coordinator.group_id()
    }

    /// # Errors
    /// [`ClientError`], among them that there is no such group.
    pub async fn describe(&mut self, cluster: &mut Cluster) -> Result<Description, ClientError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.name().into()]);
        let request = RequestKind::DescribeGroups(request);
        let answer = self
            .coordinator
            .call(cluster, ApiKey::DescribeGroups, 6, request)
            .await?;
        let ResponseKind::DescribeGroups(answer) = answer else {
            return Err(wrong());
        };
        let group = answer.groups.into_iter().next().ok_or_else(wrong)?;
        let message = group.error_message.map(|message| message.to_string());
        ClientError::check(self.what(), group.error_code, message)?;
        let consumer = group.protocol_type.as_str() == "consumer";
        let members = group.members.into_iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.trim_start_matches('/').to_owned(),
            assignment: read_assignment(&member.member_assignment).filter(|_| consumer),
        });
        Ok(Description {
            state: group.group_state.to_string(),
            protocol_type: group.protocol_type.to_string(),
            protocol: group.protocol_data.to_string(),
            coordinator: self.coordinator.node().unwrap_or(-1),
            members: members.collect(),
        })
    }

    /// Every offset that the group has committed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn committed(&mut self, cluster: &mut Cluster) -> Result<BTreeMap<Place, i64>, ClientError> {
        let request = OffsetFetchRequest::default()
            .with_group_id(self.name().into())
            .with_topics(None);
        let request = RequestKind::OffsetFetch(request);
        let answer = self.coordinator.call(cluster, ApiKey::OffsetFetch, 7, request).await?;
        let ResponseKind::OffsetFetch(answer) = answer else {
            return Err(wrong());
        };
        ClientError::check(self.what(), answer.error_code, None)?;
        let mut committed = BTreeMap::new();
        for topic in answer.topics {
            for partition in topic
                .partitions
                .iter()
                .filter(|partition| partition.committed_offset >= 0)
            {
                let place = (topic.name.to_string(), partition.partition_index);
                committed.insert(place, partition.committed_offset);
            }
        }
        Ok(committed)
    }

    /// Commits in the name of no member, which a group with members refuses.
    ///
    /// # Errors
    /// [`ClientError`] with the first partition that was refused.
    pub async fn commit(&mut self, cluster: &mut Cluster, offsets: &BTreeMap<Place, i64>) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(StrBytes::default()));
            topics.entry(topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(self.name().into())
            .with_topics(topics.into_iter().map(topic).collect());
        let request = RequestKind::OffsetCommit(request);
        let answer = self.coordinator.call(cluster, ApiKey::OffsetCommit, 7, request).await?;
        let ResponseKind::OffsetCommit(answer) = answer else {
            return Err(wrong());
        };
        for topic in answer.topics {
            for partition in topic.partitions {
                let what = format!(
                    "{} partition {} of {}",
                    topic.name.as_str(),
                    partition.partition_index,
                    self.what()
                );
                let members = ErrorCode::from_code(partition.error_code) == ErrorCode::UnknownMemberId;
                let why = members.then(|| "the group has members, stop them first".to_owned());
                ClientError::check(what, partition.error_code, why)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`ClientError`]: it has members, or there is none.
    pub async fn delete(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![self.name().into()]);
        let request = RequestKind::DeleteGroups(request);
        let answer = self.coordinator.call(cluster, ApiKey::DeleteGroups, 2, request).await?;
        let ResponseKind::DeleteGroups(answer) = answer else {
            return Err(wrong());
        };
        let result = answer.results.into_iter().next().ok_or_else(wrong)?;
        let members = ErrorCode::from_code(result.error_code) == ErrorCode::NonEmptyGroup;
        let why = members.then(|| "it has members, stop them first".to_owned());
        ClientError::check(self.what(), result.error_code, why)
    }

    /// # Errors
    /// [`ClientError`] with the first partition that was refused.
    pub async fn delete_offsets(&mut self, cluster: &mut Cluster, places: &[Place]) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, partition) in places {
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(*partition);
            topics.entry(topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetDeleteRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions)
        };
        let request = OffsetDeleteRequest::default()
            .with_group_id(self.name().into())
            .with_topics(topics.into_iter().map(topic).collect());
        let request = RequestKind::OffsetDelete(request);
        let answer = self.coordinator.call(cluster, ApiKey::OffsetDelete, 0, request).await?;
        let ResponseKind::OffsetDelete(answer) = answer else {
            return Err(wrong());
        };
        ClientError::check(self.what(), answer.error_code, None)?;
        for topic in answer.topics {
            for partition in topic.partitions {
                let what = format!(
                    "{} partition {} of {}",
                    topic.name.as_str(),
                    partition.partition_index,
                    self.what()
                );
                let used = ErrorCode::from_code(partition.error_code) == ErrorCode::GroupSubscribedToTopic;
                let why = used.then(|| "a member reads the topic, stop it first".to_owned());
                ClientError::check(what, partition.error_code, why)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> StrBytes {
        StrBytes::from_string(self.id().to_owned())
    }

    fn what(&self) -> String {
        format!("group {}", self.id())
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn wrong() -> ClientError {
    ClientError::Other("a wrong answer".into())
}
