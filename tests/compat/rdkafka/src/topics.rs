//! Administration.

use futures_executor::block_on;
use rdkafka::admin::{
    AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::driver::{Driver, TIMEOUT, partitions, text};
use crate::refusal::Refusal;

impl Driver {
    pub fn administrate(&mut self, request: &Value) -> Result<Value, Refusal> {
        let admin = self.admin()?;
        let options = AdminOptions::new();
        let number = |name: &str| i32::try_from(request[name].as_i64().unwrap_or_default()).unwrap_or_default();
        let configs = || request["configs"].as_object().into_iter().flatten();
        let name = text(request, "name");
        let topic = text(request, "topic");
        match text(request, "do") {
            "create_topic" => {
                let mut wanted = NewTopic::new(
                    name,
                    number("partitions"),
                    TopicReplication::Fixed(number("replication")),
                );
                for (name, value) in configs() {
                    wanted = wanted.set(name, value.as_str().unwrap_or_default());
                }
                each(block_on(admin.create_topics(&[wanted], &options))?)
            }
            "delete_topic" => each(block_on(admin.delete_topics(&[name], &options))?),
            "create_partitions" => {
                let wanted = NewPartitions::new(name, usize::try_from(number("count")).unwrap_or_default());
                each(block_on(admin.create_partitions(&[wanted], &options))?)
            }
            "topics" => {
                let metadata = admin.inner().fetch_metadata(None, TIMEOUT)?;
                Ok(json!({"topics": metadata.topics().iter().map(|topic| topic.name()).collect::<Vec<_>>()}))
            }
            "partitions" => {
                let metadata = admin.inner().fetch_metadata(Some(name), TIMEOUT)?;
                Ok(json!({"partitions": metadata.topics().first().map_or(0, |topic| topic.partitions().len())}))
            }
            "configs" => {
                let found = block_on(admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options))?;
                let mut answer = serde_json::Map::new();
                for resource in found {
                    answer.extend(
                        resource?
                            .entries
                            .into_iter()
                            .map(|entry| (entry.name, json!(entry.value))),
                    );
                }
                Ok(json!({"configs": answer}))
            }
            "alter_configs" => {
                let mut wanted = AlterConfig::new(ResourceSpecifier::Topic(topic));
                for (name, value) in configs() {
                    wanted = wanted.set(name, value.as_str().unwrap_or_default());
                }
                for result in block_on(admin.alter_configs(&[wanted], &options))? {
                    result.map_err(|(_, code)| code)?;
                }
                Ok(json!({}))
            }
            "delete_records" => {
                let mut wanted = TopicPartitionList::new();
                for (partition, offset) in partitions(&request["offsets"]) {
                    wanted.add_partition_offset(
                        topic,
                        partition,
                        Offset::Offset(offset.as_i64().unwrap_or_default()),
                    )?;
                }
                for element in block_on(admin.delete_records(&wanted, &options))?.elements() {
                    element.error()?;
                }
                Ok(json!({}))
            }
            _ => Err(Refusal::Cannot("the driver has no such request")),
        }
    }
}

fn each(results: Vec<TopicResult>) -> Result<Value, Refusal> {
    for result in results {
        result.map_err(|(_, code)| code)?;
    }
    Ok(json!({}))
}
