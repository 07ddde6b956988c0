use super::draft::Draft;
use super::rules::Candidates;
use super::settle_replicas::Settling;
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use std::collections::BTreeMap;
use types::{ErrorCode, NodeId};

/// What emptying a node moves, as things are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Partitions that others lead at once.
    pub leaders: usize,
    /// How many replicas go to whom.
    pub targets: BTreeMap<NodeId, usize>,
    /// Replicas that wait for a broker that is down, since no other may take them.
    pub waiting: usize,
}

/// Empties a node, or does not want that any more. What it leads goes to others that are in sync at once;
/// [`super::settle_replicas`] gives its replicas to others.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`; `INVALID_REPLICA_ASSIGNMENT`: there is no other broker for some of its replicas.
pub fn drain(image: &Image, node: NodeId, drained: bool) -> Result<Plan<Drained>, PlanError> {
    brokers::registered(image, node)?;
    let mut records = Vec::new();
    if image.drained.contains(&node) != drained {
        records.push(Record::NodeDrained { node_id: node, drained });
    }
    if !drained {
        let response = Drained::default();
        return Ok(Plan { records, response });
    }
    let mut response = targets(image, node)?;
    let mut draft = Draft::new(image);
    let others = Candidates::without(image, node);
    draft.change_replicas_of(node, |rules, _, partition| {
        if others.any_in_sync(partition) {
            rules.elect(partition, others);
        }
    });
    let moved = draft.into_records();
    response.leaders = moved.len();
    records.extend(moved);
    Ok(Plan { records, response })
}

/// Where the replicas of a node that is emptied go.
fn targets(image: &Image, node: NodeId) -> Result<Drained, PlanError> {
    let mut emptied = image.clone();
    emptied.drained.insert(node);
    let mut settling = Settling::new(&emptied, 0);
    let mut found = Drained::default();
    let mut stuck = Vec::new();
    for (tp, topic, partition) in emptied.partitions() {
        let replicas: Vec<NodeId> = partition.target_replicas().collect();
        if !replicas.contains(&node) {
            continue;
        }
        let target = settling.emptied(&replicas);
        let free = |broker: &NodeId| !replicas.contains(broker) && !target.contains(broker);
        let takes_later = |broker: &NodeId| free(broker) && !emptied.drained.contains(broker);
        match target.iter().find(|other| !replicas.contains(other)) {
            Some(other) if !target.contains(&node) => *found.targets.entry(*other).or_default() += 1,
            _ if emptied.brokers.keys().any(takes_later) => found.waiting += 1,
            _ => stuck.push(format!("{}/{}", topic.name, tp.partition)),
        }
    }
    let Some(first) = stuck.first() else {
        return Ok(found);
    };
    let more = match stuck.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "node {node} cannot be emptied: every other broker that takes replicas has one of {first}{more} already. Start another \
         node first, or give these partitions fewer replicas"
    );
    Err(PlanError::new(ErrorCode::InvalidReplicaAssignment, message))
}
