use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::{BrokerEpoch, LogIndex, NodeId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    /// Highest index of the metadata log that the broker has applied.
    pub applied: LogIndex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// As it is once the plan is applied.
    pub fenced: bool,
}

/// Unfences a broker that has applied its own registration, and elects it where there is no leader and it may
/// lead. A broker in controlled shutdown is not unfenced again.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`: it must register again.
pub fn heartbeat(image: &Image, command: Heartbeat) -> Result<Plan<HeartbeatAnswer>, PlanError> {
    let node = command.node_id;
    let broker = brokers::current(image, node, command.broker_epoch)?;
    if !broker.fenced || broker.shutting_down || command.applied.0 < broker.broker_epoch.0 {
        return Ok(Plan {
            records: Vec::new(),
            response: HeartbeatAnswer { fenced: broker.fenced },
        });
    }
    let mut draft = Draft::new(image);
    for (tp, topic, partition) in image.partitions() {
        if partition.leader.is_none() && partition.replicas.contains(&node) {
            let rules = Rules::of(image, topic, partition);
            draft.change(tp, |partition| rules.elect(partition, Candidates::with(image, node)));
        }
    }
    let broker_epoch = broker.broker_epoch;
    let mut records = vec![Record::BrokerChange {
        node_id: node,
        broker_epoch,
        fenced: false,
        shutting_down: false,
        silent: false,
    }];
    records.extend(draft.into_records());
    Ok(Plan {
        records,
        response: HeartbeatAnswer { fenced: false },
    })
}
