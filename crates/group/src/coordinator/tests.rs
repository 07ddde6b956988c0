mod commits;
mod membership;
mod model;
mod static_members;

use super::*;
use crate::request::{CommitOffsets, CommitPartition, LeavingMember, Protocol};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use types::TopicId;
use uuid::Uuid;

/// A coordinator, its log, and the answers that it gave.
struct Room {
    coordinator: Coordinator,
    now: Now,
    tickets: u64,
    answers: BTreeMap<Ticket, Answer>,
    log: Vec<Record>,
    /// Appends wait to be committed.
    holds: bool,
    held: VecDeque<(AppendId, Vec<Record>)>,
}

impl Room {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let now = Now {
            at: Monotonic::from_millis(1_000),
            wall_ms: 1_000_000,
        };
        let mut coordinator = Coordinator::new(config, Memory::new(limits::COORDINATOR_BYTES_MAX));
        coordinator.loaded(now);
        Self {
            coordinator,
            now,
            tickets: 0,
            answers: BTreeMap::new(),
            log: Vec::new(),
            holds: false,
            held: VecDeque::new(),
        }
    }

    /// The same log, read by another coordinator.
    fn failover(&mut self) {
        self.coordinator.resign();
        self.settle();
        self.held.clear();
        self.coordinator = Coordinator::new(self.coordinator.config, Memory::new(limits::COORDINATOR_BYTES_MAX));
        for record in self.log.clone() {
            self.coordinator.replay(record, self.now);
        }
        self.coordinator.loaded(self.now);
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn settle(&mut self) {
        loop {
            let effects = self.coordinator.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Answer(ticket, answer) => {
                        let before = self.answers.insert(ticket, answer);
                        assert_eq!(before, None, "{ticket:?} is answered once");
                    }
                    Effect::Append(id, records) => self.held.push_back((id, records)),
                }
            }
            if !self.holds {
                self.commit_held();
            }
        }
    }

    fn commit_held(&mut self) {
        while let Some((id, records)) = self.held.pop_front() {
            self.log.extend(records);
            self.coordinator.appended(id, Ok(()), self.now);
        }
    }

    /// The next append fails, and is not in the log.
    fn fail(&mut self, error: ErrorCode) {
        let (id, _) = self.held.pop_front().expect("an append");
        self.coordinator.appended(id, Err(error), self.now);
        self.settle();
    }

    fn release(&mut self) {
        self.holds = false;
        self.commit_held();
        self.settle();
    }

    /// Time passes, in the steps that the coordinator asks for.
    fn pass(&mut self, ms: u64) {
        let end = self.now.at.plus(Duration::from_millis(ms));
        loop {
            let next = self.coordinator.next_deadline().filter(|next| *next <= end);
            let at = next.unwrap_or(end).max(self.now.at);
            self.now.wall_ms += i64::try_from(at.since(self.now.at).as_millis()).unwrap();
            self.now.at = at;
            self.coordinator.tick(self.now);
            self.settle();
            if next.is_none() {
                return;
            }
        }
    }

    fn join_with(&mut self, request: &JoinGroup) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.join(ticket, request, u128::from(ticket.0), self.now);
        self.settle();
        ticket
    }

    fn sync_with(&mut self, request: SyncGroup) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.sync(ticket, request, self.now);
        self.settle();
        ticket
    }

    fn joined(&self, ticket: Ticket) -> Option<Joined> {
        match self.answers.get(&ticket)? {
            Answer::Joined(joined) => Some(joined.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn synced(&self, ticket: Ticket) -> Option<Synced> {
        match self.answers.get(&ticket)? {
            Answer::Synced(synced) => Some(synced.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of these members, and their ids; the first leads, and each is assigned its own name.
    fn stable(&mut self, members: &[JoinGroup]) -> Vec<String> {
        let tickets: Vec<_> = members.iter().map(|member| self.join_with(member)).collect();
        self.pass(9_000);
        let joined: Vec<_> = tickets.iter().map(|ticket| self.joined(*ticket).unwrap()).collect();
        let assignments: BTreeMap<_, _> = joined
            .iter()
            .map(|joined| (joined.member_id.clone(), Bytes::from(joined.member_id.clone())))
            .collect();
        for joined in &joined {
            assert_eq!(joined.error, ErrorCode::None);
            let leads = joined.leader == joined.member_id;
            let sent = if leads { assignments.clone() } else { BTreeMap::new() };
            self.sync_with(sync(&joined.member_id, joined.generation_id, sent));
        }
        assert_eq!(self.state(), GroupState::Stable);
        joined.into_iter().map(|joined| joined.member_id).collect()
    }

    fn state(&self) -> GroupState {
        let described = self.coordinator.describe("g");
        described.map_or(GroupState::Dead, |group| group.state)
    }

    fn beat(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        let request = Heartbeat {
            group_id: "g".into(),
            generation_id,
            member_id: member_id.into(),
            group_instance_id: None,
        };
        let code = self.coordinator.heartbeat(&request, self.now);
        self.settle();
        code
    }

    fn leave(&mut self, member_id: &str) -> ErrorCode {
        let request = LeaveGroup {
            group_id: "g".into(),
            members: vec![LeavingMember {
                member_id: member_id.into(),
                ..LeavingMember::default()
            }],
        };
        let left = self.coordinator.leave(&request, self.now);
        self.settle();
        left.members[0]
    }

    fn commit_with(&mut self, request: &CommitOffsets) -> Ticket {
        let ticket = self.ticket();
        self.coordinator.commit(ticket, request, |_| topic_id(), self.now);
        self.settle();
        ticket
    }

    /// The error of the first partition, or of all.
    fn committed(&self, ticket: Ticket) -> Option<ErrorCode> {
        match self.answers.get(&ticket)? {
            Answer::Offsets(Ok(topics)) => Some(topics[0].1[0].1),
            Answer::Offsets(Err(error)) => Some(*error),
            other => panic!("{other:?}"),
        }
    }

    fn offset(&self, topic: &str, partition: i32) -> i64 {
        let request = crate::request::FetchOffsets {
            group_id: "g".into(),
            topics: Some(vec![(topic.into(), vec![partition])]),
            ..Default::default()
        };
        self.coordinator.fetch(&request, |_| topic_id())[0].1[0].offset
    }
}

fn topic_id() -> TopicId {
    TopicId(Uuid::from_u128(1))
}

/// A consumer of topic `t` that supports these protocols and needs no second round to get its id.
fn consumer(protocols: &[&str]) -> JoinGroup {
    let protocol = |name: &&str| Protocol {
        name: (*name).to_owned(),
        metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
    };
    JoinGroup {
        group_id: "g".into(),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: protocols.iter().map(protocol).collect(),
        ..JoinGroup::default()
    }
}

fn known(member_id: &str) -> JoinGroup {
    JoinGroup {
        member_id: member_id.to_owned(),
        ..consumer(&["range"])
    }
}

fn sync(member_id: &str, generation_id: i32, assignments: BTreeMap<String, Bytes>) -> SyncGroup {
    SyncGroup {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        assignments,
        ..SyncGroup::default()
    }
}

fn commit(member_id: &str, generation_id: i32, offset: i64) -> CommitOffsets {
    CommitOffsets {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        group_instance_id: None,
        retention_time_ms: -1,
        topics: vec![(
            "t".into(),
            vec![CommitPartition {
                partition: 0,
                offset,
                leader_epoch: 5,
                metadata: "m".into(),
            }],
        )],
    }
}
