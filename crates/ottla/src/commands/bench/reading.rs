use crate::client::{ClientError, Cluster, Connection, Consumer, EARLIEST, LATEST};
use records::{Batch, split_batches};
use std::collections::BTreeMap;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::{BrokerId, FetchRequest, RequestKind, ResponseKind, TopicName};
use wire::{ApiKey, StrBytes};

const FETCH_BYTES: i32 = 50 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
const WAIT_MS: i32 = 500;

/// Reads the partitions of one leader, one Fetch after the other.
pub(super) struct Reading {
    connection: Connection,
    topic: String,
    positions: BTreeMap<i32, i64>,
}

impl Reading {
    pub async fn open(address: &str, topic: &str, positions: BTreeMap<i32, i64>) -> Result<Self, ClientError> {
        Ok(Self {
            connection: Connection::open(address).await?,
            topic: topic.to_owned(),
            positions,
        })
    }

    /// Where these partitions begin, or end.
    pub async fn positions(
        cluster: &mut Cluster,
        topic: &str,
        at_end: bool,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let start = if at_end { LATEST } else { EARLIEST };
        let consumer = Consumer::new(cluster, topic, None, start).await?;
        Ok(consumer.positions().clone())
    }

    /// Whether everything below `ends` was read.
    pub fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let reached = |(partition, at): (&i32, &i64)| ends.get(partition).is_none_or(|end| at >= end);
        self.positions.iter().all(reached)
    }

    /// One Fetch: every batch that came.
    pub async fn fetch(&mut self, mut each: impl FnMut(&Batch)) -> Result<(), ClientError> {
        let wanted = self.positions.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(PARTITION_BYTES)
        });
        let topic = FetchTopic::default()
            .with_topic(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partitions(wanted.collect());
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer = self
            .connection
            .call(ApiKey::Fetch, 11, RequestKind::Fetch(request))
            .await?;
        let ResponseKind::Fetch(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        ClientError::check("fetch", answer.error_code, None)?;
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = data.partition_index;
            ClientError::check(format!("{} partition {partition}", self.topic), data.error_code, None)?;
            let Some(position) = self.positions.get_mut(&partition) else {
                continue;
            };
            // The last batch may be cut off by the size limit.
            for batch in split_batches(&data.records.unwrap_or_default()).map_while(Result::ok) {
                each(&batch);
                *position = (*position).max(batch.header.next_offset().0);
            }
        }
        Ok(())
    }
}
