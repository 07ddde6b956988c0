//! Kafka's topic configs: names, types, defaults, the broker properties that set the default of all topics,
//! and validation with Kafka's messages. Source: Kafka's documentation, "Topic Configs".

mod synonyms;
mod table;
mod value;

use crate::{Image, TopicImage};
use std::borrow::Cow;
use std::collections::BTreeMap;
pub use synonyms::{Setting, Source, broker_names, broker_settings};
pub use table::TABLE;
use types::NodeId;
pub use value::{Kind, Range};
pub(crate) use value::{check_length, entries};

/// A topic config.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    /// The broker property that sets the default of all topics; there may be others in other units
    /// ([`broker_names`]).
    pub synonym: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    pub effect: Effect,
    pub doc: &'static str,
}

/// Who reads a config. Each reader has a test that finds every config of its kind changing what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The planners: it must be the same everywhere, so a broker's own properties count only where they found a
    /// cluster.
    Cluster,
    /// The partitions of each broker.
    Log,
    /// The produce path of each broker.
    Produce,
    /// The replica streams of leaders.
    Replication,
    /// Nobody, and why. It is accepted and stored, with a warning.
    None(&'static str),
}

/// What one broker alone says about the defaults of topics.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    pub node: NodeId,
    /// What its properties file, environment and flags set.
    pub properties: &'a BTreeMap<String, String>,
}

/// One line of DescribeConfigs.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub definition: &'static Definition,
    pub value: String,
    pub source: Source,
    /// All that set a value, the effective one first.
    pub synonyms: Vec<Setting>,
}

/// Names of Kafka's old configs, which clients still send and which mean nothing any more.
const TOLERATED: [&str; 2] = ["message.format.version", "message.downconversion.enable"];

/// The definition of a topic config.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.name == name)
}

/// The topic config whose default the broker property `synonym` sets, dynamically too.
#[must_use]
pub fn find_synonym(synonym: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.synonym == Some(synonym))
}

/// Whether clients still send this name although it means nothing any more.
#[must_use]
pub fn is_tolerated(name: &str) -> bool {
    TOLERATED.contains(&name)
}

/// Why this topic config changes nothing, if it is one that does not.
#[must_use]
pub fn without_effect(name: &str) -> Option<&'static str> {
    match find(name).map(|definition| definition.effect) {
        Some(Effect::None(why)) => Some(why),
        Some(_) => None,
        None => is_tolerated(name).then_some("Kafka knows it no more either"),
    }
}

/// Checks a value for a topic config.
///
/// # Errors
/// Kafka's message, for `INVALID_CONFIG`.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let definition = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    definition.kind.check(name, value)
}

/// Checks what concerns more than one config of a topic whose own configs are these.
///
/// # Errors
/// Kafka's message, for `INVALID_CONFIG`.
pub(crate) fn validate_together(image: &Image, own: &BTreeMap<String, String>) -> Result<(), String> {
    let value = |name| effective_with(image, Some(own), name).unwrap_or_default();
    let number = |name| value(name).parse::<i64>().unwrap_or_default();
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    if value("remote.storage.enable").eq_ignore_ascii_case("true") {
        let message = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote \
                       log storage.";
        return Err(message.to_owned());
    }
    Ok(())
}

/// The value of `name` that planners decide with: the topic's own, the default of all brokers, or the default.
/// `None` for a name that is no topic config.
#[must_use]
pub fn effective<'a>(image: &'a Image, topic: Option<&'a TopicImage>, name: &str) -> Option<&'a str> {
    effective_with(image, topic.map(|topic| &topic.configs), name)
}

/// [`effective`] for a topic whose own configs are these.
pub(crate) fn effective_with<'a>(
    image: &'a Image,
    own: Option<&'a BTreeMap<String, String>>,
    name: &str,
) -> Option<&'a str> {
    let definition = find(name)?;
    if let Some(value) = own.and_then(|own| own.get(name)) {
        return Some(value);
    }
    let default = definition
        .synonym
        .and_then(|synonym| image.broker_configs.get(&None)?.get(synonym));
    Some(default.map_or(definition.default, String::as_str))
}

/// The value of `name` that is in force on one broker, in Kafka's order: the topic's own, what was set for the
/// broker, for all brokers, in its properties, the default. For what planners decide with, as [`effective`].
/// Empty for a name that is no topic config.
#[must_use]
pub fn on_broker<'a>(image: &'a Image, local: Local<'a>, topic: &'a TopicImage, name: &str) -> Cow<'a, str> {
    let Some(definition) = find(name) else {
        return Cow::Borrowed("");
    };
    if let Some(value) = topic.configs.get(name) {
        return Cow::Borrowed(value);
    }
    synonyms::first(image, local, definition)
}

/// All topic configs of a topic as one broker has them, with their sources, for DescribeConfigs.
#[must_use]
pub fn describe(image: &Image, topic: &TopicImage, local: Local<'_>) -> Vec<Described> {
    let line = |definition: &'static Definition| {
        let own = topic.configs.get(definition.name);
        let own = own.map(|value| Setting {
            name: definition.name.to_owned(),
            value: value.clone(),
            source: Source::Topic,
        });
        let inherited = definition.synonym.map(|name| broker_settings(image, local, name));
        let synonyms: Vec<Setting> = own.into_iter().chain(inherited.into_iter().flatten()).collect();
        Described {
            definition,
            value: on_broker(image, local, topic, definition.name).into_owned(),
            source: synonyms.first().map_or(Source::Default, |setting| setting.source),
            synonyms,
        }
    };
    TABLE.iter().map(line).collect()
}
