use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::NodeId;

/// Removes a broker's registration. Its replicas are treated as those of a fenced broker; they stay assigned.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`.
pub fn unregister(image: &Image, node: NodeId) -> Result<Plan<()>, PlanError> {
    brokers::registered(image, node)?;
    let mut draft = Draft::new(image);
    draft.change_replicas_of(node, |rules, _, partition| {
        rules.leave_isr(partition, node);
        rules.elect(partition, Candidates::without(image, node));
    });
    let mut records = vec![Record::BrokerRemoved { node_id: node }];
    records.extend(draft.into_records());
    Ok(Plan { records, response: () })
}
