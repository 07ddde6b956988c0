use bytes::Bytes;
use host::{Net, Stream};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;
use wire::StrBytes;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{MetadataRequest, MetadataResponse, RequestKind, ResponseKind, TopicName};
use wire::{ApiKey, FrameReader};

const ANSWER: Duration = Duration::from_millis(1_500);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A Kafka client on the simulated network: one connection per node, given up at the first trouble.
pub struct Client {
    net: crate::sim_net::SimNet,
    nodes: Vec<String>,
    port: u16,
    connections: BTreeMap<usize, (Box<dyn Stream>, FrameReader)>,
    correlation: i32,
    topics: BTreeMap<String, Topic>,
}

/// A topic as Metadata told of it last.
#[derive(Debug, Clone, Default)]
struct Topic {
    id: Uuid,
    leaders: BTreeMap<i32, (usize, i32)>,
}

/// Where a partition is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    pub topic_id: Uuid,
    pub node: usize,
    pub leader_epoch: i32,
}

impl Client {
    #[must_use]
    pub fn new(nodes: Vec<String>, port: u16) -> Self {
        Self {
            net: crate::sim_net::SimNet,
            nodes,
            port,
            connections: BTreeMap::new(),
            correlation: 0,
            topics: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where the partition was led when Metadata was asked last.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Led> {
        let topic = self.topics.get(topic)?;
        let (node, leader_epoch) = *topic.leaders.get(&partition)?;
        Some(Led {
            topic_id: topic.id,
            node,
            leader_epoch,
        })
    }

    /// The topic's id, when Metadata was asked last.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.topics.get(topic).map(|topic| topic.id)
    }

    /// # Errors
    /// Whatever went wrong; the connection is then given up.
    pub async fn call(
        &mut self,
        node: usize,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> anyhow::Result<ResponseKind> {
        self.call_within(ANSWER, node, key, version, request).await
    }

    /// [`Client::call`] for what may take longer.
    ///
    /// # Errors
    /// As it.
    pub async fn call_within(
        &mut self,
        limit: Duration,
        node: usize,
        key: ApiKey,
        version: i16,
        request: &RequestKind,
    ) -> anyhow::Result<ResponseKind> {
        // The connection goes back only after a whole exchange.
        let connection = self.connections.remove(&node);
        self.correlation += 1;
        let frame: Bytes = wire::client::encode_request(key, version, self.correlation, "sim", request)?;
        let exchange = async {
            let (mut stream, mut reader) = match connection {
                Some(connection) => connection,
                None => (
                    self.net.dial(&self.nodes[node], self.port).await?,
                    FrameReader::new(ANSWER_BYTES_MAX),
                ),
            };
            stream.write_all(&frame).await?;
            let answer = reader
                .next(&mut stream)
                .await?
                .ok_or_else(|| anyhow::anyhow!("closed"))?;
            anyhow::Ok((stream, reader, answer))
        };
        let (stream, reader, answer) = tokio::time::timeout(limit, exchange).await??;
        let (_, response) = wire::client::decode_response(key, version, answer)?;
        self.connections.insert(node, (stream, reader));
        Ok(response)
    }

    /// How many replicas of each partition of `topic` are in sync, as `node` sees it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn in_sync(&mut self, node: usize, topic: &str) -> anyhow::Result<Vec<usize>> {
        let answer = self.metadata(node, topic).await?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.map(|partition| partition.isr_nodes.len()).collect())
    }

    /// # Errors
    /// As [`Client::call`]; a cluster that is not founded.
    pub async fn cluster_id(&mut self, node: usize, topic: &str) -> anyhow::Result<String> {
        let answer = self.metadata(node, topic).await?;
        let id = answer.cluster_id.ok_or_else(|| anyhow::anyhow!("no cluster"))?;
        Ok(id.to_string())
    }

    async fn metadata(&mut self, node: usize, topic: &str) -> anyhow::Result<MetadataResponse> {
        let wanted =
            MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(topic.to_owned()))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(false);
        let answer = self
            .call(node, ApiKey::Metadata, 12, &RequestKind::Metadata(request))
            .await?;
        match answer {
            ResponseKind::Metadata(answer) => Ok(answer),
            _ => anyhow::bail!("a wrong answer"),
        }
    }

    /// Asks `node` where the partitions of `topic` are led.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn refresh(&mut self, node: usize, topic: &str) -> anyhow::Result<()> {
        let answer = self.metadata(node, topic).await?;
        self.topics.remove(topic);
        for found in answer.topics.iter().filter(|found| found.error_code == 0) {
            let leaders = found.partitions.iter().filter_map(|partition| {
                let leader = usize::try_from(partition.leader_id.0).ok()?;
                let led = (leader, partition.leader_epoch);
                (leader < self.nodes.len()).then_some((partition.partition_index, led))
            });
            let known = Topic {
                id: found.topic_id,
                leaders: leaders.collect(),
            };
            self.topics.insert(topic.to_owned(), known);
        }
        Ok(())
    }
}
