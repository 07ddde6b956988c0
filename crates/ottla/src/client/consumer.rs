use super::{ClientError, Cluster, Topic};
use records::{Record, decode_records, split_batches};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{ErrorCode, limits};
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::{BrokerId, FetchRequest, ListOffsetsRequest, RequestKind, ResponseKind, TopicName};

const BACKOFF: Duration = Duration::from_millis(50);
const FETCH_BYTES: i32 = 16 * 1024 * 1024;
const PARTITION_BYTES: i32 = 1024 * 1024;

/// ListOffsets' names for the two ends of a log.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

/// A record, where it lies, and the leader epoch in which it was written.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub partition: i32,
    pub leader_epoch: i32,
    pub record: Record,
}

/// Reads partitions of one topic from given positions; no group.
pub struct Consumer {
    topic: Topic,
    positions: BTreeMap<i32, i64>,
}

impl Consumer {
    /// Starts at `start` (an offset, [`EARLIEST`] or [`LATEST`]) in `partition`, or in all.
    ///
    /// # Errors
    /// [`ClientError`]; a partition that does not exist.
    pub async fn new(
        cluster: &mut Cluster,
        topic: &str,
        partition: Option<i32>,
        start: i64,
    ) -> Result<Self, ClientError> {
        let topic = cluster.topic(topic, false).await?;
        let wanted: Vec<i32> = topic
            .partitions
            .iter()
            .map(|p| p.index)
            .filter(|p| partition.is_none_or(|w| w == *p))
            .collect();
        if wanted.is_empty() {
            return Err(ClientError::Other(format!(
                "topic {} has partitions 0 to {}; there is no partition {}",
                topic.name,
                topic.partitions.len().saturating_sub(1),
                partition.unwrap_or(0)
            )));
        }
        Self::starting(cluster, topic, wanted.into_iter().map(|partition| (partition, start))).await
    }

    /// Starts at an offset, [`EARLIEST`] or [`LATEST`] in each of these partitions.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn starting(
        cluster: &mut Cluster,
        topic: Topic,
        starts: impl IntoIterator<Item = (i32, i64)>,
    ) -> Result<Self, ClientError> {
        let mut consumer = Self {
            topic,
            positions: BTreeMap::new(),
        };
        for (partition, start) in starts {
            let position = if start < 0 {
                consumer.offset(cluster, partition, start).await?
            } else {
                start
            };
            consumer.positions.insert(partition, position);
        }
        Ok(consumer)
    }

    /// Ends of the partitions now: what is read until it reaches them is everything there was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ends(&mut self, cluster: &mut Cluster) -> Result<BTreeMap<i32, i64>, ClientError> {
        let partitions: Vec<i32> = self.positions.keys().copied().collect();
        let mut ends = BTreeMap::new();
        for partition in partitions {
            ends.insert(partition, self.offset(cluster, partition, LATEST).await?);
        }
        Ok(ends)
    }

    /// Whether everything before `ends` was read.
    #[must_use]
    pub fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let reached = |(partition, end): (&i32, &i64)| self.positions.get(partition).is_none_or(|at| at >= end);
        ends.iter().all(reached)
    }

    /// Position per partition: the next offset to read.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Records that are there now, or that come within `wait`; may be none.
    ///
    /// # Errors
    /// [`ClientError`]; what can be retried is retried at the next call. After an error that cannot, positions may be past
    /// records that nobody was given.
    pub async fn poll(&mut self, cluster: &mut Cluster, wait: Duration) -> Result<Vec<Fetched>, ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in self.positions.keys() {
            by_leader.entry(self.leader(*partition)).or_default().push(*partition);
        }
        // Nodes are asked in turn, so only a lone one may make us wait.
        let wait = if by_leader.len() == 1 {
            wait
        } else {
            wait / u32::try_from(by_leader.len()).unwrap_or(1)
        };
        let mut found = Vec::new();
        for (leader, partitions) in by_leader {
            let outcome = if leader < 0 {
                Err(ClientError::Kafka {
                    what: self.topic.name.clone(),
                    error: ErrorCode::LeaderNotAvailable,
                    message: None,
                })
            } else {
                self.fetch(
                    cluster,
                    leader,
                    &partitions,
                    if found.is_empty() { wait } else { Duration::ZERO },
                    &mut found,
                )
                .await
            };
            match outcome {
                Ok(()) => {}
                Err(error) if error.is_retriable() => {
                    tokio::time::sleep(BACKOFF).await;
                    match cluster.topic(&self.topic.name, false).await {
                        Ok(topic) => self.topic = topic,
                        Err(error) if error.is_retriable() && !error.is(ErrorCode::UnknownTopicOrPartition) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn leader(&self, partition: i32) -> i32 {
        self.topic
            .partitions
            .iter()
            .find(|p| p.index == partition)
            .map_or(-1, |p| p.leader)
    }

    async fn fetch(
        &mut self,
        cluster: &mut Cluster,
        leader: i32,
        partitions: &[i32],
        wait: Duration,
        found: &mut Vec<Fetched>,
    ) -> Result<(), ClientError> {
        let wanted = partitions
            .iter()
            .map(|partition| {
                FetchPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(-1)
                    .with_fetch_offset(self.positions[partition])
                    .with_partition_max_bytes(PARTITION_BYTES)
            })
            .collect();
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.name.clone())))
            .with_partitions(wanted);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer = cluster
            .call_node(leader, ApiKey::Fetch, 11, RequestKind::Fetch(request))
            .await?;
        let ResponseKind::Fetch(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        ClientError::check("fetch", answer.error_code, None)?;
        let mut failed = None;
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = data.partition_index;
            if let Err(error) = ClientError::check(
                format!("{} partition {partition}", self.topic.name),
                data.error_code,
                None,
            ) {
                failed = Some(error);
                continue;
            }
            let Some(position) = self.positions.get_mut(&partition) else {
                continue;
            };
            for batch in split_batches(&data.records.unwrap_or_default()) {
                // The last batch may be cut off by the size limit.
                let Ok(batch) = batch else { break };
                let records = decode_records(&batch, limits::DECOMPRESSED_BYTES_MAX).map_err(|error| {
                    ClientError::Other(format!("{} partition {partition}: {error}", self.topic.name))
                })?;
                if !batch.header.is_control() {
                    let leader_epoch = batch.header.leader_epoch.0;
                    let wanted = records.into_iter().filter(|r| r.offset.0 >= *position);
                    found.extend(wanted.map(|record| Fetched {
                        partition,
                        leader_epoch,
                        record,
                    }));
                }
                *position = (*position).max(batch.header.next_offset().0);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What ListOffsets says of this timestamp, or of [`EARLIEST`] or [`LATEST`]; −1: no record is so young.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn offset(&mut self, cluster: &mut Cluster, partition: i32, timestamp: i64) -> Result<i64, ClientError> {
        let started = tokio::time::Instant::now();
        loop {
            match self.try_offset(cluster, partition, timestamp).await {
                Err(error) if error.is_retriable() && started.elapsed() < Duration::from_secs(20) => {
                    tokio::time::sleep(BACKOFF).await;
                    self.topic = cluster.topic(&self.topic.name, false).await?;
                }
                other => return other,
            }
        }
    }

    async fn try_offset(&mut self, cluster: &mut Cluster, partition: i32, timestamp: i64) -> Result<i64, ClientError> {
        let what = format!("{} partition {partition}", self.topic.name);
        let leader = self.leader(partition);
        if leader < 0 {
            return Err(ClientError::Kafka {
                what,
                error: ErrorCode::LeaderNotAvailable,
                message: None,
            });
        }
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.name.clone())))
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let answer = cluster
            .call_node(leader, ApiKey::ListOffsets, 6, RequestKind::ListOffsets(request))
            .await?;
        let ResponseKind::ListOffsets(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        let result = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let result = result.ok_or_else(|| ClientError::Other("an empty answer".into()))?;
        ClientError::check(what, result.error_code, None)?;
        Ok(result.offset)
    }
}
