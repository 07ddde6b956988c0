//! What must hold after every step.

use crate::node::{Node, Role, index};
use crate::world::World;
use replica::Durability;
use types::{NodeId, Offset};

impl World {
    pub(super) fn commit(&mut self, leader: NodeId, to: Offset) {
        let node = &self.nodes[&leader];
        let known = self.committed.len().min(index(to));
        assert_eq!(
            node.log[node.log_start..known],
            self.committed[node.log_start..known],
            "{leader} commits other records than were committed"
        );
        self.committed.extend_from_slice(&node.log[known..index(to)]);
    }

    pub(super) fn check(&mut self) {
        let holds = |node: &Node| {
            let held = if self.durability == Durability::Strict {
                node.durable
            } else {
                node.log.len()
            };
            node.holds(&self.committed, held)
        };
        for member in &self.controller.view.isr {
            assert!(
                holds(&self.nodes[member]),
                "{member} is in the ISR without all that is committed"
            );
            let start = self.nodes[member].log_start;
            assert!(
                start >= self.deleted,
                "{member} is in the ISR with records from {start} on, and those below {} were deleted",
                self.deleted
            );
        }
        for node in self.nodes.values() {
            let Some(high_watermark) = node.high_watermark() else {
                continue;
            };
            assert!(
                index(high_watermark) <= self.committed.len(),
                "{}'s high watermark is too high",
                node.id
            );
            if let Some(Role::Leader { core, .. }) = &node.role {
                let mark = self
                    .marks
                    .entry((node.id, core.leader_epoch()))
                    .or_insert(high_watermark);
                assert!(high_watermark >= *mark, "{}'s high watermark went back", node.id);
                *mark = high_watermark;
            }
        }
    }
}
