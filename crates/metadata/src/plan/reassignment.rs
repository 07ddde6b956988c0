//! How the replicas of a partition change (KIP-455): those that it is to have are added, and when all of them are in sync,
//! the others go.

use super::rules::{Candidates, Rules};
use crate::PartitionImage;
use types::{DirectoryId, LeaderEpoch, NodeId};

impl Rules {
    /// Starts to give the partition these replicas, or ends that where they are the ones from before. What an earlier
    /// reassignment added and this one does not want goes at once. `place` says where a new replica is stored.
    ///
    /// False, and then nothing has changed, where all that are in sync would go (or may lead, while none is in sync).
    pub(crate) fn reassign(
        self,
        partition: &mut PartitionImage,
        target: &[NodeId],
        place: impl FnMut(NodeId) -> DirectoryId,
        candidates: Candidates<'_>,
    ) -> bool {
        let original: Vec<NodeId> = partition.original_replicas().collect();
        let removing: Vec<NodeId> = missing(&original, target);
        let adding = missing(target, &original);
        let replicas: Vec<NodeId> = target.iter().chain(&removing).copied().collect();
        let stays = |node: &NodeId| replicas.contains(node);
        let holders = [&partition.isr, &partition.elr, &partition.last_known_elr];
        // Of those that may hold all that is committed the best there are.
        let best = holders.into_iter().find(|list| !list.is_empty());
        if !self.unclean && best.is_some_and(|list| !list.iter().any(stays)) {
            return false;
        }
        self.set_replicas(partition, replicas, place, candidates);
        partition.adding_replicas = adding;
        partition.removing_replicas = removing;
        self.complete_reassignment(partition, candidates);
        true
    }

    /// Ends a reassignment once all replicas that stay are in sync, so that no record has fewer copies than it had, and one
    /// of them leads.
    pub(crate) fn complete_reassignment(self, partition: &mut PartitionImage, candidates: Candidates<'_>) {
        let target: Vec<NodeId> = partition.target_replicas().collect();
        let leads = |node: &NodeId| partition.leader == Some(*node) || candidates.may_lead(partition, *node);
        let ready = target.iter().all(|node| partition.isr.contains(node)) && target.iter().any(leads);
        if partition.is_reassigned() && ready {
            partition.adding_replicas.clear();
            partition.removing_replicas.clear();
            // All of them are there already.
            self.set_replicas(partition, target, |_| DirectoryId::default(), candidates);
        }
    }

    /// ◆ Where a replica goes the leader epoch rises, even if the leader stays: it forgets what that replica acknowledged.
    /// Images may be skipped: should the replica come back empty, the leader could take it for the one that was there.
    fn set_replicas(
        self,
        partition: &mut PartitionImage,
        replicas: Vec<NodeId>,
        mut place: impl FnMut(NodeId) -> DirectoryId,
        candidates: Candidates<'_>,
    ) {
        let directory = |node: &NodeId| partition.directory(*node).unwrap_or_else(|| place(*node));
        partition.directories = replicas.iter().map(directory).collect();
        let before = std::mem::replace(&mut partition.replicas, replicas);
        if missing(&before, &partition.replicas).is_empty() {
            return;
        }
        let isr = partition
            .isr
            .iter()
            .copied()
            .filter(|node| partition.replicas.contains(node))
            .collect();
        for list in [&mut partition.elr, &mut partition.last_known_elr, &mut partition.strict] {
            list.retain(|node| partition.replicas.contains(node));
        }
        self.set_isr(partition, isr);
        let leader_epoch = partition.leader_epoch;
        self.elect(partition, candidates);
        if partition.leader_epoch == leader_epoch {
            partition.leader_epoch = LeaderEpoch(leader_epoch.0.saturating_add(1));
        }
    }
}

/// What `of` has and `from` lacks.
fn missing(of: &[NodeId], from: &[NodeId]) -> Vec<NodeId> {
    of.iter().copied().filter(|node| !from.contains(node)).collect()
}
