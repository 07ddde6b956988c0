use super::Plan;
use super::draft::Draft;
use super::rules::{Candidates, Rules};
use crate::Image;
use std::collections::BTreeMap;
use types::{NodeId, limits};

/// Gives partitions back to their preferred leaders, the first of their replicas: those of every broker that does not lead
/// more than `imbalance_percentage` per cent of what it should (`leader.imbalance.per.broker.percentage`). Only who is in
/// sync is elected. At most [`limits::LEADER_ELECTIONS_MAX`] at a time; the response is how many.
#[must_use]
pub fn balance_leaders(image: &Image, imbalance_percentage: u32) -> Plan<usize> {
    // Of the partitions that a broker should lead: how many there are, and how many others lead.
    let mut balance: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
    for (_, _, partition) in image.partitions() {
        if let Some(preferred) = partition.replicas.first() {
            let (all, elsewhere) = balance.entry(*preferred).or_default();
            *all += 1;
            *elsewhere += u64::from(partition.leader != Some(*preferred));
        }
    }
    let imbalanced = |(all, elsewhere): &(u64, u64)| elsewhere * 100 > all.saturating_mul(imbalance_percentage.into());
    let candidates = Candidates::all(image);
    let mut draft = Draft::new(image);
    let mut elections = 0;
    for (tp, topic, partition) in image.partitions() {
        let preferred = partition.replicas.first().copied();
        let wanted = preferred.and_then(|node| balance.get(&node)).is_some_and(imbalanced);
        let able = |node: NodeId| partition.isr.contains(&node) && candidates.may_be_preferred(partition, node);
        if !wanted || partition.leader == preferred || !preferred.is_some_and(able) {
            continue;
        }
        if elections == limits::LEADER_ELECTIONS_MAX {
            break;
        }
        elections += 1;
        let rules = Rules::of(image, topic, partition);
        draft.change(tp, |partition| rules.elect_preferred(partition, candidates));
    }
    Plan {
        records: draft.into_records(),
        response: elections,
    }
}
