//! Configs of topics and brokers: where values come from, how they change, what a change brings with it.

mod fixture;

use fixture::{Cluster, TP, nodes};
use metadata::broker_config;
use metadata::plan::{
    self, AlterConfigs, AlterConfigsResource, ConfigChange, ConfigResource, MarkStrict, MarkStrictPartition,
};
use metadata::topic_config::{self, Effect, Local, Source};
use std::collections::BTreeMap;
use types::{ErrorCode, LeaderEpoch, NodeId};

fn planned(
    cluster: &Cluster,
    resource: ConfigResource,
    name: &str,
    change: ConfigChange,
) -> plan::Plan<Vec<plan::AlteredConfigs>> {
    let resources = vec![AlterConfigsResource {
        resource,
        changes: vec![(name.to_owned(), change)],
        replace: false,
    }];
    let command = AlterConfigs {
        resources,
        validate_only: false,
    };
    plan::alter_configs(&cluster.image, &command)
}

fn alter(cluster: &mut Cluster, resource: ConfigResource, name: &str, change: ConfigChange) -> Option<ErrorCode> {
    let plan = planned(cluster, resource, name, change);
    cluster.apply(&plan.records);
    plan.response[0].error.as_ref().map(|error| error.code)
}

#[test]
fn another_effective_minimum_clears_the_elr() {
    for resource in [ConfigResource::Topic("t".into()), ConfigResource::Broker(None)] {
        let mut cluster = Cluster::with_topic(&[]);
        cluster.fence(2);
        cluster.fence(3);
        assert_eq!(cluster.state(), "1@0 isr 1 elr 3");
        let set = |value: &str| ConfigChange::Set(value.into());
        assert_eq!(
            alter(&mut cluster, resource.clone(), "min.insync.replicas", set("2")),
            None
        );
        assert_eq!(cluster.state(), "1@0 isr 1 elr 3", "the same minimum");
        assert_eq!(alter(&mut cluster, resource, "min.insync.replicas", set("9")), None);
        assert_eq!(cluster.state(), "1@0 isr 1 elr ");
        assert_eq!(
            cluster
                .image
                .effective_min_isr(cluster.image.topic("t").unwrap(), cluster.partition()),
            3
        );
    }
}

#[test]
fn strict_is_cleared_with_the_config_and_set_by_the_broker() {
    let mut cluster = Cluster::with_topic(&[]);
    assert_eq!(cluster.partition().strict, nodes(&[1, 2, 3]));
    let topic = || ConfigResource::Topic("t".into());
    let mark = |cluster: &mut Cluster, strict| {
        let asked = MarkStrictPartition {
            tp: TP,
            leader_epoch: LeaderEpoch(0),
            strict,
        };
        let command = MarkStrict {
            node_id: NodeId(2),
            broker_epoch: cluster.epoch(2),
            partitions: vec![asked],
        };
        let plan = plan::mark_strict(&cluster.image, &command).unwrap();
        cluster.apply(&plan.records);
        plan.response[0].1
    };
    alter(&mut cluster, topic(), "flush.messages", ConfigChange::Set("7".into()));
    assert_eq!(cluster.partition().strict, nodes(&[]));
    assert_eq!(mark(&mut cluster, true), ErrorCode::InvalidRequest);
    alter(&mut cluster, topic(), "flush.messages", ConfigChange::Delete);
    assert_eq!(
        cluster.partition().strict,
        nodes(&[]),
        "not before it is known to be durable"
    );
    assert_eq!(mark(&mut cluster, true), ErrorCode::None);
    assert_eq!(cluster.partition().strict, nodes(&[2]));
    assert_eq!(mark(&mut cluster, false), ErrorCode::None);
    assert_eq!(cluster.partition().strict, nodes(&[]));
}

#[test]
fn configs_change_in_kafkas_ways() {
    let mut cluster = Cluster::with_topic(&[]);
    let topic = || ConfigResource::Topic("t".into());
    let all = || ConfigResource::Broker(None);
    let value = |cluster: &Cluster, name: &str| cluster.image.topic_config(cluster.image.topic("t").unwrap(), name);
    let set = |value: &str| ConfigChange::Set(value.into());
    let append = |value: &str| ConfigChange::Append(value.into());
    let subtract = |value: &str| ConfigChange::Subtract(value.into());
    let steps = [
        (topic(), "cleanup.policy", append("compact"), "delete,compact"),
        (topic(), "cleanup.policy", append("compact"), "delete,compact"),
        (topic(), "cleanup.policy", subtract("delete"), "compact"),
        (topic(), "cleanup.policy", ConfigChange::Delete, "delete"),
        (all(), "log.cleanup.policy", append("compact"), "delete,compact"),
        (topic(), "cleanup.policy", subtract("compact"), "delete"),
        (all(), "log.cleanup.policy", ConfigChange::Delete, "delete"),
        // Nothing is ever deleted, nor compacted (KIP-1161).
        (topic(), "cleanup.policy", subtract("delete"), ""),
        (topic(), "cleanup.policy", set("compact, compact"), "compact"),
        (topic(), "cleanup.policy", ConfigChange::Delete, "delete"),
    ];
    for (resource, name, change, expected) in steps {
        assert_eq!(
            alter(&mut cluster, resource.clone(), name, change.clone()),
            None,
            "{change:?}"
        );
        assert_eq!(value(&cluster, "cleanup.policy"), expected, "{resource:?} {change:?}");
    }
    assert_eq!(alter(&mut cluster, all(), "log.retention.ms", set("5")), None);
    assert_eq!(value(&cluster, "retention.ms"), "5");
    assert_eq!(alter(&mut cluster, topic(), "retention.ms", set(" 6 ")), None);
    assert_eq!(value(&cluster, "retention.ms"), "6");
    // A name that nobody knows and nothing is set for: nothing to remove, as in Kafka.
    assert_eq!(alter(&mut cluster, topic(), "nope", ConfigChange::Delete), None);
    // Kafka 3 had it; it would only be shown.
    assert_eq!(alter(&mut cluster, topic(), "message.format.version", set("3.0")), None);
    assert_eq!(cluster.image.topic("t").unwrap().configs.len(), 1);
}

/// Codes and words of Kafka 4 (`ConfigurationControlManager`, `ControllerConfigurationValidator`,
/// `DynamicBrokerConfig`).
#[test]
fn changes_of_configs_are_refused_in_kafkas_words() {
    let topic = |name: &str| ConfigResource::Topic(name.into());
    let one = || ConfigResource::Broker(Some(NodeId(1)));
    let all = || ConfigResource::Broker(None);
    let set = |value: &str| ConfigChange::Set(value.into());
    let append = |value: &str| ConfigChange::Append(value.into());
    use ErrorCode::{InvalidConfig, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition};
    let cases = [
        (
            topic("t"),
            "retention.ms",
            append("1"),
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            topic("t"),
            "nope",
            set("1"),
            InvalidConfig,
            "Unknown topic config name: nope",
        ),
        (
            topic("t"),
            "remote.storage.enable",
            set("true"),
            InvalidConfig,
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
        (
            topic("t"),
            "max.compaction.lag.ms",
            set("9"),
            InvalidConfig,
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)",
        ),
        (
            topic(""),
            "retention.ms",
            set("1"),
            InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            topic("a b"),
            "retention.ms",
            set("1"),
            InvalidTopicException,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            topic("x"),
            "retention.ms",
            ConfigChange::Delete,
            UnknownTopicOrPartition,
            "The topic 'x' does not exist.",
        ),
        (
            topic("x"),
            "nope",
            set("1"),
            InvalidConfig,
            "Unknown topic config name: nope",
        ),
        (
            one(),
            "min.insync.replicas",
            set("1"),
            InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            all(),
            "min.insync.replicas",
            ConfigChange::Delete,
            InvalidConfig,
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ),
        (
            one(),
            "unclean.leader.election.enable",
            set("true"),
            InvalidConfig,
            "unclean.leader.election.enable cannot be altered for a single broker",
        ),
        (
            all(),
            "log.retention.ms",
            append("1"),
            InvalidConfig,
            "Config value append is not allowed for config key: log.retention.ms",
        ),
        (
            all(),
            "log.retention.ms",
            set("soon"),
            InvalidRequest,
            "Invalid value soon for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            all(),
            "log.retention.hours",
            set("1"),
            InvalidRequest,
            "Cannot update these configs dynamically: [log.retention.hours]",
        ),
    ];
    for (resource, name, change, code, message) in cases {
        let mut cluster = Cluster::with_topic(&[("min.compaction.lag.ms", "10")]);
        alter(&mut cluster, all(), "min.insync.replicas", set("2"));
        let plan = planned(&cluster, resource.clone(), name, change.clone());
        let error = plan.response[0].error.clone().unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (code, message),
            "{resource:?} {name} {change:?}"
        );
        assert!(plan.records.is_empty());
    }
    let mut cluster = Cluster::with_topic(&[]);
    let long = "0:1,".repeat(9_000) + "0:1";
    let throttled = "leader.replication.throttled.replicas";
    assert_eq!(
        alter(&mut cluster, topic("t"), throttled, set(&long)),
        Some(InvalidConfig)
    );
    let gone = ConfigResource::Broker(Some(NodeId(9)));
    assert_eq!(
        alter(&mut cluster, gone, "log.retention.ms", set("1")),
        Some(ErrorCode::BrokerIdNotRegistered)
    );
}

/// KIP-133: AlterConfigs names everything that is to be set; nothing of a resource changes if any of it is wrong.
#[test]
fn the_old_command_replaces_what_it_does_not_name() {
    let mut cluster = Cluster::with_topic(&[("segment.ms", "5"), ("retention.ms", "6")]);
    let replace = |cluster: &mut Cluster, resource, changes: &[(&str, &str)]| {
        let set = |(name, value): &(&str, &str)| ((*name).to_owned(), ConfigChange::Set((*value).to_owned()));
        let resources = vec![AlterConfigsResource {
            resource,
            changes: changes.iter().map(set).collect(),
            replace: true,
        }];
        let command = AlterConfigs {
            resources,
            validate_only: false,
        };
        let plan = plan::alter_configs(&cluster.image, &command);
        cluster.apply(&plan.records);
        plan.response[0].error.as_ref().map(|error| error.code)
    };
    let topic = || ConfigResource::Topic("t".into());
    let wrong = replace(
        &mut cluster,
        topic(),
        &[("segment.bytes", "2000000"), ("flush.ms", "x")],
    );
    assert_eq!(wrong, Some(ErrorCode::InvalidConfig));
    assert_eq!(cluster.image.topic("t").unwrap().configs.len(), 2);
    assert_eq!(
        replace(
            &mut cluster,
            topic(),
            &[("segment.bytes", "2000000"), ("segment.ms", "7")]
        ),
        None
    );
    let expected = [("segment.bytes", "2000000"), ("segment.ms", "7")];
    let expected: BTreeMap<String, String> = expected.map(|(name, value)| (name.into(), value.into())).into();
    assert_eq!(cluster.image.topic("t").unwrap().configs, expected);
    // ◆ The cluster's minimum is not removed by leaving it out either.
    alter(
        &mut cluster,
        ConfigResource::Broker(None),
        "min.insync.replicas",
        ConfigChange::Set("2".into()),
    );
    let refused = replace(&mut cluster, ConfigResource::Broker(None), &[("log.roll.ms", "5")]);
    assert_eq!(refused, Some(ErrorCode::InvalidConfig));
}

/// The topic's own value, then what was set for the broker, for all brokers, in its properties, the default: and
/// log.retention.{ms,minutes,hours} in this order wherever several are set.
#[test]
fn values_come_from_where_kafka_takes_them() {
    use topic_config::Source::{Broker, Default, DefaultBroker, StaticBroker, Topic};
    let mut cluster = Cluster::with_topic(&[]);
    let mut properties = BTreeMap::new();
    let check =
        |cluster: &Cluster, properties: &BTreeMap<String, String>, value: &str, expected: &[(&str, &str, Source)]| {
            let local = Local {
                node: NodeId(1),
                properties,
            };
            let topic = cluster.image.topic("t").unwrap();
            let described = topic_config::describe(&cluster.image, topic, local);
            let line = described
                .iter()
                .find(|line| line.definition.name == "retention.ms")
                .unwrap();
            let synonyms: Vec<_> = line
                .synonyms
                .iter()
                .map(|s| (s.name.as_str(), s.value.as_str(), s.source))
                .collect();
            assert_eq!((line.value.as_str(), &synonyms[..]), (value, expected));
            assert_eq!(line.source, expected.first().map_or(Default, |(_, _, source)| *source));
            assert_eq!(
                topic_config::on_broker(&cluster.image, local, topic, "retention.ms"),
                value
            );
        };
    // As in Kafka, what only synonyms in other units set is not listed: the tools show the value as a default.
    check(&cluster, &properties, "604800000", &[]);
    properties.insert("log.retention.hours".into(), "2".into());
    check(&cluster, &properties, "7200000", &[]);
    properties.insert("log.retention.minutes".into(), "3".into());
    check(&cluster, &properties, "180000", &[]);
    properties.insert("log.retention.ms".into(), "4".into());
    let tail = [
        ("log.retention.ms", "4", StaticBroker),
        ("log.retention.minutes", "3", StaticBroker),
        ("log.retention.hours", "2", StaticBroker),
        ("log.retention.hours", "168", Default),
    ];
    check(&cluster, &properties, "4", &tail);
    let set = |value: &str| ConfigChange::Set(value.into());
    let mut expected = tail.to_vec();
    alter(&mut cluster, ConfigResource::Broker(None), "log.retention.ms", set("5"));
    expected.insert(0, ("log.retention.ms", "5", DefaultBroker));
    check(&cluster, &properties, "5", &expected);
    alter(
        &mut cluster,
        ConfigResource::Broker(Some(NodeId(1))),
        "log.retention.ms",
        set("6"),
    );
    alter(
        &mut cluster,
        ConfigResource::Broker(Some(NodeId(2))),
        "log.retention.ms",
        set("66"),
    );
    expected.insert(0, ("log.retention.ms", "6", Broker));
    check(&cluster, &properties, "6", &expected);
    alter(
        &mut cluster,
        ConfigResource::Topic("t".into()),
        "retention.ms",
        set("7"),
    );
    expected.insert(0, ("retention.ms", "7", Topic));
    check(&cluster, &properties, "7", &expected);
    // Removed, each gives way to the next.
    alter(
        &mut cluster,
        ConfigResource::Topic("t".into()),
        "retention.ms",
        ConfigChange::Delete,
    );
    check(&cluster, &properties, "6", &expected[1..]);
    alter(
        &mut cluster,
        ConfigResource::Broker(Some(NodeId(1))),
        "log.retention.ms",
        ConfigChange::Delete,
    );
    check(&cluster, &properties, "5", &expected[2..]);
    properties.clear();
    properties.insert("log.retention.hours".into(), "-1".into());
    alter(
        &mut cluster,
        ConfigResource::Broker(None),
        "log.retention.ms",
        ConfigChange::Delete,
    );
    check(&cluster, &properties, "-1", &[]);
}

/// ◆ Elections must not depend on who decides: what planners read is never a broker's own.
#[test]
fn planners_read_what_is_the_same_everywhere() {
    let cluster = Cluster::with_topic(&[]);
    let topic = cluster.image.topic("t").unwrap();
    for definition in topic_config::TABLE
        .iter()
        .filter(|known| known.effect == Effect::Cluster)
    {
        let properties = BTreeMap::from([(definition.synonym.unwrap().to_owned(), "3".to_owned())]);
        let local = Local {
            node: NodeId(1),
            properties: &properties,
        };
        assert_eq!(
            topic_config::on_broker(&cluster.image, local, topic, definition.name),
            cluster.image.topic_config(topic, definition.name),
            "{}",
            definition.name
        );
    }
}

/// Each of those configs changes what planners do: the ELR goes with another minimum, the strict flags with another
/// flush, and a partition without leader gets one where unclean elections are allowed.
#[test]
fn every_config_of_planners_has_its_effect() {
    for definition in topic_config::TABLE
        .iter()
        .filter(|known| known.effect == Effect::Cluster)
    {
        let mut cluster = Cluster::with_topic(&[]);
        for node in [2, 3, 1] {
            cluster.fence(node);
        }
        cluster.unfence(2);
        let before = cluster.partition().clone();
        let value = match definition.name {
            "unclean.leader.election.enable" => "true",
            _ => "3",
        };
        let changed = alter(
            &mut cluster,
            ConfigResource::Topic("t".into()),
            definition.name,
            ConfigChange::Set(value.into()),
        );
        assert_eq!(changed, None);
        assert_ne!(*cluster.partition(), before, "{}", definition.name);
    }
}

#[test]
fn dynamic_broker_configs_are_known() {
    for definition in topic_config::TABLE {
        if let Some(synonym) = definition.synonym {
            assert_eq!(broker_config::kind(synonym), Some(definition.kind), "{synonym}");
            let without = matches!(definition.effect, Effect::None(_));
            assert_eq!(broker_config::without_effect(synonym).is_some(), without, "{synonym}");
        }
    }
    for name in ["num.io.threads", "log.cleaner.threads"] {
        assert!(broker_config::kind(name).is_some() && broker_config::without_effect(name).is_some());
    }
    for name in broker_config::CREATION_RATES {
        assert!(broker_config::kind(name).is_some() && broker_config::without_effect(name).is_none());
    }
    for name in ["node.id", "log.dirs", "log.retention.hours", "nope"] {
        assert!(broker_config::kind(name).is_none() && broker_config::without_effect(name).is_none());
    }
}

#[test]
fn config_values_are_checked_with_kafkas_messages() {
    let cases = [
        ("retention.ms", "abc", Some("Not a number of type LONG")),
        ("retention.ms", "-2", Some("Value must be at least -1")),
        ("segment.bytes", "5", Some("Value must be at least 1048576")),
        ("segment.bytes", "99999999999", Some("Not a number of type INT")),
        // A longer batch does not fit into a replica frame.
        ("max.message.bytes", "6291456", None),
        (
            "max.message.bytes",
            "6291457",
            Some("Value must be no more than 6291456"),
        ),
        ("compression.gzip.level", "10", Some("Value must be no more than 9")),
        ("preallocate", "yes", Some("Expected value to be either true or false")),
        (
            "message.timestamp.type",
            "Now",
            Some("String must be one of: CreateTime, LogAppendTime"),
        ),
        ("min.cleanable.dirty.ratio", "NaN", Some("Value must be at least 0")),
        ("cleanup.policy", "compact,delete", None),
        ("leader.replication.throttled.replicas", "0:1,1:2", None),
    ];
    for (name, value, expected) in cases {
        let expected = expected.map(|why| format!("Invalid value {value} for configuration {name}: {why}"));
        assert_eq!(topic_config::validate(name, value).err(), expected);
    }
    // As Apache Kafka 4.3.1 answered (tests/golden/44_incremental_alter_configs.json).
    let recorded = [
        (
            "cleanup.policy",
            "compact,shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "leader.replication.throttled.replicas",
            "0",
            "Invalid value [0] for configuration leader.replication.throttled.replicas: \
             leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ];
    for (name, value, message) in recorded {
        assert_eq!(topic_config::validate(name, value), Err(message.to_owned()));
    }
    for definition in topic_config::TABLE {
        let checked = topic_config::validate(definition.name, definition.default);
        assert_eq!(checked, Ok(()), "the default of {}", definition.name);
    }
}

#[test]
fn every_config_is_documented_as_it_is() {
    let page = include_str!("../../../docs/topic-configs.md");
    for definition in topic_config::TABLE {
        let names: Vec<&str> = topic_config::broker_names(definition).map(|(name, _)| name).collect();
        let effect = match definition.effect {
            Effect::Cluster => "cluster".to_owned(),
            Effect::Log => "log".to_owned(),
            Effect::Produce => "produce".to_owned(),
            Effect::Replication => "replica streams of leaders".to_owned(),
            Effect::None(why) => format!("none: {why}"),
        };
        let row = format!(
            "| {} | {} | {} | {effect} |",
            definition.name,
            names.join(", "),
            definition.default
        );
        assert!(
            page.lines().any(|line| line == row),
            "docs/topic-configs.md lacks: {row}"
        );
    }
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| config"));
    assert_eq!(rows.count(), topic_config::TABLE.len());
}
