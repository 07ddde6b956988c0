use super::PlanError;
use crate::{BrokerRegistration, Image};
use std::collections::BTreeMap;
use types::{DirectoryId, ErrorCode, NodeId};

/// Places replicas over racks, in the spirit of Kafka's StripedReplicaPlacer: each replica of a partition goes
/// to the next rack, and within a rack to the next broker, so that leaders and followers are spread evenly.
/// The first replica is on a broker that may lead. Where to start is the caller's randomness.
pub(crate) struct Placement {
    racks: Vec<Rack>,
    start: usize,
    brokers: usize,
}

struct Rack {
    able: Vec<NodeId>,
    /// Fenced or shutting down: last choice.
    unable: Vec<NodeId>,
}

impl Placement {
    pub(crate) fn new(image: &Image, random: u64) -> Self {
        let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let placeable = |(node, _): &(&NodeId, _)| !image.drained.contains(node);
        for (node, broker) in image.brokers.iter().filter(placeable) {
            let rack = racks.entry(broker.rack.as_deref()).or_insert_with(|| Rack {
                able: Vec::new(),
                unable: Vec::new(),
            });
            if broker.may_lead() {
                rack.able.push(*node)
            } else {
                rack.unable.push(*node)
            }
        }
        let start = usize::try_from(random % (1 << 16)).unwrap_or(0);
        Self {
            racks: racks.into_values().collect(),
            start,
            brokers: image.brokers.iter().filter(placeable).count(),
        }
    }

    /// # Errors
    /// `INVALID_REPLICATION_FACTOR` with too few brokers, or none that may lead.
    pub(crate) fn check(&self, factor: usize) -> Result<(), PlanError> {
        let refuse = |why: String| {
            let message = format!("Unable to replicate the partition {factor} time(s): {why}");
            Err(PlanError::new(ErrorCode::InvalidReplicationFactor, message))
        };
        if factor > self.brokers {
            return refuse(format!(
                "The target replication factor of {factor} cannot be reached because only {} broker(s) are registered \
                 or some brokers have all their log directories cordoned.",
                self.brokers
            ));
        }
        if self.racks.iter().all(|rack| rack.able.is_empty()) {
            return refuse("All brokers are currently fenced.".into());
        }
        Ok(())
    }

    /// How many brokers there are that take new replicas.
    pub(crate) fn brokers(&self) -> usize {
        self.brokers
    }

    /// The replicas of one partition; [`Self::check`] must have passed.
    pub(crate) fn place(&self, partition: usize, factor: usize) -> Vec<NodeId> {
        let mut chosen = Vec::with_capacity(factor);
        let able: Vec<usize> = (0..self.racks.len())
            .filter(|rack| !self.racks[*rack].able.is_empty())
            .collect();
        let turn = self.start + partition;
        let Some(first) = turn.checked_rem(able.len()).and_then(|at| able.get(at)).copied() else {
            return chosen;
        };
        // One full round of the racks later, the next broker within each of them.
        let within = turn / able.len();
        let mut rack = first;
        while chosen.len() < factor.min(self.brokers) {
            let here = &self.racks[rack];
            let next = rotated(&here.able, within)
                .chain(rotated(&here.unable, within))
                .find(|node| !chosen.contains(node));
            chosen.extend(next);
            rack = (rack + 1) % self.racks.len();
        }
        chosen
    }
}

fn rotated(nodes: &[NodeId], by: usize) -> impl Iterator<Item = NodeId> + '_ {
    let by = by.checked_rem(nodes.len()).unwrap_or(0);
    nodes[by..].iter().chain(&nodes[..by]).copied()
}

/// Replicas in each log directory.
pub(crate) struct Directories {
    replicas: BTreeMap<DirectoryId, usize>,
}

impl Directories {
    pub(crate) fn new(image: &Image) -> Self {
        let mut replicas = BTreeMap::new();
        for (_, _, partition) in image.partitions() {
            for directory in &partition.directories {
                *replicas.entry(*directory).or_default() += 1;
            }
        }
        Self { replicas }
    }

    /// Where a new replica goes: the usable directory of the broker with the fewest, as in Kafka. None if the broker
    /// has not told of any.
    pub(crate) fn place(&mut self, broker: &BrokerRegistration) -> DirectoryId {
        let usable = broker.directories.iter().filter(|report| report.is_usable());
        let fewest = usable
            .map(|report| report.id)
            .min_by_key(|id| self.replicas.get(id).copied().unwrap_or(0));
        if let Some(id) = fewest {
            *self.replicas.entry(id).or_default() += 1;
        }
        fewest.unwrap_or_default()
    }
}
