use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError, brokers};
use crate::{DirectoryOutcome, Image, Record};
use types::{BrokerEpoch, DirectoryId, NodeId};

/// Log directories of a broker that lives on have failed (`offline.log.dirs` of KIP-112).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineDirectories {
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    pub directories: Vec<DirectoryId>,
}

/// Takes the replicas in these directories out of leadership and ISR, as if their broker were fenced: where one is the
/// last member of its ISR it stays that, and the partition has no leader until a restart has recovered the directory.
/// Replicas in the broker's other directories are left alone. The response is the number of partitions that change.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`.
pub fn offline_directories(image: &Image, command: &OfflineDirectories) -> Result<Plan<usize>, PlanError> {
    let node = command.node_id;
    let recorded = brokers::current(image, node, command.broker_epoch)?;
    let mut registration = (**recorded).clone();
    for report in &mut registration.directories {
        if command.directories.contains(&report.id) {
            report.outcome = DirectoryOutcome::Failed;
        }
    }
    let mut draft = Draft::new(image);
    draft.change_replicas_of(node, |rules, _, partition| {
        let directory = partition.directory(node).unwrap_or_default();
        if !directory.is_zero() && command.directories.contains(&directory) {
            rules.leave_isr(partition, node);
            rules.elect(partition, Candidates::without(image, node));
        }
    });
    let changed = draft.into_records();
    let response = changed.len();
    let mut records = Vec::new();
    if registration != **recorded {
        records.push(Record::Broker(Box::new(registration)));
    }
    records.extend(changed);
    Ok(Plan { records, response })
}
