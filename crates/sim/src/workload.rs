use crate::client::Client;
use crate::history::History;
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use records::{BatchBuilder, Compression, decode_records, split_batches};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::{ErrorCode, ProducerEpoch, ProducerId};
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::create_topics_request::CreatableTopic;
use wire::messages::fetch_request::{FetchPartition, FetchTopic};
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest, RequestKind, ResponseKind,
    TopicName,
};

/// The topic of the run, strict, three replicas.
pub const TOPIC: &str = "sim";
pub const PARTITIONS: i32 = 3;
/// A producer stops waiting for one batch after this and takes a new producer id, since whether that batch is in the
/// log is then unknown.
const DELIVERY: Duration = Duration::from_secs(15);

pub type SharedHistory = Rc<RefCell<History>>;

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// Creates the topic, however long that takes.
pub async fn create(client: &mut Client, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        let node = random.random_range(0..client.nodes());
        let creatable = CreatableTopic::default()
            .with_name(topic())
            .with_num_partitions(PARTITIONS)
            .with_replication_factor(3);
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(1_000);
        if let Ok(ResponseKind::CreateTopics(answer)) = client
            .call(node, ApiKey::CreateTopics, 5, &RequestKind::CreateTopics(request))
            .await
        {
            let code = answer.topics.first().map_or(-1, |topic| topic.error_code);
            if matches!(
                ErrorCode::from_code(code),
                ErrorCode::None | ErrorCode::TopicAlreadyExists
            ) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An idempotent producer: one batch in flight, sent again until it is acknowledged or given up as unknown.
pub async fn produce(mut client: Client, seed: u64, number: u64, history: SharedHistory, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    create(&mut client, seed).await;
    let mut value = number << 32;
    let mut identity: Option<(ProducerId, ProducerEpoch)> = None;
    let mut sequences: BTreeMap<i32, i32> = BTreeMap::new();
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        let Some((id, epoch)) = identity else {
            identity = init(&mut client, &mut random).await;
            sequences.clear();
            continue;
        };
        let partition = random.random_range(0..PARTITIONS);
        let count = random.random_range(1..4);
        let sequence = sequences.get(&partition).copied().unwrap_or(0);
        let mut batch = BatchBuilder::new(Compression::None).producer(id, epoch, sequence);
        for index in 0..count {
            batch.push(1_700_000_000_000, None, Some(&(value + index).to_be_bytes()), &[]);
        }
        match deliver(&mut client, &mut random, partition, batch.build()).await {
            Some(offset) => {
                let mut history = history.borrow_mut();
                for index in 0..count {
                    history.acknowledge(partition, offset + i64::try_from(index).unwrap_or(0), value + index);
                }
                sequences.insert(partition, sequence + i32::try_from(count).unwrap_or(0));
            }
            None => {
                history.borrow_mut().unknown += count;
                identity = None;
            }
        }
        value += count;
        tokio::time::sleep(Duration::from_millis(random.random_range(1..40))).await;
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

/// The offset of the batch, or nothing if its fate is unknown.
async fn deliver(client: &mut Client, random: &mut SmallRng, partition: i32, batch: Bytes) -> Option<i64> {
    let started = tokio::time::Instant::now();
    while started.elapsed() < DELIVERY {
        let Some(leader) = client.leader(partition) else {
            let node = random.random_range(0..client.nodes());
            // An error is answered by asking again.
            let _ = client.refresh(node, TOPIC).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(10..60))).await;
            continue;
        };
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch.clone()));
        let data = TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(1_000)
            .with_topic_data(vec![data]);
        if let Ok(ResponseKind::Produce(answer)) = client
            .call(leader, ApiKey::Produce, 8, &RequestKind::Produce(request))
            .await
            && let Some(result) = answer
                .responses
                .iter()
                .flat_map(|topic| &topic.partition_responses)
                .next()
        {
            match ErrorCode::from_code(result.error_code) {
                ErrorCode::None => return Some(result.base_offset),
                // The producer's state is gone or ahead: this id is of no more use.
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch => return None,
                _ => {}
            }
        }
        let node = random.random_range(0..client.nodes());
        let _ = client.refresh(node, TOPIC).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(10..60))).await;
    }
    None
}

/// A consumer at the tail: remembers everything that it sees.
pub async fn consume(mut client: Client, seed: u64, history: SharedHistory, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut positions: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        let partition = random.random_range(0..PARTITIONS);
        // Now and then from the start again: what was read once must be read again.
        if random.random_bool(0.02) {
            positions.insert(partition, 0);
        }
        let position = positions[&partition];
        match fetch(&mut client, partition, position, 200).await {
            Ok(records) => {
                for (offset, value) in records {
                    history.borrow_mut().see(partition, offset, value);
                    positions.insert(partition, offset + 1);
                }
            }
            Err(_) => {
                let node = random.random_range(0..client.nodes());
                let _ = client.refresh(node, TOPIC).await;
                tokio::time::sleep(Duration::from_millis(random.random_range(10..60))).await;
            }
        }
    }
}

/// Committed records of a partition from `position` on, as many as one answer has: (offset, value).
///
/// # Errors
/// Anything but an answer with records or none.
pub async fn fetch(
    client: &mut Client,
    partition: i32,
    position: i64,
    wait_ms: i32,
) -> anyhow::Result<Vec<(i64, u64)>> {
    let leader = client
        .leader(partition)
        .ok_or_else(|| anyhow::anyhow!("no leader known"))?;
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(position)
        .with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default().with_topic(topic()).with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![wanted]);
    let answer = client
        .call(leader, ApiKey::Fetch, 11, &RequestKind::Fetch(request))
        .await?;
    let ResponseKind::Fetch(answer) = answer else {
        anyhow::bail!("a wrong answer")
    };
    let mut found = Vec::new();
    for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
        anyhow::ensure!(data.error_code == 0, "error {}", data.error_code);
        for batch in split_batches(&data.records.unwrap_or_default()) {
            let Ok(batch) = batch else { break };
            for record in decode_records(&batch, 1 << 20)? {
                if record.offset.0 >= position {
                    let value = record
                        .value
                        .as_deref()
                        .and_then(|v| v.try_into().ok())
                        .map_or(u64::MAX, u64::from_be_bytes);
                    found.push((record.offset.0, value));
                }
            }
        }
    }
    Ok(found)
}

/// The whole content of every partition, once the cluster has healed.
///
/// # Errors
/// A partition that cannot be read within the simulated minute.
pub async fn read_all(
    client: &mut Client,
    seed: u64,
    least: &BTreeMap<i32, i64>,
) -> anyhow::Result<BTreeMap<i32, Vec<(i64, u64)>>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut content: BTreeMap<i32, Vec<(i64, u64)>> = BTreeMap::new();
    let started = tokio::time::Instant::now();
    for partition in 0..PARTITIONS {
        let records = content.entry(partition).or_default();
        let mut idle = 0;
        // At the end of the log, or beyond everything that anyone saw, twice in a row.
        while idle < 2 {
            anyhow::ensure!(
                started.elapsed() < Duration::from_secs(60),
                "partition {partition} cannot be read; {} records",
                records.len()
            );
            let position = records.last().map_or(0, |(offset, _)| offset + 1);
            match fetch(client, partition, position, 300).await {
                Ok(more) if more.is_empty() => {
                    let enough = least.get(&partition).is_none_or(|least| position > *least);
                    idle += i32::from(enough || started.elapsed() > Duration::from_secs(40));
                }
                Ok(more) => records.extend(more),
                Err(_) => {
                    let node = random.random_range(0..client.nodes());
                    let _ = client.refresh(node, TOPIC).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    Ok(content)
}
