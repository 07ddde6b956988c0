//! The three nodes, what is under way between them, and the checks.

use crate::controller::{Controller, Proposal};
use crate::node::{Entry, Node, Role, Sending, header, index, offset};
use records::BatchHeader;
use replica::{
    Action, Durability, EntryHeader, FollowerAck, FollowerHello, HelloAnswer, IsrAnswer, ProposalId, digest,
};
use std::collections::{BTreeMap, VecDeque};
use types::{BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, StreamGeneration};

enum Up {
    Hello(FollowerHello),
    Ack(FollowerAck),
}

enum Down {
    Answer(StreamGeneration, HelloAnswer),
    Entry(EntryHeader, Vec<BatchHeader>),
}

/// One follower's stream to the node it takes for the leader.
struct Stream {
    to: NodeId,
    generation: StreamGeneration,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
}

struct InFlight {
    proposal: Proposal,
    id: ProposalId,
    /// The life of the leader that asked.
    broker_epoch: BrokerEpoch,
    /// The leader was told that the outcome is unknown; it may be applied yet.
    given_up: bool,
}

pub struct World {
    pub(super) durability: Durability,
    random: u64,
    /// Of half of the seeds.
    disks_fail: bool,
    now: u64,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) controller: Controller,
    streams: BTreeMap<NodeId, Stream>,
    /// From streams that broke, still to arrive.
    late_acks: Vec<(NodeId, FollowerAck)>,
    late_entries: Vec<(NodeId, EntryHeader, Vec<BatchHeader>)>,
    proposals: Vec<InFlight>,
    pub(super) committed: Vec<Entry>,
    next_id: u32,
    /// DeleteRecords that are not answered yet, and by whom.
    deletions: Vec<(NodeId, LeaderEpoch, usize)>,
    /// Records below it were deleted, and a client was told so.
    pub(super) deleted: usize,
    pub(super) marks: BTreeMap<(NodeId, LeaderEpoch), Offset>,
}

impl World {
    pub fn new(durability: Durability, seed: u64) -> Self {
        let nodes = (1..=3).map(|id| (NodeId(id), Node::new(NodeId(id)))).collect();
        Self {
            durability,
            random: seed,
            disks_fail: seed % 4 < 2,
            now: 0,
            nodes,
            controller: Controller::new(durability),
            streams: BTreeMap::new(),
            late_acks: Vec::new(),
            late_entries: Vec::new(),
            proposals: Vec::new(),
            committed: Vec::new(),
            next_id: 0,
            deletions: Vec::new(),
            deleted: 0,
            marks: BTreeMap::new(),
        }
    }

    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    pub fn elections(&self) -> usize {
        usize::try_from(self.controller.view.leader_epoch.0).expect("positive")
    }

    /// SplitMix64, below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("small")
    }

    fn any_node(&mut self) -> NodeId {
        NodeId(i32::try_from(self.below(3)).expect("small") + 1)
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("one of three")
    }

    fn time(&self) -> Monotonic {
        Monotonic::from_millis(self.now)
    }

    pub fn step(&mut self) {
        let node = self.any_node();
        match self.below(120) {
            0..12 => self.append(node),
            12..26 => self.flush(node),
            26..50 => self.receive_up(node),
            50..72 => self.receive_down(node),
            72..78 => self.see_image(node),
            78..84 => self.send(node),
            84..88 => self.tick(node),
            88..92 => self.decide(),
            92 => self.give_up(),
            93 => self.break_stream(node),
            94 => self.late(),
            95 => self.crash(node),
            96..98 => self.start(node),
            98 => self.fence_or_unfence(node),
            99 => self.elect_another(node),
            100..103 => self.delete(),
            103..106 if self.disks_fail => self.forget(node),
            _ => self.move_start(node),
        }
        self.answer_deletions();
        self.check();
    }

    fn append(&mut self, id: NodeId) {
        let now = self.time();
        let count = 1 + self.below(3);
        let first_id = self.next_id;
        let node = self.node(id);
        let Some(Role::Leader { core, .. }) = &mut node.role else {
            return;
        };
        if !core.enough_in_sync() {
            return;
        }
        for number in 0..count {
            node.log.push(Entry {
                epoch: core.leader_epoch(),
                id: first_id + u32::try_from(number).expect("small"),
            });
        }
        let actions = core.on_append(offset(node.log.len()), now);
        self.next_id += 3;
        self.act(id, actions);
        self.send(id);
    }

    /// DeleteRecords, if the leader has something to delete.
    fn delete(&mut self) {
        let Some(id) = self.controller.view.leader else { return };
        let node = self.node(id);
        let Some(Role::Leader { core, .. }) = &node.role else {
            return;
        };
        let (epoch, from, committed) = (core.leader_epoch(), node.log_start, index(core.high_watermark()));
        if committed > from {
            let to = from + 1 + self.below(committed - from);
            self.node(id).start_wanted = to;
            self.deletions.push((id, epoch, to));
        }
    }

    fn move_start(&mut self, id: NodeId) {
        if self.node(id).move_start() {
            self.acknowledge(id);
            self.send(id);
        }
    }

    fn answer_deletions(&mut self) {
        let (nodes, deleted) = (&self.nodes, &mut self.deleted);
        self.deletions.retain(|(leader, epoch, to)| match &nodes[leader].role {
            Some(Role::Leader { core, .. }) if core.leader_epoch() == *epoch => {
                let done = core.low_watermark().is_some_and(|low| index(low) >= *to);
                *deleted = (*deleted).max(if done { *to } else { 0 });
                !done
            }
            _ => false,
        });
    }

    fn flush(&mut self, id: NodeId) {
        let now = self.time();
        let dirty = self.node(id).log.len() - self.node(id).durable;
        let up = self.node(id).up;
        if !up || dirty == 0 {
            return;
        }
        let durable = self.node(id).durable + 1 + self.below(dirty);
        let actions = self.node(id).flushed(durable, now);
        self.act(id, actions);
        self.acknowledge(id);
    }

    /// The leader sends each follower some of what it does not have.
    fn send(&mut self, id: NodeId) {
        let most = 1 + self.below(4);
        let node = self.nodes.get_mut(&id).expect("one of three");
        let Some(Role::Leader { core, sending }) = &mut node.role else {
            return;
        };
        for (follower, sending) in sending.iter_mut() {
            let Some(stream) = self.streams.get_mut(follower) else {
                continue;
            };
            if stream.to != id || stream.generation != sending.generation {
                continue;
            }
            let end = (sending.next + most).min(node.log.len());
            let batches: Vec<_> = (sending.next..end).map(|at| header(at, node.log[at])).collect();
            let entry = EntryHeader {
                leader_epoch: core.leader_epoch(),
                previous_end: offset(sending.next),
                previous_epoch: sending.previous,
                generation: sending.generation,
                high_watermark: core.high_watermark(),
                log_start: core.log_start(),
                digest: digest(batches.iter()),
            };
            sending.next = end;
            sending.previous = batches.last().map_or(sending.previous, |last| last.leader_epoch);
            stream.down.push_back(Down::Entry(entry, batches));
        }
    }

    /// Opens a follower's stream, or states its position on the one it has.
    fn hello(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        let (Some(Role::Follower(core)), Some(view)) = (&node.role, &node.view) else {
            return;
        };
        let Some(leader) = view.leader else { return };
        let hello = core.hello(node.broker_epoch);
        if !self.nodes[&leader].up {
            return;
        }
        let stream = self.streams.entry(id).or_insert_with(|| Stream {
            to: leader,
            generation: hello.generation,
            up: VecDeque::new(),
            down: VecDeque::new(),
        });
        stream.generation = hello.generation;
        stream.up.push_back(Up::Hello(hello));
    }

    fn acknowledge(&mut self, id: NodeId) {
        if let Some(Role::Follower(core)) = &self.nodes[&id].role
            && core.is_following()
            && let Some(stream) = self.streams.get_mut(&id)
        {
            stream.up.push_back(Up::Ack(core.ack()));
        }
    }

    fn receive_up(&mut self, follower: NodeId) {
        let now = self.time();
        let Some(stream) = self.streams.get_mut(&follower) else {
            self.reconnect(follower);
            return;
        };
        let to = stream.to;
        let Some(message) = stream.up.pop_front() else { return };
        match message {
            Up::Ack(ack) => self.take_ack(to, &ack),
            Up::Hello(hello) => {
                let node = self.node(to);
                let (cache, end) = (node.epochs.clone(), offset(node.log.len()));
                let Some(Role::Leader { core, sending }) = &mut node.role else {
                    self.break_stream(follower);
                    return;
                };
                sending.remove(&follower);
                match core.on_hello(&hello, &cache.of_log(end), now) {
                    Ok(answer) => {
                        if let HelloAnswer::SendFrom { offset, .. } = answer {
                            sending.insert(
                                follower,
                                Sending {
                                    generation: hello.generation,
                                    next: index(offset),
                                    previous: hello.last_epoch,
                                },
                            );
                        }
                        let stream = self.streams.get_mut(&follower).expect("it spoke");
                        stream.down.push_back(Down::Answer(hello.generation, answer));
                    }
                    Err(_) => self.break_stream(follower),
                }
            }
        }
    }

    fn take_ack(&mut self, leader: NodeId, ack: &FollowerAck) {
        let now = self.time();
        if let Some(Role::Leader { core, .. }) = &mut self.node(leader).role
            && let Ok(actions) = core.on_ack(ack, now)
        {
            self.act(leader, actions);
        }
    }

    fn receive_down(&mut self, follower: NodeId) {
        let Some(message) = self
            .streams
            .get_mut(&follower)
            .and_then(|stream| stream.down.pop_front())
        else {
            return;
        };
        match message {
            Down::Answer(generation, answer) => {
                if self.node(follower).answered(generation, &answer) {
                    self.hello(follower);
                }
            }
            Down::Entry(entry, batches) => self.take_entry(follower, &entry, &batches),
        }
        self.acknowledge(follower);
    }

    fn take_entry(&mut self, follower: NodeId, entry: &EntryHeader, batches: &[BatchHeader]) {
        let node = self.node(follower);
        let Some(Role::Follower(core)) = &mut node.role else {
            return;
        };
        match core.on_entry(entry, batches) {
            Ok(actions) => {
                if node.perform(actions, batches) {
                    self.hello(follower);
                }
            }
            Err(_) => self.break_stream(follower),
        }
    }

    fn break_stream(&mut self, follower: NodeId) {
        let Some(stream) = self.streams.remove(&follower) else {
            return;
        };
        let now = self.time();
        for message in stream.up {
            if let Up::Ack(ack) = message
                && self.below(2) == 0
            {
                self.late_acks.push((stream.to, ack));
            }
        }
        for message in stream.down {
            if let Down::Entry(entry, batches) = message
                && self.below(2) == 0
            {
                self.late_entries.push((follower, entry, batches));
            }
        }
        if self.below(2) == 0
            && let Some(Role::Leader { core, .. }) = &mut self.node(stream.to).role
        {
            core.on_stream_lost(follower, stream.generation, now);
        }
        if let Some(Role::Follower(core)) = &mut self.node(follower).role {
            core.reopen();
        }
    }

    fn reconnect(&mut self, follower: NodeId) {
        if !self.streams.contains_key(&follower) {
            self.hello(follower);
        }
    }

    /// Something from a stream that is gone arrives after all.
    fn late(&mut self) {
        if !self.late_acks.is_empty() {
            let at = self.below(self.late_acks.len());
            let (leader, ack) = self.late_acks.remove(at);
            self.take_ack(leader, &ack);
        }
        if !self.late_entries.is_empty() {
            let at = self.below(self.late_entries.len());
            let (follower, entry, batches) = self.late_entries.remove(at);
            self.take_entry(follower, &entry, &batches);
        }
    }

    fn tick(&mut self, id: NodeId) {
        self.now += 20;
        let now = self.time();
        let node = self.node(id);
        if let Some(high_watermark) = node.high_watermark() {
            node.checkpoint = high_watermark.0;
        }
        let actions = match &mut node.role {
            Some(Role::Leader { core, .. }) => core.on_tick(now),
            _ => Vec::new(),
        };
        self.act(id, actions);
        self.reconnect(id);
    }

    fn see_image(&mut self, id: NodeId) {
        let now = self.time();
        let view = self.controller.view.clone();
        let node = self.node(id);
        // Serves, leads and follows nothing before its own registration is applied.
        if !node.up || view.brokers.get(&id).map(|(epoch, _)| *epoch) != Some(node.broker_epoch) {
            return;
        }
        if node.leader_epoch() == Some(view.leader_epoch) {
            let actions = match &mut node.role {
                Some(Role::Leader { core, .. }) => core.on_view(view, now),
                _ => Vec::new(),
            };
            self.act(id, actions);
            return;
        }
        node.take_role(view, now);
        self.break_stream(id);
        let of_mine: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, s)| s.to == id)
            .map(|(follower, _)| *follower)
            .collect();
        for follower in of_mine {
            self.break_stream(follower);
        }
        self.reconnect(id);
    }

    /// The controller takes one proposal, and its answer may be lost.
    fn decide(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let at = self.below(self.proposals.len());
        let flight = self.proposals.remove(at);
        let answer = match self.controller.alter(&flight.proposal) {
            Some(partition_epoch) => IsrAnswer::Committed { partition_epoch },
            None => IsrAnswer::Rejected,
        };
        let answer = if self.below(4) == 0 { IsrAnswer::Unknown } else { answer };
        if !flight.given_up {
            self.answer(&flight, answer);
        }
    }

    /// The leader waits no longer; the proposal may still be applied, or be lost.
    fn give_up(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let at = self.below(self.proposals.len());
        let mut flight = self.proposals.remove(at);
        if !flight.given_up {
            self.answer(&flight, IsrAnswer::Unknown);
        }
        if self.below(2) == 0 {
            flight.given_up = true;
            self.proposals.push(flight);
        }
    }

    fn answer(&mut self, flight: &InFlight, answer: IsrAnswer) {
        let now = self.time();
        let from = flight.proposal.from;
        let node = self.node(from);
        if node.broker_epoch != flight.broker_epoch || node.leader_epoch() != Some(flight.proposal.leader_epoch) {
            return;
        }
        if let Some(Role::Leader { core, .. }) = &mut node.role {
            let actions = core.on_isr_answer(flight.id, answer, now);
            self.act(from, actions);
        }
    }

    fn act(&mut self, id: NodeId, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::AdvanceHighWatermark { to } => self.commit(id, to),
                Action::ProposeIsr {
                    proposal,
                    isr,
                    leader_epoch,
                    partition_epoch,
                } => {
                    let broker_epoch = self.node(id).broker_epoch;
                    let body = Proposal {
                        from: id,
                        isr,
                        leader_epoch,
                        partition_epoch,
                    };
                    self.proposals.push(InFlight {
                        proposal: body,
                        id: proposal,
                        broker_epoch,
                        given_up: false,
                    });
                }
            }
        }
    }

    /// Power is lost: strict replicas keep what is durable and perhaps more, relaxed ones (whose
    /// machine goes on) everything.
    fn crash(&mut self, id: NodeId) {
        let strict = self.durability == Durability::Strict;
        let node = self.node(id);
        if !node.up {
            return;
        }
        let dirty = node.log.len() - node.durable;
        let kept = if strict { self.below(dirty + 1) } else { dirty };
        let node = self.node(id);
        node.lose_tail(node.durable + kept);
        self.break_stream(id);
        let of_mine: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, s)| s.to == id)
            .map(|(follower, _)| *follower)
            .collect();
        for follower in of_mine {
            self.break_stream(follower);
        }
    }

    fn start(&mut self, id: NodeId) {
        if !self.node(id).up {
            let epoch = self.controller.register(id);
            self.node(id).restart(epoch);
        }
    }

    /// A machine is back before anybody missed it, without its disk or without what was in memory only. It says so when it
    /// registers, and there is another that has everything.
    fn forget(&mut self, id: NodeId) {
        let is_copied = self.controller.view.isr.iter().any(|member| *member != id);
        let is_wiped = self.durability == Durability::Strict || self.below(2) == 0;
        if !self.node(id).up || !is_copied {
            return;
        }
        self.crash(id);
        let node = self.node(id);
        if is_wiped {
            *node = Node::new(id);
            node.up = false;
        } else {
            node.lose_tail(node.durable);
        }
        self.controller.expel(id);
        self.start(id);
    }

    fn fence_or_unfence(&mut self, id: NodeId) {
        let fenced = self.controller.view.unfenced(id).is_none();
        if self.node(id).up && fenced {
            self.controller.unfence(id);
        } else if !self.node(id).up && !fenced {
            self.controller.fence(id);
        }
    }

    fn elect_another(&mut self, id: NodeId) {
        let view = &self.controller.view;
        if view.isr.contains(&id) && view.unfenced(id).is_some() {
            self.controller.elect(Some(id));
        }
    }

    /// A node is proposed for the ISR, what became of that is unknown, it dies and stays away: soon the other two
    /// commit everything without it.
    pub fn settle_without_one(&mut self) {
        let down = self.any_node();
        let up: Vec<NodeId> = self.nodes.keys().copied().filter(|node| *node != down).collect();
        self.crash(down);
        self.controller.fence(down);
        self.run_on(&up);
        for id in [1, 2, 3].map(NodeId).into_iter().cycle().take(30) {
            self.round(id);
        }
        let names_it = |flight: &InFlight| flight.proposal.isr.iter().any(|(node, _)| *node == down);
        assert!(
            self.proposals.iter().any(names_it),
            "{down} is back and was not proposed"
        );
        for mut flight in std::mem::take(&mut self.proposals) {
            self.answer(&flight, IsrAnswer::Unknown);
            if self.below(2) == 0 {
                flight.given_up = true;
                self.proposals.push(flight);
            }
        }
        for id in up.iter().copied() {
            self.append(id);
        }
        self.crash(down);
        self.controller.fence(down);
        self.run_on(&up);
        assert_eq!(self.controller.view.isr, up, "whoever is up is in the ISR");
        for id in up {
            let (held, committed) = (self.nodes[&id].log.len(), self.committed.len());
            assert_eq!(held, committed, "{id} with {down} down");
        }
    }

    /// All faults end: soon everybody is in the ISR and everything is committed.
    pub fn heal(&mut self) {
        self.run_on(&[1, 2, 3].map(NodeId));
        let end = self.committed.len();
        for node in self.nodes.values() {
            assert_eq!(
                node.log.len(),
                end,
                "{} after healing, ISR {:?}",
                node.id,
                self.controller.view.isr
            );
        }
        assert_eq!(self.controller.view.isr.len(), 3, "everybody is back");
    }

    /// These nodes run without faults, for long enough.
    fn run_on(&mut self, nodes: &[NodeId]) {
        for _ in 0..60 {
            for id in nodes.iter().copied() {
                self.round(id);
                self.decide();
                self.check();
            }
        }
    }

    fn round(&mut self, id: NodeId) {
        self.start(id);
        if self.controller.view.unfenced(id).is_none() {
            self.controller.unfence(id);
        }
        self.see_image(id);
        self.tick(id);
        self.send(id);
        for _ in 0..20 {
            self.receive_up(id);
            self.receive_down(id);
            self.move_start(id);
            self.flush(id);
        }
    }
}
