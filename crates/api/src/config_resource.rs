//! The resources that have configs, by Kafka's numbers (`ConfigResource.Type`).

use types::NodeId;

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

/// The broker that a resource names. Only itself: clients ask each broker for its own. `or` is put after the number
/// that was expected.
///
/// # Errors
/// Kafka's message, for `INVALID_REQUEST`.
pub(crate) fn broker_id(name: &str, me: NodeId, or: &str) -> Result<NodeId, String> {
    match name.parse() {
        Ok(id) if NodeId(id) == me => Ok(me),
        Ok(_) => Err(format!("Unexpected broker id, expected {me}{or}, but received {name}")),
        Err(_) => Err(format!("Node id must be an integer, but it is: {name}")),
    }
}

/// A config was set that changes nothing: said once, on the node that was asked, since whoever set it may wait for what
/// does not come.
pub(crate) fn warn_without_effect(resource: &str, name: &str, value: &str, why: &str) {
    tracing::warn!(resource, name, value, why, "a config was set that has no effect here");
}
