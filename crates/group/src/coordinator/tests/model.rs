//! Random members, commits, silences and coordinator failovers, against what must hold whatever happens.

use super::*;
use std::collections::BTreeSet;

const PARTITIONS: u8 = 6;
const CLIENTS: usize = 5;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Outside,
    Joining(Ticket),
    Syncing(Ticket, i32),
    Owns(i32),
}

/// A client as Kafka's are: it joins, syncs, and begins anew on an error.
#[derive(Debug, Clone)]
struct Client {
    member_id: String,
    instance_id: Option<String>,
    stage: Stage,
    /// It has crashed, or lost its network.
    silent: bool,
}

struct Model {
    room: Room,
    random: Random,
    clients: Vec<Client>,
    /// Who owns each partition in a generation.
    owners: BTreeMap<(i32, u8), usize>,
    next_offset: i64,
    commits: BTreeMap<Ticket, i64>,
    acknowledged: i64,
    seen: i64,
    rebalances: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let client = |number: usize| Client {
            member_id: String::new(),
            instance_id: number.is_multiple_of(2).then(|| format!("i{number}")),
            stage: Stage::Outside,
            silent: false,
        };
        Self {
            room: Room::new(),
            random: Random(seed * 7_919 + 1),
            clients: (0..CLIENTS).map(client).collect(),
            owners: BTreeMap::new(),
            next_offset: 0,
            commits: BTreeMap::new(),
            acknowledged: -1,
            seen: -1,
            rebalances: 0,
        }
    }

    fn chaos(&mut self) {
        let client = self.random.below(CLIENTS as u64) as usize;
        match self.random.below(20) {
            0 => {
                self.leave(client);
            }
            1 => self.clients[client].silent = !self.clients[client].silent,
            2 => {
                // Another life of the same client.
                self.clients[client].stage = Stage::Outside;
                self.clients[client].member_id.clear();
            }
            3 => self.failover(),
            4 => self.room.holds = !self.room.holds,
            5 => self.pass(30_000),
            6..=9 => self.commit(client),
            _ => self.pass(1_000),
        }
        if !self.room.holds {
            self.room.release();
        }
        self.step_all();
    }

    /// What was on its way is in the log, or is not: a prefix of it is.
    fn failover(&mut self) {
        let kept = self.random.below(self.room.held.len() as u64 + 1) as usize;
        let survives: Vec<_> = self
            .room
            .held
            .iter()
            .take(kept)
            .flat_map(|(_, records)| records.clone())
            .collect();
        self.room.log.extend(survives);
        self.room.failover();
        assert!(self.room.coordinator.memory.used() > 0 || self.room.coordinator.list().is_empty());
    }

    fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(1_000);
            left -= step;
            self.room.pass(step);
            self.step_all();
        }
    }

    fn leave(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.instance_id.is_none() && !client.member_id.is_empty() {
            let member_id = std::mem::take(&mut client.member_id);
            client.stage = Stage::Outside;
            self.room.leave(&member_id);
        }
    }

    fn commit(&mut self, number: usize) {
        let client = self.clients[number].clone();
        if let Stage::Owns(generation) = client.stage {
            self.next_offset += 1;
            let mut request = commit(&client.member_id, generation, self.next_offset);
            request.group_instance_id = client.instance_id;
            let ticket = self.room.commit_with(&request);
            self.commits.insert(ticket, self.next_offset);
        }
    }

    fn step_all(&mut self) {
        for number in 0..self.clients.len() {
            if !self.clients[number].silent {
                self.step(number);
            }
        }
        for (ticket, offset) in std::mem::take(&mut self.commits) {
            match self.room.committed(ticket) {
                Some(ErrorCode::None) => self.acknowledged = self.acknowledged.max(offset),
                Some(_) => {}
                None => {
                    self.commits.insert(ticket, offset);
                }
            }
        }
        let now = self.room.offset("t", 0);
        assert!(
            now >= self.acknowledged,
            "{now} after {} was acknowledged",
            self.acknowledged
        );
        assert!(
            now >= self.seen,
            "a committed offset went back from {} to {now}",
            self.seen
        );
        self.seen = now;
    }

    fn step(&mut self, number: usize) {
        let client = self.clients[number].clone();
        let next = match client.stage {
            Stage::Outside => self.join(number),
            Stage::Joining(ticket) => match self.room.joined(ticket) {
                None => client.stage,
                Some(joined) => self.has_joined(number, &joined),
            },
            Stage::Syncing(ticket, generation) => match self.room.synced(ticket) {
                None => client.stage,
                Some(synced) if synced.error.is_none() => {
                    self.owns(number, generation, &synced.assignment);
                    Stage::Owns(generation)
                }
                Some(synced) => self.again(number, synced.error),
            },
            Stage::Owns(generation) => {
                let request = Heartbeat {
                    group_id: "g".into(),
                    generation_id: generation,
                    member_id: client.member_id.clone(),
                    group_instance_id: client.instance_id.clone(),
                };
                let code = self.room.coordinator.heartbeat(&request, self.room.now);
                self.room.settle();
                match code {
                    ErrorCode::None => client.stage,
                    error => self.again(number, error),
                }
            }
        };
        self.clients[number].stage = next;
    }

    fn join(&mut self, number: usize) -> Stage {
        let client = &self.clients[number];
        let request = JoinGroup {
            requires_known_member_id: true,
            group_instance_id: client.instance_id.clone(),
            ..known(&client.member_id)
        };
        Stage::Joining(self.room.join_with(&request))
    }

    fn has_joined(&mut self, number: usize, joined: &Joined) -> Stage {
        if joined.error != ErrorCode::None {
            if joined.error == ErrorCode::MemberIdRequired {
                self.clients[number].member_id.clone_from(&joined.member_id);
            }
            return self.again(number, joined.error);
        }
        self.clients[number].member_id.clone_from(&joined.member_id);
        let mut assignments = BTreeMap::new();
        if joined.leader == joined.member_id && !joined.skip_assignment && !joined.members.is_empty() {
            self.rebalances += 1;
            for (place, member) in joined.members.iter().enumerate() {
                let mine = (0..PARTITIONS).filter(|partition| usize::from(*partition) % joined.members.len() == place);
                assignments.insert(member.member_id.clone(), mine.collect::<Vec<_>>().into());
            }
        }
        let mut request = sync(&joined.member_id, joined.generation_id, assignments);
        request.group_instance_id = self.clients[number].instance_id.clone();
        Stage::Syncing(self.room.sync_with(request), joined.generation_id)
    }

    fn again(&mut self, number: usize, error: ErrorCode) -> Stage {
        let forgets = [
            ErrorCode::UnknownMemberId,
            ErrorCode::IllegalGeneration,
            ErrorCode::FencedInstanceId,
        ];
        if forgets.contains(&error) {
            self.clients[number].member_id.clear();
        }
        Stage::Outside
    }

    /// ◆ A partition has one owner in a generation; a static member's next life is the same owner.
    fn owns(&mut self, number: usize, generation: i32, assignment: &Bytes) {
        for partition in assignment {
            let before = *self.owners.entry((generation, *partition)).or_insert(number);
            assert_eq!(
                before, number,
                "two own partition {partition} in generation {generation}"
            );
        }
    }

    /// Everything is well from now on: the rebalance ends, and everybody has something.
    fn calm(&mut self) {
        for client in &mut self.clients {
            client.silent = false;
        }
        self.room.release();
        self.pass(300_000);
        assert_eq!(self.room.state(), GroupState::Stable);
        let generations: BTreeSet<_> = self
            .clients
            .iter()
            .map(|client| format!("{:?}", client.stage))
            .collect();
        assert_eq!(generations.len(), 1, "{:?}", self.clients);
        assert_eq!(self.room.coordinator.describe("g").unwrap().members.len(), CLIENTS);
        assert_eq!(self.commits.len(), 0, "every commit was answered");
    }
}

#[test]
fn groups_keep_what_they_promise_whatever_happens() {
    let mut rebalances = 0;
    let mut committed = 0;
    for seed in 1..=150 {
        let mut model = Model::new(seed);
        for _ in 0..120 {
            model.chaos();
        }
        model.calm();
        rebalances += model.rebalances;
        committed += model.acknowledged;
    }
    assert!(
        rebalances > 1_000 && committed > 1_000,
        "{rebalances} rebalances, {committed} commits: too few to prove anything"
    );
}
