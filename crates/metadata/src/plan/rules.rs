use crate::{Image, PartitionImage, TopicImage};
use types::{Broken, LeaderEpoch, NodeId, broken};

/// What a topic's configs say of one of its partitions about ISR, ELR and elections (KIP-966).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Effective.
    pub min_isr: usize,
    pub unclean: bool,
    pub strict: bool,
}

/// Who may lead: the image's brokers where their log directory is online, but for one that is about to be fenced or about to be unfenced.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    image: &'a Image,
    without: Option<NodeId>,
    with: Option<NodeId>,
}

impl<'a> Candidates<'a> {
    pub(crate) fn all(image: &'a Image) -> Self {
        Self {
            image,
            without: None,
            with: None,
        }
    }

    pub(crate) fn without(image: &'a Image, node: NodeId) -> Self {
        Self {
            image,
            without: Some(node),
            with: None,
        }
    }

    pub(crate) fn with(image: &'a Image, node: NodeId) -> Self {
        Self {
            image,
            without: None,
            with: Some(node),
        }
    }

    pub(crate) fn may_lead(self, partition: &PartitionImage, node: NodeId) -> bool {
        self.can(partition, node, self.image.may_lead(node))
    }

    /// A node that is being emptied leads only what nobody else can.
    pub(crate) fn may_be_preferred(self, partition: &PartitionImage, node: NodeId) -> bool {
        self.may_lead(partition, node) && !self.image.drained.contains(&node)
    }

    /// One that is shutting down goes on leading where nobody else can.
    fn may_stay(self, partition: &PartitionImage, node: NodeId) -> bool {
        self.can(partition, node, self.image.alive(node))
    }

    fn can(self, partition: &PartitionImage, node: NodeId, alive: bool) -> bool {
        let alive = self.without != Some(node) && (self.with == Some(node) || alive);
        alive && self.image.replica_is_online(partition, node)
    }

    /// Whether any member of the ISR may lead.
    pub(crate) fn any_in_sync(self, partition: &PartitionImage) -> bool {
        partition.isr.iter().any(|member| self.may_lead(partition, *member))
    }
}

impl Rules {
    pub(crate) fn of(image: &Image, topic: &TopicImage, partition: &PartitionImage) -> Self {
        Self {
            min_isr: image.effective_min_isr(topic, partition),
            unclean: image
                .topic_config(topic, "unclean.leader.election.enable")
                .eq_ignore_ascii_case("true"),
            strict: image.is_strict(topic),
        }
    }

    /// Sets the ISR. Below the effective minimum, who leaves it stays eligible to lead, since nothing is
    /// committed without them; at or above it nobody outside the ISR is.
    pub(crate) fn set_isr(self, partition: &mut PartitionImage, isr: Vec<NodeId>) {
        let elr = if isr.len() >= self.min_isr {
            Vec::new()
        } else {
            let holds_all = |node: &NodeId| partition.isr.contains(node) || partition.elr.contains(node);
            partition
                .replicas
                .iter()
                .filter(|node| holds_all(node) && !isr.contains(node))
                .copied()
                .collect()
        };
        if !isr.is_empty() || !elr.is_empty() {
            partition.last_known_elr.clear();
        }
        partition.isr = isr;
        partition.elr = elr;
    }

    /// Takes a fenced or leaving broker out of the ISR, unless it is the last member: then its log alone says
    /// what is committed.
    pub(crate) fn leave_isr(self, partition: &mut PartitionImage, node: NodeId) {
        if partition.isr.len() > 1 && partition.isr.contains(&node) {
            let isr = partition.isr.iter().copied().filter(|member| *member != node).collect();
            self.set_isr(partition, isr);
        }
    }

    /// Takes a replica that may lack committed records out of ISR and ELR, even as the last one. `lost`: its
    /// log is known to be gone or damaged; otherwise it may be the last known leader.
    pub(crate) fn expel(self, partition: &mut PartitionImage, node: NodeId, lost: bool) {
        let was_eligible = partition.isr.contains(&node) || partition.elr.contains(&node);
        // Out of both first, so that it does not come back as a member of the ELR.
        partition.elr.retain(|member| *member != node);
        let isr = partition.isr.iter().copied().filter(|member| *member != node).collect();
        partition.isr.retain(|member| *member != node);
        self.set_isr(partition, isr);
        partition.strict.retain(|member| *member != node);
        if lost {
            partition.last_known_elr.retain(|member| *member != node);
        } else if was_eligible && partition.isr.is_empty() && partition.elr.is_empty() {
            partition.last_known_elr = vec![node];
        }
    }

    /// Takes `node` out of the ISR and gives its leadership to another member that may lead. Clean only: where there is
    /// no such member nothing changes.
    pub(crate) fn hand_over(self, partition: &mut PartitionImage, node: NodeId, others: Candidates<'_>) {
        if others.any_in_sync(partition) {
            self.leave_isr(partition, node);
            self.elect(partition, others);
        }
    }

    /// Elects if the leader may not lead any more or there is none: from the ISR, else the ELR, else the last
    /// known leader (once ISR and ELR are empty), else, where the topic asks for it, any replica. Every change
    /// of the leader, to none included, raises the leader epoch.
    pub(crate) fn elect(self, partition: &mut PartitionImage, candidates: Candidates<'_>) {
        let leads = |leader: NodeId| candidates.may_stay(partition, leader) && partition.isr.contains(&leader);
        if partition.leader.is_some_and(leads) {
            return;
        }
        let replicas = partition.replicas.iter().copied();
        let mut able: Vec<NodeId> = replicas.filter(|node| candidates.may_lead(partition, *node)).collect();
        able.sort_by_key(|node| candidates.image.drained.contains(node));
        let first = |list: &[NodeId]| able.iter().copied().find(|node| list.contains(node));
        let last_known = if partition.isr.is_empty() && partition.elr.is_empty() {
            first(&partition.last_known_elr)
        } else {
            None
        };
        let elected = if let Some(leader) = first(&partition.isr) {
            Some(leader)
        } else if let Some(leader) = first(&partition.elr) {
            self.set_isr(partition, vec![leader]);
            Some(leader)
        } else if let Some(leader) = last_known {
            self.set_isr(partition, vec![leader]);
            Some(leader)
        } else if (self.unclean || broken(Broken::ElectAnybody))
            && let Some(leader) = first(&partition.replicas)
        {
            // Who was eligible may hold what the new leader does not: all of them must truncate.
            partition.isr.clear();
            partition.elr.clear();
            self.set_isr(partition, vec![leader]);
            Some(leader)
        } else {
            None
        };
        lead(partition, elected);
    }

    /// Gives leadership to the first of the replicas, if that is in sync and may lead. Otherwise elects as always, which
    /// leaves a leader that may go on alone.
    pub(crate) fn elect_preferred(self, partition: &mut PartitionImage, candidates: Candidates<'_>) {
        let preferred = partition.replicas.first().copied();
        let able = |node: &NodeId| partition.isr.contains(node) && candidates.may_be_preferred(partition, *node);
        match preferred.filter(able) {
            Some(preferred) => lead(partition, Some(preferred)),
            None => self.elect(partition, candidates),
        }
    }
}

fn lead(partition: &mut PartitionImage, leader: Option<NodeId>) {
    if leader != partition.leader {
        partition.leader = leader;
        partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0.saturating_add(1));
    }
}
