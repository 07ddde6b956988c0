use super::table::{list, table};
use super::{Common, Format};
use crate::client::{ClientError, Cluster};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use wire::messages::delete_topics_request::DeleteTopicState;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, RequestKind, ResponseKind, TopicName,
};

/// `ConfigSource` of a value that was set on the topic itself (KIP-226).
const SET_ON_TOPIC: i8 = 1;
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
    /// Show partitions, leaders and replicas of a topic, or of all
    #[command(after_help = "Example: ottla topic describe orders")]
    Describe { name: Option<String> },
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
            Action::Describe { name } => describe(&mut cluster, format, name).await,
            Action::Delete { name } => delete(&mut cluster, format, &name).await,
        }
    }
}

async fn create(
    cluster: &mut Cluster,
    format: Format,
    name: &str,
    partitions: i32,
    replication_factor: i16,
    configs: &[String],
) -> anyhow::Result<()> {
    let mut pairs = Vec::new();
    for config in configs {
        let Some((key, value)) = config.split_once('=') else {
            bail!("--config {config}: wants name=value")
        };
        pairs.push(
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(key.to_owned()))
                .with_value(Some(StrBytes::from_string(value.to_owned()))),
        );
    }
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
        bail!("a wrong answer")
    };
    for result in answer.topics {
        ClientError::check(
            format!("topic {name}"),
            result.error_code,
            result.error_message.map(|m| m.to_string()),
        )?;
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
    }
    Ok(())
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

async fn describe(cluster: &mut Cluster, format: Format, name: Option<String>) -> anyhow::Result<()> {
    let topics = match name {
        Some(name) => vec![cluster.topic(&name, false).await?],
        None => cluster.topics(None, false).await?,
    };
    let mut output = Vec::new();
    for topic in &topics {
        let configs = configs(cluster, &topic.name).await?;
        match format {
            Format::Text => {
                let shown: Vec<String> = configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                println!(
                    "{}  id {}  {} partitions  {}",
                    topic.name,
                    topic.id,
                    topic.partitions.len(),
                    shown.join(" ")
                );
                let rows: Vec<Vec<String>> = topic
                    .partitions
                    .iter()
                    .map(|p| {
                        let state = match (p.leader < 0, p.isr.len() < p.replicas.len()) {
                            (true, _) => "offline",
                            (false, true) => "under-replicated",
                            (false, false) => "",
                        };
                        vec![
                            p.index.to_string(),
                            if p.leader < 0 {
                                "none".into()
                            } else {
                                p.leader.to_string()
                            },
                            p.leader_epoch.to_string(),
                            list(&p.replicas),
                            list(&p.isr),
                            state.to_owned(),
                        ]
                    })
                    .collect();
                print!(
                    "{}",
                    table(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", ""], &rows)
                );
            }
            Format::Json => output.push(json!({
                "name": topic.name, "id": topic.id.to_string(), "internal": topic.internal,
                "configs": configs.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
                "partitions": topic.partitions.iter().map(|p| json!({
                    "partition": p.index, "leader": p.leader, "leader_epoch": p.leader_epoch, "replicas": p.replicas,
                    "isr": p.isr, "offline": p.offline})).collect::<Vec<_>>(),
            })),
        }
    }
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&output)?);
    }
    Ok(())
}

/// What was set on the topic itself.
async fn configs(cluster: &mut Cluster, name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(name.to_owned()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)]);
    let answer = cluster
        .call(ApiKey::DescribeConfigs, 4, RequestKind::DescribeConfigs(request))
        .await?;
    let ResponseKind::DescribeConfigs(answer) = answer else {
        bail!("a wrong answer")
    };
    let mut found = Vec::new();
    for result in answer.results {
        ClientError::check(
            format!("topic {name}"),
            result.error_code,
            result.error_message.map(|m| m.to_string()),
        )?;
        for config in result.configs {
            if config.config_source == SET_ON_TOPIC {
                found.push((
                    config.name.to_string(),
                    config.value.map(|v| v.to_string()).unwrap_or_default(),
                ));
            }
        }
    }
    Ok(found)
}

async fn delete(cluster: &mut Cluster, format: Format, name: &str) -> anyhow::Result<()> {
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
        bail!("a wrong answer")
    };
    for result in answer.responses {
        ClientError::check(
            format!("topic {name}"),
            result.error_code,
            result.error_message.map(|m| m.to_string()),
        )?;
    }
    match format {
        Format::Text => println!("deleted topic {name}"),
        Format::Json => println!("{}", json!({"deleted": name})),
    }
    Ok(())
}
