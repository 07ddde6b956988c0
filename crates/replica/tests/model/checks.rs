//! What must hold after every step.

use crate::node::{Node, Role, index};
use crate::world::World;
use replica::Durability;
use types::{NodeId, Offset};

impl World {
    pub(super) fn commit(&mut self, leader: NodeId, to: Offset) {
        let log = &self.nodes[&leader].log;
        let known = self.committed.len().min(index(to));
        assert_eq!(
            log[..known],
            self.committed[..known],
            "{leader} commits other records than were committed"
        );
        self.committed.extend_from_slice(&log[known..index(to)]);
    }

    pub(super) fn check(&mut self) {
        let holds = |node: &Node| {
            let held = if self.durability == Durability::Strict {
                node.durable
            } else {
                node.log.len()
            };
            held >= self.committed.len() && node.log[..self.committed.len()] == self.committed[..]
        };
        for member in &self.controller.view.isr {
            assert!(
                holds(&self.nodes[member]),
                "{member} is in the ISR without all that is committed"
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
