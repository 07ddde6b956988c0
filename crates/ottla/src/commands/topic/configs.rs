use super::TOPIC;
use crate::client::{ClientError, Cluster};
use anyhow::bail;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::{DescribeConfigsRequest, RequestKind, ResponseKind};
use wire::{ApiKey, StrBytes};

/// `ConfigSource.DEFAULT_CONFIG` (KIP-226).
const DEFAULT: i8 = 5;

/// A config of a topic as it is in force.
pub struct Config {
    pub name: String,
    pub value: String,
    source: i8,
}

impl Config {
    pub fn is_default(&self) -> bool {
        self.source == DEFAULT
    }

    /// Who set it, in the words of these commands.
    pub fn source(&self) -> &'static str {
        match self.source {
            1 => "topic",
            2 => "this broker",
            3 => "all brokers",
            4 => "broker's properties",
            DEFAULT => "default",
            _ => "unknown",
        }
    }
}

/// All configs of a topic.
pub async fn configs(cluster: &mut Cluster, topic: &str) -> anyhow::Result<Vec<Config>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()));
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
            format!("topic {topic}"),
            result.error_code,
            result.error_message.map(|m| m.to_string()),
        )?;
        found.extend(result.configs.into_iter().map(|config| Config {
            name: config.name.to_string(),
            value: config.value.map(|v| v.to_string()).unwrap_or_default(),
            source: config.config_source,
        }));
    }
    Ok(found)
}
