use crate::client::{Client, Led};
use crate::history::{SharedHistory, now_ns, place};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use records::{BatchBuilder, Compression, decode_records, split_batches, verify_crc};
use std::collections::BTreeMap;
use std::time::Duration;
use types::{ErrorCode, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use uuid::Uuid;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, ProduceRequest,
    RequestKind, ResponseKind, TopicName,
};

/// Strict, three replicas: what it acknowledged is never lost.
pub const STRICT: &str = "sim";
pub const STRICT_PARTITIONS: i32 = 3;
/// Relaxed: acknowledged in memory. Nothing may be lost as long as no more than one machine stops at a time.
pub const RELAXED: &str = "soft";
/// Deleted and created again all the time, strict.
pub const BRIEF: &str = "brief";
/// Keeps little: retention and DeleteRecords take what is old.
pub const SHORT: &str = "short";

/// Name, partitions, configs.
pub type TopicPlan = (&'static str, i32, &'static [(&'static str, &'static str)]);

/// Every topic.
pub const TOPICS: &[TopicPlan] = &[
    (STRICT, STRICT_PARTITIONS, &[("segment.ms", "9000")]),
    (RELAXED, 2, &[("flush.messages", "100000")]),
    (BRIEF, 2, &[]),
    (
        SHORT,
        1,
        &[
            ("segment.ms", "2000"),
            ("retention.ms", "6000"),
            ("file.delete.delay.ms", "1000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "zstd"),
        ],
    ),
];

/// A producer stops waiting for one batch after this and takes a new producer id, since whether that batch is in the
/// log is then unknown.
const DELIVERY: Duration = Duration::from_secs(15);

#[must_use]
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Partitions of a topic of ours.
#[must_use]
pub fn partitions_of(topic: &str) -> i32 {
    TOPICS
        .iter()
        .find(|(name, ..)| *name == topic)
        .map_or(0, |known| known.1)
}

/// One attempt to create a topic of ours. Whether it is there.
pub async fn create(client: &mut Client, node: usize, topic: &str) -> bool {
    let Some((name, partitions, configs)) = TOPICS.iter().find(|(name, ..)| *name == topic) else {
        return false;
    };
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
    });
    let creatable = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(*partitions)
        .with_replication_factor(3)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable])
        .with_timeout_ms(1_000);
    let answer = client
        .call(node, ApiKey::CreateTopics, 5, &RequestKind::CreateTopics(request))
        .await;
    let Ok(ResponseKind::CreateTopics(answer)) = answer else {
        return false;
    };
    let code = answer.topics.first().map_or(-1, |topic| topic.error_code);
    matches!(
        ErrorCode::from_code(code),
        ErrorCode::None | ErrorCode::TopicAlreadyExists
    )
}

/// Creates every topic, however long that takes.
pub async fn create_all(client: &mut Client, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for (topic, ..) in TOPICS {
        while !create(client, random.random_range(0..client.nodes()), topic).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An idempotent producer: one batch in flight, sent again until it is acknowledged or given up as unknown.
struct Producer {
    client: Client,
    random: SmallRng,
    name: String,
    value: u64,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// By topic id: another topic of the same name is another log.
    sequences: BTreeMap<(Uuid, i32), i32>,
    history: SharedHistory,
}

/// What became of a batch.
enum Delivered {
    At(i64),
    /// Certainly nowhere.
    Refused,
    Unknown,
}

pub async fn produce(client: Client, seed: u64, number: u64, history: SharedHistory, until: Duration) {
    let mut producer = Producer {
        client,
        random: SmallRng::seed_from_u64(seed),
        name: format!("p{number}"),
        value: (number + 1) << 32,
        identity: None,
        sequences: BTreeMap::new(),
        history,
    };
    create_all(&mut producer.client, seed).await;
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        producer.one_batch().await;
        let pause = producer.random.random_range(1..40);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

impl Producer {
    async fn one_batch(&mut self) {
        let Some((id, epoch)) = self.identity else {
            self.identity = init(&mut self.client, &mut self.random).await;
            self.sequences.clear();
            return;
        };
        let (topic, partitions, _) = TOPICS[match self.random.random_range(0..10) {
            0..6 => 0,
            6..8 => 1,
            8 => 2,
            _ => 3,
        }];
        let partition = self.random.random_range(0..partitions);
        // Now and then without acknowledgement by others: the fate is then unknown from the start.
        let acks = if self.random.random_bool(0.03) { 1 } else { -1 };
        let Some(led) = self.client.leader(topic, partition) else {
            self.look_around(topic).await;
            return;
        };
        let count = self.random.random_range(1..4);
        let sequence = self.sequences.get(&(led.topic_id, partition)).copied().unwrap_or(0);
        let batch = self.batch(count).producer(id, epoch, sequence);
        let batch = self.fill(batch, count);
        let at = place(topic, led.topic_id, partition);
        let sent: Vec<u64> = (0..count)
            .map(|index| self.history.borrow_mut().send(&self.name, &at, self.value + index))
            .collect();
        self.value += count;
        match self.deliver(topic, led, partition, acks, batch).await {
            Delivered::At(offset) if acks == -1 => {
                let mut history = self.history.borrow_mut();
                for (offset, sent) in (offset..).zip(sent) {
                    history.sent(&self.name, sent, offset);
                }
                let next = sequence + i32::try_from(count).unwrap_or(0);
                self.sequences.insert((led.topic_id, partition), next);
            }
            Delivered::Refused => {
                for sent in sent {
                    self.history.borrow_mut().not_sent(&self.name, sent, true);
                }
            }
            _ => {
                for sent in sent {
                    self.history.borrow_mut().not_sent(&self.name, sent, false);
                }
                self.identity = None;
            }
        }
    }

    fn batch(&mut self, _count: u64) -> BatchBuilder {
        let compression = match self.random.random_range(0..8) {
            0 => Compression::Gzip,
            1 => Compression::Snappy,
            2 => Compression::Lz4,
            3 => Compression::Zstd,
            _ => Compression::None,
        };
        BatchBuilder::new(compression)
    }

    fn fill(&mut self, mut batch: BatchBuilder, count: u64) -> Bytes {
        let now_ms = 1_700_000_000_000
            + i64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_millis()).unwrap_or_default();
        let len = match self.random.random_range(0..30) {
            0 => self.random.random_range(2_000..40_000),
            _ => self.random.random_range(0..200),
        };
        for index in 0..count {
            let mut value = (self.value + index).to_be_bytes().to_vec();
            value.resize(value.len() + len, (index & 0xff) as u8);
            batch.push(now_ms, None, Some(&value), &[]);
        }
        batch.build()
    }

    async fn look_around(&mut self, topic: &str) {
        let node = self.random.random_range(0..self.client.nodes());
        // An error is answered by asking again.
        let _ = self.client.refresh(node, topic).await;
        let pause = self.random.random_range(10..60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn deliver(&mut self, topic: &str, first: Led, partition: i32, acks: i16, batch: Bytes) -> Delivered {
        let started = tokio::time::Instant::now();
        let mut attempts = 0;
        while started.elapsed() < DELIVERY {
            let Some(led) = self.client.leader(topic, partition) else {
                self.look_around(topic).await;
                continue;
            };
            if led.topic_id != first.topic_id {
                return Delivered::Unknown;
            }
            attempts += 1;
            let data = PartitionProduceData::default()
                .with_index(partition)
                .with_records(Some(batch.clone()));
            let data = TopicProduceData::default()
                .with_topic_id(led.topic_id)
                .with_partition_data(vec![data]);
            let request = ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(acks)
                .with_timeout_ms(1_000)
                .with_topic_data(vec![data]);
            let answer = self
                .client
                .call(led.node, ApiKey::Produce, 13, &RequestKind::Produce(request))
                .await;
            if let Ok(ResponseKind::Produce(answer)) = answer
                && let Some(result) = answer
                    .responses
                    .iter()
                    .flat_map(|topic| &topic.partition_responses)
                    .next()
            {
                match ErrorCode::from_code(result.error_code) {
                    ErrorCode::None => return Delivered::At(result.base_offset),
                    // Checked before anything is written.
                    ErrorCode::NotEnoughReplicas if attempts == 1 && self.random.random_bool(0.2) => {
                        return Delivered::Refused;
                    }
                    // The producer's state is gone or ahead: this id is of no more use.
                    ErrorCode::OutOfOrderSequenceNumber
                    | ErrorCode::UnknownProducerId
                    | ErrorCode::InvalidProducerEpoch
                    | ErrorCode::UnknownTopicId => return Delivered::Unknown,
                    _ => {}
                }
            }
            self.look_around(topic).await;
        }
        Delivered::Unknown
    }
}

async fn init(client: &mut Client, random: &mut SmallRng) -> Option<(ProducerId, ProducerEpoch)> {
    let node = random.random_range(0..client.nodes());
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    match client
        .call(node, ApiKey::InitProducerId, 2, &RequestKind::InitProducerId(request))
        .await
    {
        Ok(ResponseKind::InitProducerId(answer)) if answer.error_code == 0 => {
            Some((ProducerId(answer.producer_id.0), ProducerEpoch(answer.producer_epoch)))
        }
        _ => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// A record as a consumer gets it: offset, value (none where it is not what a producer wrote), leader epoch.
pub type Read = (i64, Option<u64>, i32);

/// A consumer of its own choice of partitions at the tail, which now and then begins from the start.
pub async fn consume(mut client: Client, seed: u64, number: u64, history: SharedHistory, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut worker = Consumer {
        name: format!("c{number}"),
        positions: BTreeMap::new(),
        history,
    };
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        let (topic, partitions, _) = TOPICS[random.random_range(0..TOPICS.len())];
        let partition = random.random_range(0..partitions);
        let Some(led) = client.leader(topic, partition) else {
            let node = random.random_range(0..client.nodes());
            let _ = client.refresh(node, topic).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(5..30))).await;
            continue;
        };
        if random.random_bool(0.02) {
            worker.seek(topic, led.topic_id, partition, 0);
        }
        if random.random_bool(0.05) {
            worker.ask_bounds(&mut client, topic, led, partition).await;
        }
        let position = worker.position(topic, led.topic_id, partition);
        // A follower serves what it knows to be committed (KIP-392).
        let node = if random.random_bool(0.1) {
            random.random_range(0..client.nodes())
        } else {
            led.node
        };
        let led = Led { node, ..led };
        match fetch(&mut client, led, partition, position, 100).await {
            Ok(records) => worker.took(topic, led.topic_id, partition, &records),
            Err(FetchError::OutOfRange) => {
                if let Ok(told) = bounds(&mut client, topic, led, partition).await {
                    worker.seek(topic, led.topic_id, partition, told.start);
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(5..30))).await;
            }
            Err(FetchError::Other(_)) => {
                let node = random.random_range(0..client.nodes());
                let _ = client.refresh(node, topic).await;
                tokio::time::sleep(Duration::from_millis(random.random_range(10..60))).await;
            }
        }
    }
}

/// What a consumer is assigned and where it stands.
pub struct Consumer {
    pub name: String,
    pub positions: BTreeMap<String, i64>,
    pub history: SharedHistory,
}

impl Consumer {
    /// Where it goes on: what is not assigned is from now on.
    pub fn position(&mut self, topic: &str, id: Uuid, partition: i32) -> i64 {
        let at = place(topic, id, partition);
        if !self.positions.contains_key(&at) {
            self.positions.insert(at.clone(), 0);
            let all: Vec<String> = self.positions.keys().cloned().collect();
            let mut history = self.history.borrow_mut();
            history.assign(&self.name, &all, None);
            // To be assigned anew is to go on: nothing is skipped, and so says whoever reads on.
        }
        self.positions.get(&at).copied().unwrap_or(0)
    }

    pub fn seek(&mut self, topic: &str, id: Uuid, partition: i32, offset: i64) {
        let at = place(topic, id, partition);
        if self.positions.insert(at.clone(), offset).is_some() {
            self.history.borrow_mut().seek(&self.name, &at, offset);
        }
    }

    async fn ask_bounds(&self, client: &mut Client, topic: &str, led: Led, partition: i32) {
        let asked_at = now_ns();
        if let Ok(told) = bounds(client, topic, led, partition).await {
            let tp = TopicPartition {
                topic: TopicId(led.topic_id),
                partition,
            };
            self.history.borrow_mut().bounds(&self.name, asked_at, topic, tp, told);
        }
    }

    pub fn took(&mut self, topic: &str, id: Uuid, partition: i32, records: &[Read]) {
        let Some((last, ..)) = records.last() else { return };
        let at = place(topic, id, partition);
        self.positions.insert(at.clone(), last + 1);
        self.history.borrow_mut().poll(&self.name, &at, records);
    }
}

/// Why there are no records.
#[derive(Debug)]
pub enum FetchError {
    OutOfRange,
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for FetchError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Committed records of a partition from `position` on, as many as one answer has.
///
/// # Errors
/// Anything but an answer with records or none.
pub async fn fetch(
    client: &mut Client,
    led: Led,
    partition: i32,
    position: i64,
    wait_ms: i32,
) -> Result<Vec<Read>, FetchError> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(led.leader_epoch)
        .with_fetch_offset(position)
        .with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default()
        .with_topic_id(led.topic_id)
        .with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![wanted]);
    let answer = client
        .call(led.node, ApiKey::Fetch, 13, &RequestKind::Fetch(request))
        .await?;
    let ResponseKind::Fetch(answer) = answer else {
        return Err(anyhow::anyhow!("a wrong answer").into());
    };
    let mut found = Vec::new();
    for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => return Err(FetchError::OutOfRange),
            error => return Err(anyhow::anyhow!("{error:?}").into()),
        }
        read_batches(&data.records.unwrap_or_default(), position, &mut found)?;
    }
    Ok(found)
}

/// Every record from `position` on. What is damaged is a record without a value.
fn read_batches(bytes: &Bytes, position: i64, found: &mut Vec<Read>) -> anyhow::Result<()> {
    for batch in split_batches(bytes) {
        // Kafka's answers may end in the middle of a batch.
        let Ok(batch) = batch else { break };
        if !verify_crc(&batch.bytes) {
            found.push((
                batch.header.base_offset.0.max(position),
                None,
                batch.header.leader_epoch.0,
            ));
            continue;
        }
        for record in decode_records(&batch, 1 << 20)? {
            if record.offset.0 >= position {
                let value = record.value.as_deref().and_then(|value| value.first_chunk().copied());
                let epoch = batch.header.leader_epoch.0;
                found.push((record.offset.0, value.map(u64::from_be_bytes), epoch));
            }
        }
    }
    Ok(())
}

/// Log start and high watermark, and the leader epoch in which they are told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub start: i64,
    pub end: i64,
    pub leader_epoch: i32,
}

/// Log start and high watermark, as ListOffsets tells them.
///
/// # Errors
/// That nobody says.
pub async fn bounds(client: &mut Client, topic: &str, led: Led, partition: i32) -> anyhow::Result<Bounds> {
    let mut told = [(0, -1); 2];
    for (timestamp, told) in [-2, -1].into_iter().zip(&mut told) {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(led.leader_epoch)
            .with_timestamp(timestamp);
        let wanted = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![wanted]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![wanted]);
        let answer = client
            .call(led.node, ApiKey::ListOffsets, 6, &RequestKind::ListOffsets(request))
            .await?;
        let ResponseKind::ListOffsets(answer) = answer else {
            anyhow::bail!("a wrong answer")
        };
        let partition = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let partition = partition.ok_or_else(|| anyhow::anyhow!("no answer"))?;
        anyhow::ensure!(partition.error_code == 0, "error {}", partition.error_code);
        *told = (partition.offset, partition.leader_epoch);
    }
    let [(start, _), (end, leader_epoch)] = told;
    Ok(Bounds {
        start,
        end,
        leader_epoch,
    })
}

/// The whole content of every partition of `topic`, once the cluster has healed, told to the history.
///
/// # Errors
/// A partition that cannot be read within the simulated minute.
pub async fn read_all(client: &mut Client, seed: u64, topic: &str, history: &SharedHistory) -> anyhow::Result<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    let started = tokio::time::Instant::now();
    let mut last = anyhow::anyhow!("it is not led");
    for partition in 0..partitions_of(topic) {
        let (mut position, mut all) = (None, Vec::new());
        loop {
            anyhow::ensure!(
                started.elapsed() < Duration::from_secs(60),
                "{topic}-{partition} cannot be read after {} records: {last:#}",
                all.len()
            );
            match read_on(client, topic, partition, &mut position, &mut all).await {
                Ok(Some((led, bounds))) => {
                    let at = place(topic, led.topic_id, partition);
                    history.borrow_mut().scanned(&at, &all, bounds);
                    break;
                }
                Ok(None) => {}
                Err(error) => {
                    last = error;
                    let node = random.random_range(0..client.nodes());
                    let _ = client.refresh(node, topic).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    Ok(())
}

/// One answer more; the bounds, once everything between them was read.
async fn read_on(
    client: &mut Client,
    topic: &str,
    partition: i32,
    position: &mut Option<i64>,
    all: &mut Vec<Read>,
) -> anyhow::Result<Option<(Led, (i64, i64))>> {
    let led = client
        .leader(topic, partition)
        .ok_or_else(|| anyhow::anyhow!("no leader is known"))?;
    let Bounds { start, end, .. } = bounds(client, topic, led, partition).await?;
    let from = position.get_or_insert(start);
    if *from < start {
        // Retention was faster.
        all.clear();
        *from = start;
    }
    if *from >= end {
        return Ok(Some((led, (start, end))));
    }
    match fetch(client, led, partition, *from, 300).await {
        Ok(records) => {
            *from = records.last().map_or(*from, |(offset, ..)| offset + 1);
            all.extend(records);
            Ok(None)
        }
        Err(FetchError::OutOfRange) => anyhow::bail!("{from} is out of range"),
        Err(FetchError::Other(error)) => Err(error),
    }
}
