use super::{ClientError, Cluster, Topic, partition_of_key, retriable};
use bytes::Bytes;
use records::{BatchBuilder, Compression};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{ErrorCode, ProducerEpoch, ProducerId};
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{InitProducerIdRequest, ProduceRequest, RequestKind, ResponseKind, TopicName};

/// How long one batch is tried before the command gives up (Kafka's `delivery.timeout.ms`).
const DELIVERY: Duration = Duration::from_secs(120);
const BACKOFF: Duration = Duration::from_millis(50);
const REQUEST_TIMEOUT_MS: i32 = 30_000;
/// A batch is closed at this size, well under every topic's `max.message.bytes` default.
const BATCH_BYTES: usize = 512 * 1024;

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub partition: Option<i32>,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// An idempotent producer for one topic (KIP-98): a batch that is sent again after an unclear answer is stored once.
pub struct Producer {
    topic: Topic,
    id: ProducerId,
    epoch: ProducerEpoch,
    sequences: BTreeMap<i32, i32>,
    next_keyless: i32,
}

impl Producer {
    /// Finds the topic (created if the cluster allows it) and gets a producer id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn new(cluster: &mut Cluster, topic: &str) -> Result<Self, ClientError> {
        let topic = cluster.topic(topic, true).await?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        let started = tokio::time::Instant::now();
        let answer = loop {
            let answer = cluster
                .call(ApiKey::InitProducerId, 4, RequestKind::InitProducerId(request.clone()))
                .await?;
            let ResponseKind::InitProducerId(answer) = answer else {
                return Err(ClientError::Other("a wrong answer".into()));
            };
            match ErrorCode::from_code(answer.error_code) {
                ErrorCode::None => break answer,
                error
                    if started.elapsed() < DELIVERY
                        && (retriable(error) || error == ErrorCode::CoordinatorLoadInProgress) =>
                {
                    tokio::time::sleep(BACKOFF).await;
                }
                error => {
                    return Err(ClientError::Kafka {
                        what: "producer id".into(),
                        error,
                        message: None,
                    });
                }
            }
        };
        Ok(Self {
            topic,
            id: ProducerId(answer.producer_id.0),
            epoch: ProducerEpoch(answer.producer_epoch),
            sequences: BTreeMap::new(),
            next_keyless: 0,
        })
    }

    /// Writes the records, in order within a partition, and returns (partition, offset) of each batch once every
    /// in-sync replica has it.
    ///
    /// # Errors
    /// [`ClientError`]; records of earlier partitions may have been written.
    pub async fn send(&mut self, cluster: &mut Cluster, records: &[Outgoing]) -> Result<Vec<(i32, i64)>, ClientError> {
        let partitions = i32::try_from(self.topic.partitions.len()).unwrap_or(i32::MAX).max(1);
        // Records without a key stay together for one call: fuller batches (KIP-480).
        let keyless = self.next_keyless % partitions;
        self.next_keyless = (keyless + 1) % partitions;
        let mut by_partition: BTreeMap<i32, Vec<&Outgoing>> = BTreeMap::new();
        for record in records {
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) if partition >= partitions => {
                    return Err(ClientError::Other(format!(
                        "topic {} has partitions 0 to {}; there is no partition {partition}",
                        self.topic.name,
                        partitions - 1
                    )));
                }
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of_key(key, partitions),
                (None, None) => keyless,
            };
            by_partition.entry(partition).or_default().push(record);
        }
        let mut written = Vec::new();
        for (partition, records) in by_partition {
            let mut from = 0;
            while from < records.len() {
                let mut bytes = 0;
                let count = records[from..]
                    .iter()
                    .take_while(|record| {
                        let size = record.key.as_ref().map_or(0, Bytes::len)
                            + record.value.as_ref().map_or(0, Bytes::len)
                            + 64;
                        let fits = bytes == 0 || bytes + size <= BATCH_BYTES;
                        bytes += size;
                        fits
                    })
                    .count();
                let offset = self
                    .send_batch(cluster, partition, &records[from..from + count])
                    .await?;
                written.push((partition, offset));
                from += count;
            }
        }
        Ok(written)
    }

    async fn send_batch(
        &mut self,
        cluster: &mut Cluster,
        partition: i32,
        records: &[&Outgoing],
    ) -> Result<i64, ClientError> {
        let sequence = *self.sequences.get(&partition).unwrap_or(&0);
        let mut batch = BatchBuilder::new(Compression::None).producer(self.id, self.epoch, sequence);
        for record in records {
            batch.push(
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &record.headers,
            );
        }
        let batch = batch.build();
        let started = tokio::time::Instant::now();
        loop {
            match self.try_batch(cluster, partition, batch.clone()).await {
                Ok(offset) => {
                    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
                    // Sequences wrap to 0 after 2^31 - 1 (KIP-98).
                    let next = (i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1);
                    self.sequences.insert(partition, i32::try_from(next).unwrap_or(0));
                    return Ok(offset);
                }
                Err(error) if error.is_retriable() && started.elapsed() < DELIVERY => {
                    tokio::time::sleep(BACKOFF).await;
                    match cluster.topic(&self.topic.name, false).await {
                        Ok(topic) => self.topic = topic,
                        Err(error) if error.is_retriable() => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_batch(&self, cluster: &mut Cluster, partition: i32, batch: Bytes) -> Result<i64, ClientError> {
        let what = || format!("{} partition {partition}", self.topic.name);
        let leader = self
            .topic
            .partitions
            .iter()
            .find(|p| p.index == partition)
            .map_or(-1, |p| p.leader);
        if leader < 0 {
            return Err(ClientError::Kafka {
                what: what(),
                error: ErrorCode::LeaderNotAvailable,
                message: None,
            });
        }
        let data = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.name.clone())))
            .with_partition_data(vec![
                PartitionProduceData::default()
                    .with_index(partition)
                    .with_records(Some(batch)),
            ]);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(REQUEST_TIMEOUT_MS)
            .with_topic_data(vec![data]);
        let answer = cluster
            .call_node(leader, ApiKey::Produce, 9, RequestKind::Produce(request))
            .await?;
        let ResponseKind::Produce(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        let result = answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses)
            .next();
        let result = result.ok_or_else(|| ClientError::Other("an empty answer".into()))?;
        ClientError::check(what(), result.error_code, result.error_message.map(|m| m.to_string()))?;
        Ok(result.base_offset)
    }
}
