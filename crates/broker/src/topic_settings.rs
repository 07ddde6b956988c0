use crate::partition::TopicRules;
use logstore::LogConfig;
use metadata::topic_config::{self, Local};
use metadata::{Image, PartitionImage, TopicImage};
use replica::{Durability, PartitionView};

/// What a topic's configuration means for its partitions here.
pub(crate) fn rules_of(image: &Image, local: Local<'_>, topic: &TopicImage, durability: Durability) -> TopicRules {
    let value = |name: &str| topic_config::on_broker(image, local, topic, name);
    let number = |name: &str, default: i64| value(name).parse().unwrap_or(default);
    let default = LogConfig::default();
    let unsigned = |name: &str, default: u32| u32::try_from(number(name, i64::from(default))).unwrap_or(default);
    TopicRules {
        durability,
        log_append_time: value("message.timestamp.type") == "LogAppendTime",
        flush_messages: number("flush.messages", i64::MAX),
        flush_ms: number("flush.ms", i64::MAX),
        log: LogConfig {
            segment_bytes: unsigned("segment.bytes", default.segment_bytes),
            index_interval_bytes: unsigned("index.interval.bytes", default.index_interval_bytes),
            segment_ms: number("segment.ms", default.segment_ms),
            segment_jitter_ms: number("segment.jitter.ms", default.segment_jitter_ms),
            segment_index_bytes: unsigned("segment.index.bytes", default.segment_index_bytes),
            delete: value("cleanup.policy")
                .split(',')
                .any(|policy| policy.trim() == "delete"),
            retention_ms: number("retention.ms", default.retention_ms),
            retention_bytes: number("retention.bytes", default.retention_bytes),
            file_delete_delay_ms: number("file.delete.delay.ms", 60_000).unsigned_abs(),
        },
    }
}

/// The part of the image that the core of a replica looks at.
///
/// ◆ A topic that became relaxed stays strict until the controller has cleared that of every replica: nothing may
/// be acknowledged from memory while an election still trusts the disks.
pub(crate) fn view_of(image: &Image, topic: &TopicImage, partition: &PartitionImage) -> PartitionView {
    let strict = image.is_strict(topic) || !partition.strict.is_empty();
    PartitionView {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        elr: partition.elr.clone(),
        min_isr: image.effective_min_isr(topic, partition),
        durability: if strict {
            Durability::Strict
        } else {
            Durability::Relaxed
        },
        brokers: image.replica_brokers(partition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::topic_config::Effect;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use types::NodeId;

    const NOTHING: &BTreeMap<String, String> = &BTreeMap::new();
    const LOCAL: Local<'static> = Local {
        node: NodeId(1),
        properties: NOTHING,
    };

    #[test]
    fn a_partition_is_strict_until_no_replica_counts_as_strict() {
        for (flush_messages, marked, expected) in [
            ("1", &[][..], Durability::Strict),
            ("1", &[1, 2], Durability::Strict),
            // The topic is relaxed, but an election would still trust a disk.
            ("1000", &[1, 2], Durability::Strict),
            ("1000", &[2], Durability::Strict),
            ("1000", &[], Durability::Relaxed),
        ] {
            let partition = PartitionImage {
                strict: marked.iter().map(|node| NodeId(*node)).collect(),
                ..PartitionImage::default()
            };
            let topic = TopicImage {
                id: types::TopicId(uuid::Uuid::from_u128(1)),
                name: "orders".into(),
                internal: false,
                configs: [("flush.messages".to_owned(), flush_messages.to_owned())].into(),
                partitions: vec![Arc::new(partition.clone())],
                created_short: false,
            };
            let view = view_of(&Image::default(), &topic, &partition);
            assert_eq!(
                view.durability, expected,
                "flush.messages={flush_messages}, strict: {marked:?}"
            );
            assert_eq!(
                rules_of(&Image::default(), LOCAL, &topic, view.durability).durability,
                expected
            );
        }
    }

    /// Whoever sets it: the topic, all brokers, this broker, or its properties.
    #[test]
    fn every_config_of_the_log_has_its_effect() {
        let topic = TopicImage {
            id: types::TopicId(uuid::Uuid::from_u128(1)),
            name: "orders".into(),
            internal: false,
            configs: BTreeMap::new(),
            partitions: Vec::new(),
            created_short: false,
        };
        let rules = |image: &Image, properties: &BTreeMap<String, String>, topic: &TopicImage| {
            let local = Local { properties, ..LOCAL };
            rules_of(image, local, topic, Durability::Relaxed)
        };
        let by_default = rules(&Image::default(), NOTHING, &topic);
        let read = topic_config::TABLE.iter().filter(|known| known.effect == Effect::Log);
        for definition in read {
            let set = |name: &str| BTreeMap::from([(name.to_owned(), "2000000".to_owned())]);
            let synonym = definition.synonym.unwrap();
            let mut own = topic.clone();
            own.configs = set(definition.name);
            let after = rules(&Image::default(), NOTHING, &own);
            assert!(after != by_default, "{}", definition.name);
            let brokers = |node| Image {
                broker_configs: [(node, set(synonym))].into(),
                ..Image::default()
            };
            assert_eq!(rules(&brokers(None), NOTHING, &topic), after, "{synonym}");
            assert_eq!(rules(&brokers(Some(LOCAL.node)), NOTHING, &topic), after, "{synonym}");
            assert_eq!(
                rules(&brokers(Some(NodeId(9))), NOTHING, &topic),
                by_default,
                "{synonym}"
            );
            assert_eq!(rules(&Image::default(), &set(synonym), &topic), after, "{synonym}");
        }
    }
}
