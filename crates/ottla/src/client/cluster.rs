use super::{ClientError, Connection};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::metadata_request::MetadataRequestTopic;
use wire::messages::{MetadataRequest, RequestKind, ResponseKind, TopicName};

/// How long a command goes on asking while leaders move.
const PATIENCE: Duration = Duration::from_secs(20);
const BACKOFF: Duration = Duration::from_millis(50);

/// A partition as Metadata describes it.
#[derive(Debug, Clone)]
pub struct Partition {
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
}

/// A topic as Metadata describes it.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub id: uuid::Uuid,
    pub internal: bool,
    /// Ascending by index.
    pub partitions: Vec<Partition>,
}

/// Connections to the nodes of a cluster and what the last Metadata said.
pub struct Cluster {
    bootstrap: Vec<String>,
    any: Option<Connection>,
    brokers: BTreeMap<i32, String>,
    leaders: BTreeMap<i32, Connection>,
}

impl Cluster {
    /// `bootstrap`: addresses separated by commas, the port 9092 where none is given.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        let bootstrap = bootstrap
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(|address| {
                if address.contains(':') {
                    address.to_owned()
                } else {
                    format!("{address}:9092")
                }
            })
            .collect();
        Self {
            bootstrap,
            any: None,
            brokers: BTreeMap::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// Asks any node.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if none of the bootstrap addresses and known brokers answers.
    pub async fn call(&mut self, key: ApiKey, max: i16, request: RequestKind) -> Result<ResponseKind, ClientError> {
        if let Some(connection) = &mut self.any {
            match connection.call(key, max, request.clone()).await {
                Err(ClientError::Broken(..)) => self.any = None,
                other => return other,
            }
        }
        let mut last = ClientError::Unreachable("no address given".into());
        let addresses: Vec<String> = self.bootstrap.iter().chain(self.brokers.values()).cloned().collect();
        for address in addresses {
            match Connection::open(&address).await {
                Ok(mut connection) => match connection.call(key, max, request.clone()).await {
                    Err(error @ ClientError::Broken(..)) => last = error,
                    other => {
                        self.any = Some(connection);
                        return other;
                    }
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks one node by its id.
    ///
    /// # Errors
    /// As [`Connection::call`]; [`ClientError::Unreachable`] if the id is not in the last Metadata.
    pub async fn call_node(
        &mut self,
        node: i32,
        key: ApiKey,
        max: i16,
        request: RequestKind,
    ) -> Result<ResponseKind, ClientError> {
        if !self.leaders.contains_key(&node) {
            let Some(address) = self.brokers.get(&node).cloned() else {
                return Err(ClientError::Unreachable(format!(
                    "node {node} is not known or not alive"
                )));
            };
            self.leaders.insert(node, Connection::open(&address).await?);
        }
        let Some(connection) = self.leaders.get_mut(&node) else {
            return Err(ClientError::Unreachable(format!("node {node}")));
        };
        let answer = connection.call(key, max, request).await;
        if matches!(answer, Err(ClientError::Broken(..))) {
            self.leaders.remove(&node);
        }
        answer
    }

    /// Topics by name, or all.
    ///
    /// # Errors
    /// [`ClientError::Kafka`] with the name of the first topic that has an error.
    pub async fn topics(&mut self, names: Option<&[String]>, create: bool) -> Result<Vec<Topic>, ClientError> {
        let topics = names.map(|names| {
            names
                .iter()
                .map(|name| {
                    MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name.clone()))))
                })
                .collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(create);
        let answer = self.call(ApiKey::Metadata, 12, RequestKind::Metadata(request)).await?;
        let ResponseKind::Metadata(answer) = answer else {
            return Err(ClientError::Other("a wrong answer".into()));
        };
        self.brokers = answer
            .brokers
            .iter()
            .map(|b| (b.node_id.0, format!("{}:{}", b.host, b.port)))
            .collect();
        let mut topics = Vec::new();
        for topic in answer.topics {
            let name = topic.name.map(|name| name.0.to_string()).unwrap_or_default();
            ClientError::check(format!("topic {name}"), topic.error_code, None)?;
            let mut partitions: Vec<Partition> = topic
                .partitions
                .iter()
                .map(|p| Partition {
                    index: p.partition_index,
                    leader: p.leader_id.0,
                    leader_epoch: p.leader_epoch,
                    replicas: p.replica_nodes.iter().map(|node| node.0).collect(),
                    isr: p.isr_nodes.iter().map(|node| node.0).collect(),
                    offline: p.offline_replicas.iter().map(|node| node.0).collect(),
                })
                .collect();
            partitions.sort_by_key(|partition| partition.index);
            topics.push(Topic {
                name,
                id: topic.topic_id,
                internal: topic.is_internal,
                partitions,
            });
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic, with patience while it is being created.
    ///
    /// # Errors
    /// As [`Cluster::topics`], once patience has run out.
    pub async fn topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        let names = [name.to_owned()];
        let started = tokio::time::Instant::now();
        loop {
            match self.topics(Some(&names), create).await {
                Ok(mut topics) if topics.len() == 1 => return Ok(topics.remove(0)),
                Ok(_) => return Err(ClientError::Other(format!("topic {name}: no answer about it"))),
                Err(error) if error.is_retriable() && create && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(BACKOFF).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where a node is, as another answer said.
    pub fn know(&mut self, node: i32, address: String) {
        self.brokers.insert(node, address);
    }

    /// Brokers of the last Metadata: id and address.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<i32, String> {
        &self.brokers
    }
}
