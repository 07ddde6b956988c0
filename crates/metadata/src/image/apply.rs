use super::Image;
use crate::{PartitionImage, Record, TopicImage};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{BrokerEpoch, LogIndex, NodeId, RaftId, ReplicaIncarnation, TopicId, TopicPartition};

/// Why a record does not fit the image. The planners write no such record; one means that the log was
/// damaged or written by another program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("index {index} is below {applied}, which is applied")]
    OldIndex { index: LogIndex, applied: LogIndex },
    #[error("the cluster id is {recorded} and cannot become {wanted}")]
    ClusterId { recorded: String, wanted: String },
    #[error("metadata.version cannot go from {from} to {to}")]
    MetadataVersion { from: u16, to: u16 },
    #[error("no member {0}")]
    UnknownMember(RaftId),
    #[error("no broker {0}")]
    UnknownBroker(NodeId),
    #[error("broker {node} is registered with epoch {recorded}, not {epoch}")]
    BrokerEpoch {
        node: NodeId,
        recorded: BrokerEpoch,
        epoch: BrokerEpoch,
    },
    #[error("no topic {0}")]
    UnknownTopic(TopicId),
    #[error("topic {name} or its id {id} exists")]
    TopicExists { name: String, id: TopicId },
    #[error("partition {tp}: {why}")]
    Partition { tp: TopicPartition, why: &'static str },
    #[error("{what} cannot go back from {from} to {to}")]
    Backwards { what: &'static str, from: u64, to: u64 },
    #[error("{0} is negative or empty")]
    Nonsense(&'static str),
}

impl Image {
    /// Applies one record of the entry at `index`. Deterministic and total.
    ///
    /// # Errors
    /// [`ApplyError`]; the image is then unchanged.
    pub fn apply(&mut self, index: LogIndex, record: &Record) -> Result<(), ApplyError> {
        if index < self.index {
            return Err(ApplyError::OldIndex {
                index,
                applied: self.index,
            });
        }
        match record {
            Record::Cluster { cluster_id } => self.apply_cluster(cluster_id)?,
            Record::MetadataVersion { version } => {
                if *version < self.metadata_version {
                    return Err(ApplyError::MetadataVersion {
                        from: self.metadata_version,
                        to: *version,
                    });
                }
                self.metadata_version = *version;
            }
            Record::Member(member) => {
                let next = member
                    .raft_id
                    .0
                    .checked_add(1)
                    .ok_or(ApplyError::Nonsense("the Raft id's successor"))?;
                self.next_raft_id = self.next_raft_id.max(next);
                self.members.insert(member.raft_id, Arc::new((**member).clone()));
            }
            Record::MemberRemoved { raft_id } => {
                self.members
                    .remove(raft_id)
                    .ok_or(ApplyError::UnknownMember(*raft_id))?;
            }
            Record::NextRaftId { next } => {
                if *next < self.next_raft_id {
                    let from = self.next_raft_id;
                    return Err(ApplyError::Backwards {
                        what: "the next Raft id",
                        from,
                        to: *next,
                    });
                }
                self.next_raft_id = *next;
            }
            Record::Broker(registration) => {
                let mut registration = (**registration).clone();
                if registration.node_id.0 < 0 {
                    return Err(ApplyError::Nonsense("the node id"));
                }
                if registration.broker_epoch == BrokerEpoch(0) {
                    registration.broker_epoch = BrokerEpoch(index.0);
                }
                self.brokers.insert(registration.node_id, Arc::new(registration));
            }
            Record::BrokerChange {
                node_id,
                broker_epoch,
                fenced,
                shutting_down,
                silent,
            } => {
                let broker = self
                    .brokers
                    .get_mut(node_id)
                    .ok_or(ApplyError::UnknownBroker(*node_id))?;
                if broker.broker_epoch != *broker_epoch {
                    let (recorded, epoch) = (broker.broker_epoch, *broker_epoch);
                    return Err(ApplyError::BrokerEpoch {
                        node: *node_id,
                        recorded,
                        epoch,
                    });
                }
                let broker = Arc::make_mut(broker);
                (broker.fenced, broker.shutting_down, broker.silent) = (*fenced, *shutting_down, *silent);
            }
            Record::BrokerRemoved { node_id } => {
                self.brokers
                    .remove(node_id)
                    .ok_or(ApplyError::UnknownBroker(*node_id))?;
                self.drained.remove(node_id);
            }
            Record::Topic {
                id,
                name,
                internal,
                configs,
                created_short,
            } => {
                if name.is_empty() || id.is_zero() {
                    return Err(ApplyError::Nonsense("the topic's name or id"));
                }
                if self.names.contains_key(name) || self.topics.contains_key(id) {
                    return Err(ApplyError::TopicExists {
                        name: name.clone(),
                        id: *id,
                    });
                }
                self.names.insert(name.clone(), *id);
                let topic = TopicImage {
                    id: *id,
                    name: name.clone(),
                    internal: *internal,
                    configs: configs.clone(),
                    partitions: Vec::new(),
                    created_short: *created_short,
                };
                self.topics.insert(*id, Arc::new(topic));
            }
            Record::Partition { tp, partition } => self.apply_partition(index, *tp, partition)?,
            Record::TopicRemoved { id } => {
                let topic = self.topics.remove(id).ok_or(ApplyError::UnknownTopic(*id))?;
                self.names.remove(&topic.name);
            }
            Record::TopicConfig { id, name, value } => {
                let topic = self.topics.get_mut(id).ok_or(ApplyError::UnknownTopic(*id))?;
                set(&mut Arc::make_mut(topic).configs, name, value.as_ref());
            }
            Record::BrokerConfig { node_id, name, value } => {
                let configs = self.broker_configs.entry(*node_id).or_default();
                set(configs, name, value.as_ref());
                if configs.is_empty() {
                    self.broker_configs.remove(node_id);
                }
            }
            Record::NodeDrained { node_id, drained: true } => {
                self.drained.insert(*node_id);
            }
            Record::NodeDrained { node_id, .. } => {
                self.drained.remove(node_id);
            }
            Record::TopicRaised { id } => {
                let topic = self.topics.get_mut(id).ok_or(ApplyError::UnknownTopic(*id))?;
                Arc::make_mut(topic).created_short = false;
            }
            Record::NextProducerId { next } => {
                if *next < self.next_producer_id {
                    let (from, to) = (self.next_producer_id.cast_unsigned(), next.cast_unsigned());
                    return Err(ApplyError::Backwards {
                        what: "the next producer id",
                        from,
                        to,
                    });
                }
                self.next_producer_id = *next;
            }
        }
        self.index = index;
        Ok(())
    }

    /// Applies all records of one entry, or none.
    ///
    /// # Errors
    /// That of the first record that does not fit; the image is then unchanged.
    pub fn apply_all(&mut self, index: LogIndex, records: &[Record]) -> Result<(), ApplyError> {
        let mut next = self.clone();
        for record in records {
            next.apply(index, record)?;
        }
        *self = next;
        Ok(())
    }

    fn apply_cluster(&mut self, cluster_id: &str) -> Result<(), ApplyError> {
        if cluster_id.is_empty() {
            return Err(ApplyError::Nonsense("the cluster id"));
        }
        match &self.cluster_id {
            Some(recorded) if recorded != cluster_id => Err(ApplyError::ClusterId {
                recorded: recorded.clone(),
                wanted: cluster_id.to_owned(),
            }),
            _ => {
                self.cluster_id = Some(cluster_id.to_owned());
                Ok(())
            }
        }
    }

    fn apply_partition(
        &mut self,
        index: LogIndex,
        tp: TopicPartition,
        partition: &PartitionImage,
    ) -> Result<(), ApplyError> {
        let wrong = |why| ApplyError::Partition { tp, why };
        partition.validate().map_err(wrong)?;
        let topic = self
            .topics
            .get_mut(&tp.topic)
            .ok_or(ApplyError::UnknownTopic(tp.topic))?;
        let number = usize::try_from(tp.partition).map_err(|_| wrong("its number is negative"))?;
        let mut partition = partition.clone();
        match topic.partitions.get(number) {
            None if number == topic.partitions.len() => {
                if partition.incarnation == ReplicaIncarnation(0) {
                    partition.incarnation = ReplicaIncarnation(index.0);
                }
                Arc::make_mut(topic).partitions.push(Arc::new(partition));
            }
            None => return Err(wrong("its number is not the topic's next")),
            Some(recorded) => {
                let rises = partition.leader_epoch > recorded.leader_epoch;
                let checks = [
                    (
                        recorded.partition_epoch.0.checked_add(1) != Some(partition.partition_epoch.0),
                        "its partition epoch is not the next",
                    ),
                    (partition.leader_epoch < recorded.leader_epoch, "its leader epoch falls"),
                    (
                        partition.leader != recorded.leader && !rises,
                        "its leader changes without a new leader epoch",
                    ),
                    (partition.incarnation != recorded.incarnation, "its incarnation changes"),
                ];
                if let Some((_, why)) = checks.into_iter().find(|(wrong, _)| *wrong) {
                    return Err(wrong(why));
                }
                if let Some(slot) = Arc::make_mut(topic).partitions.get_mut(number) {
                    *slot = Arc::new(partition);
                }
            }
        }
        Ok(())
    }
}

fn set(configs: &mut BTreeMap<String, String>, name: &str, value: Option<&String>) {
    match value {
        Some(value) => configs.insert(name.to_owned(), value.clone()),
        None => configs.remove(name),
    };
}
