use super::Plan;
use super::draft::Draft;
use super::rules::{Candidates, Rules};
use crate::Image;

/// Elects wherever there is no leader and one can be had. The response is the number of changed partitions.
#[must_use]
pub fn elect_leaders(image: &Image) -> Plan<usize> {
    let mut draft = Draft::new(image);
    for (tp, topic, partition) in image.partitions() {
        if partition.leader.is_none() {
            let rules = Rules::of(image, topic);
            draft.change(tp, |partition| rules.elect(partition, Candidates::all(image)));
        }
    }
    let records = draft.into_records();
    Plan {
        response: records.len(),
        records,
    }
}
