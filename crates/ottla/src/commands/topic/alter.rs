//! `ottla topic alter`.

use super::configs::{Config, configs};
use super::{TIMEOUT_MS, TOPIC};
use crate::client::{ClientError, Cluster};
use crate::commands::Format;
use anyhow::bail;
use serde_json::json;
use wire::messages::create_partitions_request::CreatePartitionsTopic;
use wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use wire::messages::{CreatePartitionsRequest, IncrementalAlterConfigsRequest, RequestKind, ResponseKind, TopicName};
use wire::{ApiKey, StrBytes};

/// Numbers of KIP-339's operations.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// What of a topic is to be another.
pub struct Alteration {
    pub name: String,
    pub partitions: Option<i32>,
    /// name=value
    pub set: Vec<(String, String)>,
    pub delete: Vec<String>,
}

impl Alteration {
    /// # Errors
    /// What is wrong with the arguments.
    pub fn new(
        name: String,
        partitions: Option<i32>,
        config: &[String],
        delete_config: Vec<String>,
    ) -> anyhow::Result<Self> {
        if partitions.is_none() && config.is_empty() && delete_config.is_empty() {
            bail!("nothing to alter: say --partitions, --config name=value or --delete-config name");
        }
        let set = super::pairs(config)?;
        let mut names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(delete_config.iter().map(String::as_str));
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("{} is named twice: say once what becomes of it", twice[0]);
        }
        Ok(Self {
            name,
            partitions,
            set,
            delete: delete_config,
        })
    }

    /// All or, where something is refused, nothing: both requests are tried before one is sent in earnest.
    pub async fn run(&self, cluster: &mut Cluster, format: Format) -> anyhow::Result<()> {
        let known: Vec<Config> = configs(cluster, &self.name).await?;
        if let Some(unknown) = self
            .delete
            .iter()
            .find(|name| known.iter().all(|config| config.name != **name))
        {
            bail!(
                "--delete-config {unknown}: topics have no config of this name; `ottla topic describe {}` shows what is set",
                self.name
            );
        }
        for validate_only in [true, false] {
            if !(self.set.is_empty() && self.delete.is_empty()) {
                self.alter_configs(cluster, validate_only).await?;
            }
            if let Some(count) = self.partitions {
                self.create_partitions(cluster, count, validate_only).await?;
            }
        }
        match format {
            Format::Text => println!("altered topic {}: {}", self.name, self.summary()),
            Format::Json => println!(
                "{}",
                json!({"name": self.name, "partitions": self.partitions, "deleted": self.delete,
                       "set": self.set.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()})
            ),
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let partitions = self.partitions.map(|count| format!("{count} partitions"));
        let set = self.set.iter().map(|(name, value)| format!("{name}={value}"));
        let deleted = self.delete.iter().map(|name| format!("{name} as it is by default"));
        partitions
            .into_iter()
            .chain(set)
            .chain(deleted)
            .collect::<Vec<_>>()
            .join(", ")
    }

    async fn alter_configs(&self, cluster: &mut Cluster, validate_only: bool) -> anyhow::Result<()> {
        let config = |name: &String, operation, value: Option<&String>| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_config_operation(operation)
                .with_value(value.map(|value| StrBytes::from_string(value.clone())))
        };
        let set = self.set.iter().map(|(name, value)| config(name, SET, Some(value)));
        let deleted = self.delete.iter().map(|name| config(name, DELETE, None));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(StrBytes::from_string(self.name.clone()))
            .with_configs(set.chain(deleted).collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let request = RequestKind::IncrementalAlterConfigs(request);
        let answer = cluster.call(ApiKey::IncrementalAlterConfigs, 1, request).await?;
        let ResponseKind::IncrementalAlterConfigs(answer) = answer else {
            bail!("a wrong answer")
        };
        for result in answer.responses {
            let message = result.error_message.map(|m| m.to_string());
            ClientError::check(format!("topic {}", self.name), result.error_code, message)?;
        }
        Ok(())
    }

    async fn create_partitions(&self, cluster: &mut Cluster, count: i32, validate_only: bool) -> anyhow::Result<()> {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_string(self.name.clone())))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(TIMEOUT_MS)
            .with_validate_only(validate_only);
        let request = RequestKind::CreatePartitions(request);
        let ResponseKind::CreatePartitions(answer) = cluster.call(ApiKey::CreatePartitions, 3, request).await? else {
            bail!("a wrong answer")
        };
        for result in answer.results {
            let message = result.error_message.map(|m| m.to_string());
            ClientError::check(format!("topic {}", self.name), result.error_code, message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_say_what_is_wrong() {
        let new = |partitions, config: &[&str], delete: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Alteration::new("t".into(), partitions, &owned(config), owned(delete))
        };
        let error = |alteration: anyhow::Result<Alteration>| alteration.err().unwrap().to_string();
        assert!(error(new(None, &[], &[])).starts_with("nothing to alter"));
        assert_eq!(error(new(None, &["a"], &[])), "--config a: wants name=value");
        assert!(error(new(Some(3), &["a=1"], &["a"])).starts_with("a is named twice"));
        let alteration = new(Some(3), &["a=1", "b=x=y"], &["c"]).unwrap();
        assert_eq!(alteration.summary(), "3 partitions, a=1, b=x=y, c as it is by default");
    }
}
