//! Dynamic broker configs (KIP-226): which names may be altered while brokers run.

use crate::Image;
use crate::topic_config::{Kind, Range, find_synonym};
use types::NodeId;

/// A dynamic broker config of Kafka that sets no default of topics and changes nothing here. It is accepted and
/// stored, with a warning, so that scripts and tools written for Kafka go on.
struct WithoutEffect {
    name: &'static str,
    kind: Kind,
    why: &'static str,
}

const fn without(name: &'static str, kind: Kind, why: &'static str) -> WithoutEffect {
    WithoutEffect { name, kind, why }
}

const fn at_least(min: i64) -> Kind {
    Kind::Long(Range { min, max: i64::MAX })
}

const AT_START: &str = "logs are recovered when a node starts, by as many threads as its own property says";
const THREADS: &str = "shards and pools take the place of thread pools";
const CLEANER: &str = "logs are not compacted yet";
const NO_MOVES: &str = "replicas are not moved between log directories";

const WITHOUT_EFFECT: &[WithoutEffect] = &[
    without("background.threads", at_least(1), THREADS),
    without("log.cleaner.backoff.ms", at_least(0), CLEANER),
    without("log.cleaner.dedupe.buffer.size", at_least(0), CLEANER),
    without("log.cleaner.io.buffer.load.factor", Kind::Ratio, CLEANER),
    without("log.cleaner.io.buffer.size", at_least(0), CLEANER),
    without("log.cleaner.threads", at_least(0), CLEANER),
    without("num.io.threads", at_least(1), THREADS),
    without("num.network.threads", at_least(1), THREADS),
    without("num.recovery.threads.per.data.dir", at_least(1), AT_START),
    without("num.replica.fetchers", at_least(1), THREADS),
    without("replica.alter.log.dirs.io.max.bytes.per.second", at_least(0), NO_MOVES),
];

/// Those that have an effect and set no default of topics (KIP-73).
const RATES: [&str; 2] = [
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
];

/// Connections a second that a broker takes, at all and on its one listener (KIP-612).
pub const CREATION_RATES: [&str; 2] = [
    "max.connection.creation.rate",
    "listener.name.plaintext.max.connection.creation.rate",
];

const RATE_OF_CONNECTIONS: Kind = Kind::Int(Range {
    min: 0,
    max: i32::MAX as i64,
});

/// The number that is set for the broker while it runs, or else for all.
#[must_use]
pub fn number(image: &Image, node: NodeId, name: &str) -> Option<u64> {
    let set = |of: Option<NodeId>| image.broker_configs.get(&of)?.get(name)?.trim().parse().ok();
    set(Some(node)).or_else(|| set(None))
}

/// What values the dynamic broker config takes; `None`: it cannot be altered while brokers run.
#[must_use]
pub fn kind(name: &str) -> Option<Kind> {
    let other = || WITHOUT_EFFECT.iter().find(|config| config.name == name);
    find_synonym(name)
        .map(|definition| definition.kind)
        .or_else(|| RATES.contains(&name).then_some(at_least(0)))
        .or_else(|| CREATION_RATES.contains(&name).then_some(RATE_OF_CONNECTIONS))
        .or_else(|| other().map(|config| config.kind))
}

/// Why this broker config changes nothing, if it is one that does not.
#[must_use]
pub fn without_effect(name: &str) -> Option<&'static str> {
    match find_synonym(name).map(|definition| definition.effect) {
        Some(crate::topic_config::Effect::None(why)) => Some(why),
        Some(_) => None,
        None => WITHOUT_EFFECT
            .iter()
            .find(|config| config.name == name)
            .map(|config| config.why),
    }
}
