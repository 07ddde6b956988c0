use anyhow::Context;
use bytes::{Buf, Bytes};
use records::{BatchBuilder, Compression};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use types::ErrorCode;
use wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wire::messages::{ProduceRequest, RequestKind, ResponseKind, TopicName};
use wire::{ApiKey, FrameReader, StrBytes};

/// The newest version that names topics by name.
const PRODUCE_VERSION: i16 = 9;
const REQUEST_TIMEOUT_MS: i32 = 30_000;
/// Answers to Produce are small.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const CONNECT: Duration = Duration::from_secs(3);
/// Length (4), API key (2), version (2), then the correlation id (4).
const CORRELATION_AT: usize = 8;

/// A Produce request that is sent again and again; only its correlation id changes.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    head: Bytes,
    rest: Bytes,
    pub records: u64,
    /// Of the batch.
    pub bytes: u64,
}

/// What a Produce request is made of, beside its records.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub topic: String,
    pub acks: i16,
    pub compression: Compression,
}

impl Shape {
    /// One batch for one partition.
    pub fn frame<'a>(
        &self,
        partition: i32,
        timestamp: i64,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> anyhow::Result<Frame> {
        let mut batch = BatchBuilder::new(self.compression);
        for value in values {
            batch.push(timestamp, None, Some(value), &[]);
        }
        let (records, batch) = (batch.len() as u64, batch.build());
        let bytes = batch.len() as u64;
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(self.acks)
            .with_timeout_ms(REQUEST_TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        let request = RequestKind::Produce(request);
        let frame = wire::client::encode_request(ApiKey::Produce, PRODUCE_VERSION, 0, "ottla-bench", &request)
            .context("a Produce request cannot be encoded")?;
        Ok(Frame {
            head: frame.slice(..CORRELATION_AT),
            rest: frame.slice(CORRELATION_AT + 4..),
            records,
            bytes,
        })
    }
}

/// Many requests in flight on one connection: this end sends.
pub(super) struct Sender {
    stream: OwnedWriteHalf,
    correlation: i32,
}

/// The end that reads the answers, which come in the order of the requests.
pub(super) struct Receiver {
    stream: OwnedReadHalf,
    reader: FrameReader,
}

pub(super) async fn open(address: &str) -> anyhow::Result<(Sender, Receiver)> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
        .await
        .with_context(|| format!("{address}: no connection within {} s", CONNECT.as_secs()))?
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let sender = Sender {
        stream: write,
        correlation: 0,
    };
    let receiver = Receiver {
        stream: read,
        reader: FrameReader::new(ANSWER_BYTES_MAX),
    };
    Ok((sender, receiver))
}

impl Sender {
    pub async fn send(&mut self, frame: &Frame) -> std::io::Result<()> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut head = [0; CORRELATION_AT + 4];
        head[..CORRELATION_AT].copy_from_slice(&frame.head);
        head[CORRELATION_AT..].copy_from_slice(&self.correlation.to_be_bytes());
        let mut whole = Bytes::copy_from_slice(&head).chain(frame.rest.clone());
        self.stream.write_all_buf(&mut whole).await
    }
}

impl Receiver {
    /// The next answer: the error of its one partition.
    pub async fn answer(&mut self) -> anyhow::Result<ErrorCode> {
        let frame = self.reader.next(&mut self.stream).await?;
        let frame = frame.context("the node closed the connection")?;
        let (_, answer) = wire::client::decode_response(ApiKey::Produce, PRODUCE_VERSION, frame)?;
        let ResponseKind::Produce(answer) = answer else {
            anyhow::bail!("a wrong answer");
        };
        let partition = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        let code = partition.map(|partition| partition.error_code).next();
        Ok(ErrorCode::from_code(code.context("an empty answer")?))
    }
}
