use super::{Definition, Effect, Local, TABLE};
use crate::Image;
use std::borrow::Cow;

/// Where a value comes from, and Kafka's number of it in DescribeConfigs (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    /// Set for one broker.
    Broker = 2,
    /// Set for all brokers.
    DefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

/// A value and who set it under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub source: Source,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Further broker properties of a topic config, after its synonym, each with the milliseconds of its unit: static
/// ones, that is in a properties file, and the last of them bears the default there.
const FURTHER: [(&str, &[(&str, i64)], &str); 4] = [
    (
        "flush.ms",
        &[("log.flush.scheduler.interval.ms", 1)],
        "9223372036854775807",
    ),
    (
        "retention.ms",
        &[("log.retention.minutes", MINUTE), ("log.retention.hours", HOUR)],
        "168",
    ),
    ("segment.jitter.ms", &[("log.roll.jitter.hours", HOUR)], "0"),
    ("segment.ms", &[("log.roll.hours", HOUR)], "168"),
];

fn further(definition: &Definition) -> (&'static [(&'static str, i64)], &'static str) {
    let found = FURTHER.iter().find(|(topic, ..)| *topic == definition.name);
    found.map_or((&[], definition.default), |(_, names, default)| (names, default))
}

/// The broker properties that set the default of a topic config, the one that counts most first, each with the factor
/// that makes its values the topic config's.
pub fn broker_names(definition: &Definition) -> impl Iterator<Item = (&'static str, i64)> {
    let synonym = definition.synonym.map(|name| (name, 1));
    synonym.into_iter().chain(further(definition).0.iter().copied())
}

/// A value in another unit. Negative ones (no limit) have none.
fn converted(value: &str, factor: i64) -> Cow<'_, str> {
    match value.trim().parse::<i64>() {
        Ok(number) if factor != 1 && number >= 0 => Cow::Owned(number.saturating_mul(factor).to_string()),
        _ => Cow::Borrowed(value),
    }
}

/// Every place that may set a broker property, in Kafka's order, but for the defaults.
fn places<'a>(
    image: &'a Image,
    local: Local<'a>,
    effect: Effect,
) -> impl Iterator<Item = (&'a std::collections::BTreeMap<String, String>, Source)> {
    let one = image
        .broker_configs
        .get(&Some(local.node))
        .map(|set| (set, Source::Broker));
    let all = image.broker_configs.get(&None).map(|set| (set, Source::DefaultBroker));
    // What planners decide with cannot differ from broker to broker.
    let own = effect != Effect::Cluster;
    let properties = own.then_some((local.properties, Source::StaticBroker));
    one.filter(|_| own).into_iter().chain(all).chain(properties)
}

/// What brokers give a topic that sets nothing itself.
pub(super) fn first<'a>(image: &'a Image, local: Local<'a>, definition: &Definition) -> Cow<'a, str> {
    for (set, _) in places(image, local, definition.effect) {
        for (name, factor) in broker_names(definition) {
            if let Some(value) = set.get(name) {
                return converted(value, factor);
            }
        }
    }
    Cow::Borrowed(definition.default)
}

/// Everything that sets the broker property `name`, or one that means the same in another unit: what is in force
/// first. As in Kafka, what counts more than any setting of this very name is left out.
#[must_use]
pub fn broker_settings(image: &Image, local: Local<'_>, name: &str) -> Vec<Setting> {
    let definition = TABLE
        .iter()
        .find(|known| broker_names(known).any(|(known, _)| known == name));
    let names: Vec<&str> = match definition {
        Some(definition) => broker_names(definition).map(|(name, _)| name).collect(),
        None => vec![name],
    };
    let effect = definition.map_or(Effect::Log, |definition| definition.effect);
    let mut settings = Vec::new();
    let mut add = |name: &str, value: &str, source| {
        settings.push(Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            source,
        });
    };
    for (set, source) in places(image, local, effect) {
        for name in &names {
            if let Some(value) = set.get(*name) {
                add(name, value, source);
            }
        }
    }
    if let Some(definition) = definition
        && let Some(last) = names.last()
    {
        add(last, further(definition).1, Source::Default);
    }
    settings
        .into_iter()
        .skip_while(|setting| setting.name != name)
        .collect()
}
