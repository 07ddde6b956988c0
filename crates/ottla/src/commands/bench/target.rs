use super::reading::Reading;
use crate::client::{ClientError, Cluster, Topic};
use crate::commands::topic::{ask_to_create, pairs};
use anyhow::bail;
use clap::Args;
use std::collections::BTreeMap;
use std::time::Duration;
use types::ErrorCode;

/// Time for every partition of a new topic to have a leader.
const LEADERS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The topic that is written or read.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// The topic; made if it is not there
    #[arg(long, default_value = "ottla-bench")]
    pub topic: String,
    /// Partitions, where it is made
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub partitions: i32,
    /// Replicas of each, where it is made; the brokers' default if not given
    #[arg(long)]
    pub replication_factor: Option<i16>,
    /// A topic property where it is made, name=value
    #[arg(long, short)]
    pub config: Vec<String>,
}

/// Partitions by the address of their leader.
pub(super) type Leaders = BTreeMap<String, Vec<i32>>;

impl Target {
    /// Makes the topic if need be, and finds its leaders.
    pub async fn leaders(&self, cluster: &mut Cluster) -> anyhow::Result<Leaders> {
        let factor = self.replication_factor.unwrap_or(-1);
        let made = ask_to_create(cluster, &self.topic, self.partitions, factor, pairs(&self.config)?).await;
        match made {
            Ok(_)
            | Err(ClientError::Kafka {
                error: ErrorCode::TopicAlreadyExists,
                ..
            }) => {}
            Err(error) => return Err(error.into()),
        }
        let leaders = self.found(cluster).await?;
        // A leader that was only just chosen may not know it yet: each is asked until it does.
        Reading::positions(cluster, &self.topic, true).await?;
        Ok(leaders)
    }

    /// The leaders of a topic that is there.
    pub async fn found(&self, cluster: &mut Cluster) -> anyhow::Result<Leaders> {
        let until = tokio::time::Instant::now() + LEADERS_WITHIN;
        loop {
            match cluster.topic(&self.topic, false).await {
                Ok(topic) => {
                    if let Some(leaders) = by_leader(&topic, cluster.brokers()) {
                        return Ok(leaders);
                    }
                }
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error.into()),
            }
            if tokio::time::Instant::now() > until {
                bail!(
                    "not every partition of {} has a leader (`ottla why {}` says why)",
                    self.topic,
                    self.topic
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// `None` while a partition has no leader.
fn by_leader(topic: &Topic, brokers: &BTreeMap<i32, String>) -> Option<Leaders> {
    let mut leaders = Leaders::new();
    for partition in &topic.partitions {
        let address = brokers.get(&partition.leader)?;
        leaders.entry(address.clone()).or_default().push(partition.index);
    }
    Some(leaders).filter(|leaders| !leaders.is_empty())
}
