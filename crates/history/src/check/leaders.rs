use super::Checker;
use crate::anomaly::AnomalyKind;
use crate::collected::Leader;
use std::collections::HashMap;

/// A leader epoch of a partition has one leader.
pub(super) fn check(checker: &mut Checker<'_>) {
    let history = checker.history;
    let mut leaders: HashMap<(u32, i32), &Leader> = HashMap::new();
    for leader in history.leaders.iter().filter(|leader| leader.node >= 0) {
        let first = *leaders.entry((leader.partition, leader.leader_epoch)).or_insert(leader);
        if first.node != leader.node {
            checker.found.add(
                AnomalyKind::TwoLeaders,
                history.partitions.name(leader.partition),
                || {
                    let tell = |leader: &Leader| {
                        let worker = history.workers.name(leader.worker);
                        format!(
                            "line {}: {worker} was told that node {} leads",
                            leader.line, leader.node
                        )
                    };
                    let what = format!(
                        "nodes {} and {} lead in leader epoch {}",
                        first.node, leader.node, leader.leader_epoch
                    );
                    (what, vec![tell(first), tell(leader)])
                },
            );
        }
    }
}
