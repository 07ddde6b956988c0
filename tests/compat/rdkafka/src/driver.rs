//! Records and groups. (`topics` has the rest of [`Driver`].)

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::delivery::Deliveries;
use crate::refusal::Refusal;

pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Driver {
    bootstrap: String,
    /// By codec and largest record.
    producers: HashMap<(String, u64), BaseProducer<Deliveries>>,
    consumer: Option<BaseConsumer<Assignment>>,
    admin: Option<AdminClient<DefaultClientContext>>,
}

/// What the group has given to this member.
#[derive(Default)]
struct Assignment {
    subscribed: bool,
    state: Mutex<(Vec<i32>, u64)>,
}

impl ClientContext for Assignment {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        eprintln!("{:.3} {facility}: {message}", since_1970.as_secs_f64());
    }
}

impl ConsumerContext for Assignment {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match rebalance {
            Rebalance::Assign(partitions) => {
                state.0 = partitions
                    .elements()
                    .iter()
                    .map(|element| element.partition())
                    .collect();
                state.0.sort_unstable();
                state.1 += 1;
            }
            Rebalance::Revoke(_) | Rebalance::Error(_) => state.0.clear(),
        }
    }
}

impl Driver {
    pub fn new(bootstrap: String) -> Self {
        Self {
            bootstrap,
            producers: HashMap::new(),
            consumer: None,
            admin: None,
        }
    }

    pub fn answer(&mut self, request: &Value) -> Result<Value, Refusal> {
        match text(request, "do") {
            "hello" => Ok(self.hello()),
            "produce" => self.produce(request),
            "assign" => self.assign(request),
            "subscribe" => self.subscribe(request),
            "poll" => self.poll(request),
            "commit" => self.commit(request),
            "committed" => self.committed(request),
            "close" => {
                self.consumer = None;
                Ok(json!({"records": []}))
            }
            "offsets" => self.offsets(request),
            _ => self.administrate(request),
        }
    }

    fn hello(&self) -> Value {
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        json!({"client": format!("rdkafka 0.39.0, librdkafka {librdkafka}"), "codecs": ["gzip", "snappy", "lz4", "zstd"],
               "lacks": {}, "idempotent": false,
               "unheard": {"alter_configs": "0.39.0 answers Ok whatever the broker says of a resource"}})
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        if let Ok(contexts) = std::env::var("COMPAT_DEBUG") {
            config.set("debug", contexts).set_log_level(RDKafkaLogLevel::Debug);
        }
        config
    }

    fn producer(&mut self, request: &Value) -> Result<&BaseProducer<Deliveries>, Refusal> {
        let codec = request["codec"].as_str().unwrap_or_default().to_owned();
        let record_max = request["record_max"].as_u64().unwrap_or_default();
        let mut config = self.config();
        config.set("acks", "all");
        if !codec.is_empty() {
            config.set("compression.type", &codec);
        }
        if record_max > 0 {
            config.set("message.max.bytes", record_max.to_string());
        }
        Ok(match self.producers.entry((codec, record_max)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(config.create_with_context(Deliveries::default())?)
            }
        })
    }

    fn produce(&mut self, request: &Value) -> Result<Value, Refusal> {
        let producer = self.producer(request)?;
        let records = array(request, "records");
        let pace = Duration::from_millis(request["pace_ms"].as_u64().unwrap_or_default());
        producer.context().expect(records.len());
        for (index, record) in records.iter().enumerate() {
            let (key, value) = (bytes(&record["key"]), bytes(&record["value"]));
            let mut wanted = BaseRecord::with_opaque_to(text(request, "topic"), Box::new(index));
            wanted.key = key.as_deref();
            wanted.payload = value.as_deref();
            wanted.partition = record["partition"]
                .as_i64()
                .and_then(|partition| i32::try_from(partition).ok());
            wanted.timestamp = record["timestamp"].as_i64();
            let mut headers = OwnedHeaders::new();
            for header in record["headers"].as_array().into_iter().flatten() {
                let value = bytes(&header[1]);
                headers = headers.insert(Header {
                    key: header[0].as_str().unwrap_or_default(),
                    value: value.as_ref(),
                });
            }
            wanted.headers = Some(headers);
            send(producer, wanted, index);
            producer.poll(pace);
        }
        producer.flush(Duration::from_secs(170))?;
        Ok(json!({"acks": producer.context().take()}))
    }

    fn open_consumer(
        &mut self,
        mut config: ClientConfig,
        subscribed: bool,
    ) -> Result<&BaseConsumer<Assignment>, Refusal> {
        self.consumer = None;
        config.set("enable.auto.commit", "false");
        let context = Assignment {
            subscribed,
            ..Assignment::default()
        };
        Ok(self.consumer.insert(config.create_with_context(context)?))
    }

    fn consumer(&self) -> Result<&BaseConsumer<Assignment>, Refusal> {
        self.consumer.as_ref().ok_or(Refusal::Cannot("there is no consumer"))
    }

    fn assign(&mut self, request: &Value) -> Result<Value, Refusal> {
        let mut config = self.config();
        config.set("group.id", "compat-assigned");
        let consumer = self.open_consumer(config, false)?;
        let topic = text(request, "topic");
        let mut wanted = TopicPartitionList::new();
        for (partition, start) in partitions(&request["from"]) {
            let offset = if let Some(offset) = start.as_i64() {
                Offset::Offset(offset)
            } else if let Some(timestamp) = start["timestamp"].as_i64() {
                let mut times = TopicPartitionList::new();
                times.add_partition_offset(topic, partition, Offset::Offset(timestamp))?;
                let found = consumer.offsets_for_times(times, TIMEOUT)?;
                found
                    .find_partition(topic, partition)
                    .map_or(Offset::End, |element| element.offset())
            } else {
                Offset::Beginning
            };
            wanted.add_partition_offset(topic, partition, offset)?;
        }
        consumer.assign(&wanted)?;
        Ok(json!({}))
    }

    fn subscribe(&mut self, request: &Value) -> Result<Value, Refusal> {
        let mut config = self.config();
        config
            .set("group.id", text(request, "group"))
            .set("auto.offset.reset", "earliest");
        if let Some(instance) = request["instance"].as_str() {
            config.set("group.instance.id", instance);
        }
        if let Some(session_ms) = request["session_ms"].as_u64() {
            config.set("session.timeout.ms", session_ms.to_string());
        }
        self.open_consumer(config, true)?.subscribe(&[text(request, "topic")])?;
        Ok(json!({}))
    }

    fn poll(&mut self, request: &Value) -> Result<Value, Refusal> {
        let consumer = self.consumer()?;
        let end = Instant::now() + Duration::from_millis(request["timeout_ms"].as_u64().unwrap_or_default());
        let mut records = Vec::new();
        while records.len() < 1_000 {
            // What is there already comes at once; only the first is waited for.
            let wait = if records.is_empty() {
                end.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match consumer.poll(wait) {
                None if !records.is_empty() || Instant::now() >= end => break,
                None => {}
                Some(Ok(message)) => records.push(encoded(&message)),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(consumer
                        .client()
                        .fatal_error()
                        .map_or(code, |(reason, _)| reason)
                        .into());
                }
                // rdkafka hands out as errors what librdkafka says in passing: it connects again by itself.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        if !consumer.context().subscribed {
            return Ok(json!({"records": records}));
        }
        let state = consumer
            .context()
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(json!({"records": records, "assigned": state.0, "rebalances": state.1}))
    }

    fn commit(&mut self, request: &Value) -> Result<Value, Refusal> {
        let consumer = self.consumer()?;
        let subscription = consumer.subscription()?;
        let Some(topic) = subscription
            .elements()
            .first()
            .map(|element| element.topic().to_owned())
        else {
            return Err(Refusal::Cannot("the consumer has no subscription"));
        };
        let mut wanted = TopicPartitionList::new();
        for (partition, offset) in partitions(&request["offsets"]) {
            wanted.add_partition_offset(&topic, partition, Offset::Offset(offset.as_i64().unwrap_or_default()))?;
        }
        consumer.commit(&wanted, CommitMode::Sync)?;
        Ok(json!({}))
    }

    fn committed(&mut self, request: &Value) -> Result<Value, Refusal> {
        let mut wanted = TopicPartitionList::new();
        for partition in array(request, "partitions").iter().filter_map(Value::as_i64) {
            wanted.add_partition(text(request, "topic"), i32::try_from(partition).unwrap_or_default());
        }
        let found = self.consumer()?.committed_offsets(wanted, TIMEOUT)?;
        let offsets: serde_json::Map<_, _> = found
            .elements()
            .iter()
            .map(|element| {
                (
                    element.partition().to_string(),
                    json!(element.offset().to_raw().filter(|offset| *offset >= 0)),
                )
            })
            .collect();
        Ok(json!({"offsets": offsets}))
    }

    fn offsets(&mut self, request: &Value) -> Result<Value, Refusal> {
        let consumer: BaseConsumer = self.config().create()?;
        let mut offsets = serde_json::Map::new();
        for partition in array(request, "partitions").iter().filter_map(Value::as_i64) {
            let (first, end) = consumer.fetch_watermarks(
                text(request, "topic"),
                i32::try_from(partition).unwrap_or_default(),
                TIMEOUT,
            )?;
            offsets.insert(partition.to_string(), json!([first, end]));
        }
        Ok(json!({"offsets": offsets}))
    }

    pub fn admin(&mut self) -> Result<&AdminClient<DefaultClientContext>, Refusal> {
        if self.admin.is_none() {
            self.admin = Some(self.config().create()?);
        }
        self.admin.as_ref().ok_or(Refusal::Cannot("there is no admin client"))
    }
}

/// Hands a record to the client, waiting while its queue is full.
fn send(producer: &BaseProducer<Deliveries>, mut record: BaseRecord<'_, [u8], [u8], Box<usize>>, index: usize) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return producer.context().set(index, Refusal::from(error).answer()),
        }
    }
}

fn encoded(message: &BorrowedMessage<'_>) -> Value {
    let base64 = |data: Option<&[u8]>| data.map(|data| BASE64_STANDARD.encode(data));
    let headers: Vec<Value> = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| json!([header.key, base64(header.value)]))
        .collect();
    json!({"partition": message.partition(), "offset": message.offset(), "key": base64(message.key()),
           "value": base64(message.payload()), "headers": headers, "timestamp": message.timestamp().to_millis()})
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok())
}

pub fn text<'a>(request: &'a Value, name: &str) -> &'a str {
    request[name].as_str().unwrap_or_default()
}

fn array<'a>(request: &'a Value, name: &str) -> &'a [Value] {
    request[name].as_array().map_or(&[], Vec::as_slice)
}

/// The entries of an object whose names are partitions.
pub fn partitions(object: &Value) -> impl Iterator<Item = (i32, &Value)> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
}
