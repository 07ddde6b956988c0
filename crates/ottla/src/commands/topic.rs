//! `ottla topic`: a file for each action that is more than one request.

mod alter;
mod configs;
mod delete_records;
mod describe;

use super::{Common, Format};
use crate::client::{ClientError, Cluster};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::create_topics_response::CreatableTopicResult;
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::{CreateTopicsRequest, DeleteTopicsRequest, RequestKind, ResponseKind, TopicName};

/// `ConfigResource.Type.TOPIC`.
const TOPIC: i8 = 2;
const TIMEOUT_MS: i32 = 30_000;

#[derive(Debug, Args)]
pub struct Topic {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a topic
    #[command(after_help = "Example: ottla topic create orders --partitions 6 --config retention.ms=3600000")]
    Create {
        name: String,
        /// Number of partitions; the brokers' num.partitions if not given
        #[arg(long, short)]
        partitions: Option<i32>,
        /// Number of replicas; the brokers' default (3) if not given
        #[arg(long, short)]
        replication_factor: Option<i16>,
        /// A topic property, name=value
        #[arg(long, short)]
        config: Vec<String>,
    },
    /// List the topics
    #[command(after_help = "Example: ottla topic list --format json")]
    List,
    /// Show partitions, leaders, replicas and configs of a topic, or of all
    #[command(after_help = "Example: ottla topic describe orders")]
    Describe { name: Option<String> },
    /// Add partitions to a topic, or set its configs
    #[command(after_help = "Example: ottla topic alter orders --partitions 12 --config retention.ms=3600000")]
    Alter {
        name: String,
        /// Number of partitions that the topic is to have; it can only grow
        #[arg(long, short)]
        partitions: Option<i32>,
        /// A topic property to set, name=value
        #[arg(long, short)]
        config: Vec<String>,
        /// A topic property that is to be as it is by default again
        #[arg(long)]
        delete_config: Vec<String>,
    },
    /// Delete the oldest records of a topic: before an offset, or all that are there
    #[command(after_help = "Example: ottla topic delete-records orders --partition 0 --before 1000")]
    DeleteRecords {
        name: String,
        /// Only of this partition
        #[arg(long, short)]
        partition: Option<i32>,
        /// The first offset that is kept; without it everything that is committed goes
        #[arg(long)]
        before: Option<i64>,
    },
    /// Delete a topic and its records
    #[command(after_help = "Example: ottla topic delete orders")]
    Delete { name: String },
}

impl Topic {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut cluster = Cluster::new(&self.common.bootstrap);
        let format = self.common.format;
        match self.action {
            Action::Create {
                name,
                partitions,
                replication_factor,
                config,
            } => {
                create(
                    &mut cluster,
                    format,
                    &name,
                    partitions.unwrap_or(-1),
                    replication_factor.unwrap_or(-1),
                    &config,
                )
                .await
            }
            Action::List => list_topics(&mut cluster, format).await,
            Action::Describe { name } => describe::describe(&mut cluster, format, name).await,
            Action::Alter {
                name,
                partitions,
                config,
                delete_config,
            } => {
                let alteration = alter::Alteration::new(name, partitions, &config, delete_config)?;
                alteration.run(&mut cluster, format).await
            }
            Action::DeleteRecords {
                name,
                partition,
                before,
            } => delete_records::delete_records(&mut cluster, format, &name, partition, before).await,
            Action::Delete { name } => delete(&mut cluster, format, &name).await,
        }
    }
}

/// The values of `--config`.
pub(super) fn pairs(configs: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let pair = |config: &String| match config.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("--config {config}: wants name=value"),
    };
    configs.iter().map(pair).collect()
}

async fn create(
    cluster: &mut Cluster,
    format: Format,
    name: &str,
    partitions: i32,
    replication_factor: i16,
    configs: &[String],
) -> anyhow::Result<()> {
    let result = ask_to_create(cluster, name, partitions, replication_factor, pairs(configs)?).await?;
    match format {
        Format::Text => println!(
            "created topic {name}: {} partitions, {} replicas each",
            result.num_partitions, result.replication_factor
        ),
        Format::Json => println!(
            "{}",
            json!({"name": name, "id": result.topic_id.to_string(), "partitions": result.num_partitions,
                   "replication_factor": result.replication_factor})
        ),
    }
    Ok(())
}

/// Creates a topic; -1 for what the brokers are to decide.
pub(super) async fn ask_to_create(
    cluster: &mut Cluster,
    name: &str,
    partitions: i32,
    replication_factor: i16,
    configs: Vec<(String, String)>,
) -> Result<CreatableTopicResult, ClientError> {
    let config = |(name, value): (String, String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(name))
            .with_value(Some(StrBytes::from_string(value)))
    };
    let pairs = configs.into_iter().map(config).collect();
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
        .with_configs(pairs);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(TIMEOUT_MS);
    let answer = cluster
        .call(ApiKey::CreateTopics, 7, RequestKind::CreateTopics(request))
        .await?;
    let ResponseKind::CreateTopics(answer) = answer else {
        return Err(ClientError::Other("a wrong answer".into()));
    };
    let result = answer.topics.into_iter().next();
    let result = result.ok_or_else(|| ClientError::Other("an empty answer".into()))?;
    let message = result.error_message.as_ref().map(ToString::to_string);
    ClientError::check(format!("topic {name}"), result.error_code, message)?;
    Ok(result)
}

async fn list_topics(cluster: &mut Cluster, format: Format) -> anyhow::Result<()> {
    let topics = cluster.topics(None, false).await?;
    match format {
        Format::Text => {
            for topic in topics {
                println!("{}", topic.name);
            }
        }
        Format::Json => {
            let list: Vec<_> = topics
                .iter()
                .map(|t| json!({"name": t.name, "id": t.id.to_string(), "partitions": t.partitions.len(), "internal": t.internal}))
                .collect();
            println!("{}", serde_json::to_string_pretty(&list)?);
        }
    }
    Ok(())
}

async fn delete(cluster: &mut Cluster, format: Format, name: &str) -> anyhow::Result<()> {
    ask_to_delete(cluster, name).await?;
    match format {
        Format::Text => println!("deleted topic {name}"),
        Format::Json => println!("{}", json!({"deleted": name})),
    }
    Ok(())
}

pub(super) async fn ask_to_delete(cluster: &mut Cluster, name: &str) -> Result<(), ClientError> {
    let topic_name = TopicName(StrBytes::from_string(name.to_owned()));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name.clone()))])
        .with_topic_names(vec![topic_name])
        .with_timeout_ms(TIMEOUT_MS);
    // Version 5 names topics in `topic_names`, 6 in `topics`; each version encodes only its own.
    let answer = match cluster
        .call(
            ApiKey::DeleteTopics,
            6,
            RequestKind::DeleteTopics(request.clone().with_topic_names(Vec::new())),
        )
        .await
    {
        Err(ClientError::Version(..)) => {
            cluster
                .call(
                    ApiKey::DeleteTopics,
                    5,
                    RequestKind::DeleteTopics(request.with_topics(Vec::new())),
                )
                .await?
        }
        other => other?,
    };
    let ResponseKind::DeleteTopics(answer) = answer else {
        return Err(ClientError::Other("a wrong answer".into()));
    };
    for result in answer.responses {
        ClientError::check(
            format!("topic {name}"),
            result.error_code,
            result.error_message.map(|m| m.to_string()),
        )?;
    }
    Ok(())
}
