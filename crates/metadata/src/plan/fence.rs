use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::{Broken, BrokerEpoch, NodeId, broken};

/// Fences a broker: its leaderships move and it leaves every ISR, but where it is the last member it stays
/// and the partition has no leader until it is back (unless a member of the ELR can lead). A fenced broker
/// that kept its membership over a restart loses it here. `silent`: see [`crate::BrokerRegistration::silent`].
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`; `STALE_BROKER_EPOCH`: it has registered again since.
pub fn fence(image: &Image, node: NodeId, broker_epoch: BrokerEpoch, silent: bool) -> Result<Plan<()>, PlanError> {
    let broker = brokers::current(image, node, broker_epoch)?;
    let mut records = Vec::new();
    if !broker.fenced {
        let shutting_down = broker.shutting_down;
        records.push(Record::BrokerChange {
            node_id: node,
            broker_epoch,
            fenced: true,
            shutting_down,
            silent,
        });
    }
    let mut draft = Draft::new(image);
    draft.change_replicas_of(node, |rules, _, partition| {
        if !broken(Broken::CountFenced) {
            rules.leave_isr(partition, node);
        }
        rules.elect(partition, Candidates::without(image, node));
    });
    records.extend(draft.into_records());
    Ok(Plan { records, response: () })
}
