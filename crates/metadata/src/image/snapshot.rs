use super::{ApplyError, Image};
use crate::Record;
use types::{LogIndex, TopicPartition};

impl Image {
    /// Records that make this image out of an empty one. The index is not among them.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(cluster_id) = &self.cluster_id {
            records.push(Record::Cluster {
                cluster_id: cluster_id.clone(),
            });
        }
        records.push(Record::MetadataVersion {
            version: self.metadata_version,
        });
        records.extend(
            self.members
                .values()
                .map(|member| Record::Member(Box::new((**member).clone()))),
        );
        records.push(Record::NextRaftId {
            next: self.next_raft_id,
        });
        records.extend(
            self.brokers
                .values()
                .map(|broker| Record::Broker(Box::new((**broker).clone()))),
        );
        records.extend(self.drained.iter().map(|node_id| Record::NodeDrained {
            node_id: *node_id,
            drained: true,
        }));
        for (node_id, configs) in &self.broker_configs {
            records.extend(configs.iter().map(|(name, value)| Record::BrokerConfig {
                node_id: *node_id,
                name: name.clone(),
                value: Some(value.clone()),
            }));
        }
        for topic in self.topics.values() {
            records.push(Record::Topic {
                id: topic.id,
                name: topic.name.clone(),
                internal: topic.internal,
                configs: topic.configs.clone(),
                created_short: topic.created_short,
            });
            records.extend(
                (0i32..)
                    .zip(&topic.partitions)
                    .map(|(number, partition)| Record::Partition {
                        tp: TopicPartition {
                            topic: topic.id,
                            partition: number,
                        },
                        partition: Box::new((**partition).clone()),
                    }),
            );
        }
        records.push(Record::NextProducerId {
            next: self.next_producer_id,
        });
        records
    }

    /// The image that a snapshot taken after the entry at `index` describes.
    ///
    /// # Errors
    /// [`ApplyError`] if the records are not such a snapshot.
    pub fn from_snapshot(index: LogIndex, records: &[Record]) -> Result<Self, ApplyError> {
        let mut image = Self::default();
        for record in records {
            image.apply(index, record)?;
        }
        image.index = index;
        Ok(image)
    }
}
