use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::NodeId;

/// Empties a node, or does not want that any more. What it leads goes to others that are in sync at once;
/// [`super::settle_replicas`] gives its replicas to others. The response is how many partitions change their leader.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`.
pub fn drain(image: &Image, node: NodeId, drained: bool) -> Result<Plan<usize>, PlanError> {
    brokers::registered(image, node)?;
    let mut records = Vec::new();
    if image.drained.contains(&node) != drained {
        records.push(Record::NodeDrained { node_id: node, drained });
    }
    let mut draft = Draft::new(image);
    if drained {
        let others = Candidates::without(image, node);
        draft.change_replicas_of(node, |rules, _, partition| {
            if others.any_in_sync(partition) {
                rules.elect(partition, others);
            }
        });
    }
    let moved = draft.into_records();
    let response = moved.len();
    records.extend(moved);
    Ok(Plan { records, response })
}
