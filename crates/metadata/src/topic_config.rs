//! Kafka's topic configs: names, types, defaults, the broker properties that set the default of all topics,
//! and validation with Kafka's messages. Source: Kafka's documentation, "Topic Configs".

mod table;
mod value;

use crate::{Image, TopicImage};
use std::collections::BTreeMap;
pub use table::TABLE;
pub use value::{Kind, Range};

/// A topic config.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    /// The broker property that sets the default of all topics.
    pub synonym: Option<&'static str>,
    pub kind: Kind,
    pub default: &'static str,
    pub doc: &'static str,
}

/// Where an effective value comes from, and Kafka's number of it in DescribeConfigs (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    /// Set for one broker; no source of topic configs.
    Broker = 2,
    /// Set for all brokers.
    DefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

/// One line of DescribeConfigs.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub definition: &'static Definition,
    pub value: String,
    pub source: Source,
    /// All that set a value, the effective one first: name, value, source.
    pub synonyms: Vec<(&'static str, String, Source)>,
}

/// The definition of a topic config.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.name == name)
}

/// The topic config whose default the broker property `synonym` sets.
#[must_use]
pub fn find_synonym(synonym: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.synonym == Some(synonym))
}

/// Checks a value for a topic config.
///
/// # Errors
/// Kafka's message, for `INVALID_CONFIG`.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let definition = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    definition.kind.check(name, value)
}

/// The effective value of `name` for a topic, or, without one, for a topic that sets nothing. `None` for a
/// name that is no topic config.
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
    Some(broker_default(image, definition).unwrap_or(definition.default))
}

/// All topic configs of a topic with their sources, for DescribeConfigs. `static_configs` are the answering
/// broker's properties; they say only what is not set dynamically.
#[must_use]
pub fn describe(image: &Image, topic: &TopicImage, static_configs: &BTreeMap<String, String>) -> Vec<Described> {
    let line = |definition: &'static Definition| {
        let mut synonyms = Vec::new();
        if let Some(value) = topic.configs.get(definition.name) {
            synonyms.push((definition.name, value.clone(), Source::Topic));
        }
        let synonym = definition.synonym.unwrap_or(definition.name);
        if let Some(value) = broker_default(image, definition) {
            synonyms.push((synonym, value.to_owned(), Source::DefaultBroker));
        }
        if let Some(value) = definition.synonym.and_then(|synonym| static_configs.get(synonym)) {
            synonyms.push((synonym, value.clone(), Source::StaticBroker));
        }
        synonyms.push((synonym, definition.default.to_owned(), Source::Default));
        // What counts is what the planners use, which see no broker's own properties.
        let in_force = synonyms.iter().find(|(_, _, source)| *source != Source::StaticBroker);
        let (value, source) = in_force.map_or(
            (definition.default.to_owned(), Source::Default),
            |(_, value, source)| (value.clone(), *source),
        );
        Described {
            definition,
            value,
            source,
            synonyms,
        }
    };
    TABLE.iter().map(line).collect()
}

fn broker_default<'a>(image: &'a Image, definition: &Definition) -> Option<&'a str> {
    let defaults = image.broker_configs.get(&None)?;
    defaults.get(definition.synonym?).map(String::as_str)
}
