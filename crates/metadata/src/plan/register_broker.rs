use super::draft::Draft;
use super::rules::Candidates;
use super::{Plan, PlanError};
use crate::{BrokerRegistration, DirectoryOutcome, DirectoryReport, Image, PartitionImage, Record};
use std::collections::BTreeSet;
use types::{Broken, BrokerEpoch, DirectoryId, ErrorCode, TopicPartition, broken};

/// A broker that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    /// `broker_epoch`, `fenced` and `shutting_down` are not looked at.
    pub registration: BrokerRegistration,
    /// The epoch of the last registration that the broker's directories remember. One older than the recorded
    /// one, or none, is that of a restored or empty disk.
    pub previous_broker_epoch: Option<BrokerEpoch>,
    /// Replicas whose own log misses something below its durable mark, with the directory that holds it: these
    /// alone are lost where the directory's outcome is `Intact`.
    pub damaged: BTreeSet<(DirectoryId, TopicPartition)>,
    /// The broker registered under this node id is heard of: its session has not run out.
    pub session_alive: bool,
}

/// Registers a broker, fenced, and settles in the same entry what that means for its replicas:
///
/// * every partition that it led gets a new leader epoch, with another leader or none (KAFKA-10527);
/// * a replica whose log is damaged, whose directory is gone or failed, or whose disk is an old image, leaves ISR
///   and ELR;
/// * so does a relaxed one after an unclean stop (KIP-966); a strict one stays: nothing that it acknowledged
///   was in memory only.
///
/// The response is the broker epoch of the same incarnation's earlier registration if there is nothing to do,
/// else `None`: the epoch is the index of the entry.
///
/// # Errors
/// `DUPLICATE_BROKER_REGISTRATION` while another incarnation lives; `INVALID_REGISTRATION` for a negative id.
pub fn register_broker(image: &Image, command: &RegisterBroker) -> Result<Plan<Option<BrokerEpoch>>, PlanError> {
    let new = &command.registration;
    let node = new.node_id;
    if node.0 < 0 {
        return Err(PlanError::new(
            ErrorCode::InvalidRegistration,
            format!("Broker ID {node} is negative"),
        ));
    }
    let recorded = image.broker(node);
    if let Some(recorded) = recorded {
        if recorded.incarnation == new.incarnation {
            return Ok(Plan {
                records: Vec::new(),
                response: Some(recorded.broker_epoch),
            });
        }
        if !recorded.fenced && command.session_alive {
            let message = format!("Another broker is registered with that broker id: {node}");
            return Err(PlanError::new(ErrorCode::DuplicateBrokerRegistration, message));
        }
    }
    let forgot = recorded.is_some_and(|recorded| command.previous_broker_epoch < Some(recorded.broker_epoch));
    let old_directories = recorded.map_or(&[][..], |recorded| &recorded.directories);
    let registration = BrokerRegistration {
        broker_epoch: BrokerEpoch(0),
        fenced: true,
        shutting_down: false,
        silent: false,
        ..new.clone()
    };

    let mut draft = Draft::new(image);
    draft.change_replicas_of(node, |rules, tp, partition| {
        let directory = partition.directory(node).unwrap_or_default();
        let report = report_of(&new.directories, directory);
        // Without a directory of record it may be in any.
        let damaged = command.damaged.contains(&(directory, tp))
            || (directory.is_zero() && command.damaged.iter().any(|(_, damaged)| *damaged == tp));
        let lost =
            (forgot || damaged || report.outcome != DirectoryOutcome::Intact) && !broken(Broken::KeepLostReplicas);
        let strict = rules.strict && partition.strict.contains(&node);
        let kept = strict || report.clean || broken(Broken::KeepUncleanReplicas) || broken(Broken::KeepLostReplicas);
        if lost || !kept {
            rules.expel(partition, node, lost);
        }
        replace_directory(partition, tp, new, old_directories);
        if !broken(Broken::KeepEpochOverRestart) {
            rules.elect(partition, Candidates::without(image, node));
        }
    });
    let mut records = vec![Record::Broker(Box::new(registration))];
    records.extend(draft.into_records());
    Ok(Plan {
        records,
        response: None,
    })
}

/// What the broker says of the directory that holds a replica. One that it does not name is lost. For a
/// replica without a directory of record the worst of all counts.
fn report_of(reports: &[DirectoryReport], directory: DirectoryId) -> DirectoryReport {
    let lost = DirectoryReport {
        id: directory,
        outcome: DirectoryOutcome::Failed,
        clean: false,
    };
    if directory.is_zero() {
        let worst = |worst: DirectoryReport, next: &DirectoryReport| DirectoryReport {
            id: directory,
            outcome: worst.outcome.max(next.outcome),
            clean: worst.clean && next.clean,
        };
        let best = DirectoryReport {
            id: directory,
            outcome: DirectoryOutcome::Intact,
            clean: !reports.is_empty(),
        };
        return reports.iter().fold(best, worst);
    }
    reports
        .iter()
        .find(|report| report.id == directory)
        .copied()
        .unwrap_or(lost)
}

/// A replica whose directory is gone is assigned to one that is new, if there is: the disk was replaced.
/// Otherwise the record stays as it is; a failed directory is not recreated on another (KAFKA-16234).
fn replace_directory(
    partition: &mut PartitionImage,
    tp: TopicPartition,
    new: &BrokerRegistration,
    old_directories: &[DirectoryReport],
) {
    let Some(at) = partition.replicas.iter().position(|replica| *replica == new.node_id) else {
        return;
    };
    let Some(directory) = partition.directories.get_mut(at) else {
        return;
    };
    if new.directories.iter().any(|report| report.id == *directory) {
        return;
    }
    let usable: Vec<DirectoryId> = new
        .directories
        .iter()
        .filter(|report| report.outcome != DirectoryOutcome::Failed)
        .map(|report| report.id)
        .filter(|id| !old_directories.iter().any(|old| old.id == *id))
        .collect();
    let turn = usize::try_from(tp.partition)
        .unwrap_or(0)
        .checked_rem(usable.len())
        .unwrap_or(0);
    if let Some(id) = usable.get(turn) {
        *directory = *id;
    }
}
