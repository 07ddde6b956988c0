use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::{BrokerEpoch, NodeId};

/// Moves leadership away from a broker that is about to stop, and takes it out of every ISR with another
/// member that can lead. Where there is none it goes on leading until it is fenced. The response is the number
/// of partitions that it still leads.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`.
pub fn controlled_shutdown(image: &Image, node: NodeId, broker_epoch: BrokerEpoch) -> Result<Plan<usize>, PlanError> {
    let broker = brokers::current(image, node, broker_epoch)?;
    let mut records = Vec::new();
    if !broker.shutting_down {
        let fenced = broker.fenced;
        records.push(Record::BrokerChange {
            node_id: node,
            broker_epoch,
            fenced,
            shutting_down: true,
            silent: broker.silent,
        });
    }
    let others = Candidates::without(image, node);
    let mut draft = Draft::new(image);
    draft.change_replicas_of(node, |rules, _, partition| rules.hand_over(partition, node, others));
    records.extend(draft.into_records());
    let led = image
        .partitions()
        .filter(|(_, _, partition)| partition.leader == Some(node));
    let remaining = led.filter(|(_, _, partition)| !others.any_in_sync(partition)).count();
    Ok(Plan {
        records,
        response: remaining,
    })
}
