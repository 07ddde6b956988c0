mod commit;
mod delete;
mod expire;
mod load;

use crate::appends::{Out, Pending, Then};
use crate::classic_group::ClassicGroup;
use crate::config::GroupConfig;
use crate::effect::{Answer, AppendId, Effect, Ticket};
use crate::memory::Memory;
use crate::now::Now;
use crate::offsets::Offsets;
use crate::record::Record;
use crate::request::{
    GroupDescription, GroupState, Heartbeat, JoinGroup, Joined, LeaveGroup, Left, ListedGroup, MemberDescription,
    SyncGroup, Synced,
};
use crate::timers::{Timer, Timers};
use crate::turn::Turn;
use std::collections::BTreeMap;
use types::{ErrorCode, Monotonic, limits};

/// The coordinator of the groups of one partition of `__consumer_offsets`, for one leader epoch.
///
/// Committed offsets are what the committed records of the partition say, in their order: a commit counts when it is
/// replicated, and is answered then. Membership lives in memory; each generation is written down when its leader has
/// assigned. Requests give [`Effect`]s, which the runtime takes with [`Coordinator::effects`] after each call.
///
/// An append that may or may not be in the log ends the coordinator: the runtime makes a new one and reads the log again.
#[derive(Debug)]
pub struct Coordinator {
    config: GroupConfig,
    groups: BTreeMap<String, ClassicGroup>,
    offsets: Offsets,
    timers: Timers,
    out: Out,
    memory: Memory,
    /// Bytes that groups hold.
    held: usize,
    /// What is drawn of `memory`.
    drawn: usize,
}

impl Coordinator {
    /// One that knows nothing yet: see [`Coordinator::replay`].
    #[must_use]
    pub fn new(config: GroupConfig, memory: Memory) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            out: Out::default(),
            memory,
            held: 0,
            drawn: 0,
        }
    }

    /// What is to be done, in order.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out.effects)
    }

    /// When [`Coordinator::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let times = [self.timers.next(), self.out.next()];
        times.into_iter().flatten().min()
    }

    /// JoinGroup. `random` makes the id of a new member.
    pub fn join(&mut self, ticket: Ticket, request: &JoinGroup, random: u128, now: Now) {
        if let Err(error) = self.check_join(request) {
            let refused = Joined::failed(error, request.member_id.clone());
            return self.out.answer(ticket, Answer::Joined(refused));
        }
        let fresh_id = fresh_id(request, random);
        self.group(&request.group_id, now.wall_ms);
        self.turn(&request.group_id, now, |turn| turn.join(ticket, request, &fresh_id));
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        let (least, most) = (
            self.config.group_min_session_timeout_ms,
            self.config.group_max_session_timeout_ms,
        );
        if request.group_id.is_empty() || request.group_id.len() > i16::MAX as usize {
            return Err(ErrorCode::InvalidGroupId);
        }
        if !(least..=most).contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !request.fits() {
            return Err(ErrorCode::InvalidRequest);
        }
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        // Who is known already keeps its place.
        if request.member_id.is_empty() && self.memory.is_full() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(())
    }

    /// SyncGroup.
    pub fn sync(&mut self, ticket: Ticket, request: SyncGroup, now: Now) {
        let group_id = request.group_id.clone();
        if self.turn(&group_id, now, |turn| turn.sync(ticket, request)).is_none() {
            let refused = Synced::failed(ErrorCode::UnknownMemberId);
            self.out.answer(ticket, Answer::Synced(refused));
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, request: &Heartbeat, now: Now) -> ErrorCode {
        self.turn(&request.group_id, now, |turn| turn.heartbeat(request))
            .unwrap_or(ErrorCode::UnknownMemberId)
    }

    /// LeaveGroup.
    pub fn leave(&mut self, request: &LeaveGroup, now: Now) -> Left {
        let left = self.turn(&request.group_id, now, |turn| turn.leave(&request.members));
        Left {
            error: ErrorCode::None,
            members: left.unwrap_or_else(|| vec![ErrorCode::UnknownMemberId; request.members.len()]),
        }
    }

    /// Groups that it knows.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of memory that it takes, with the others of its shard.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.memory.used()
    }

    /// Generations that began since it was made.
    #[must_use]
    pub fn generations(&self) -> u64 {
        self.out.generations
    }

    /// ListGroups.
    #[must_use]
    pub fn list(&self) -> Vec<ListedGroup> {
        let listed = |group: &ClassicGroup| ListedGroup {
            group_id: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state(),
        };
        self.groups.values().map(listed).collect()
    }

    /// DescribeGroups.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    pub fn describe(&self, group_id: &str) -> Result<GroupDescription, ErrorCode> {
        let group = self.groups.get(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        let protocol = group
            .protocol
            .as_deref()
            .filter(|_| group.state() == GroupState::Stable);
        let members = group.members().map(|member| MemberDescription {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        Ok(GroupDescription {
            group_id: group.id.clone(),
            state: group.state(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_name: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        })
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        for late in self.out.take_late(now.at) {
            self.finish(late, Err(ErrorCode::CoordinatorNotAvailable), now);
        }
        while let Some(timer) = self.timers.pop(now.at) {
            match timer {
                Timer::Session { group_id, member_id } => {
                    self.turn(&group_id, now, |turn| turn.session_timer(&member_id));
                }
                Timer::PendingMember { group_id, member_id } => {
                    self.turn(&group_id, now, |turn| turn.pending_timer(&member_id));
                }
                Timer::Join { group_id } => {
                    self.turn(&group_id, now, |turn| turn.join_timer());
                }
                Timer::Sync { group_id } => {
                    self.turn(&group_id, now, |turn| turn.sync_timer());
                }
                Timer::Expiry => self.expire(now),
            }
        }
    }

    /// An append is committed, or certainly is not in the log. Each is reported, in their order.
    pub fn appended(&mut self, id: AppendId, outcome: Result<(), ErrorCode>, now: Now) {
        let Some(Pending { records, then, .. }) = self.out.take(id) else {
            return;
        };
        for record in records {
            match record {
                Record::Offset {
                    group_id,
                    topic,
                    partition,
                    value,
                } => {
                    if outcome.is_ok() {
                        self.apply_offset(&group_id, &topic, partition, value, now.wall_ms);
                    }
                    self.offsets.unsent(&group_id, &topic, partition);
                    self.forget_if_unused(&group_id);
                }
                Record::Group { group_id, value } if outcome.is_ok() => {
                    if let Some(group) = self.groups.get_mut(&group_id) {
                        group.recorded = value.is_some();
                    }
                    self.forget_if_unused(&group_id);
                }
                Record::Group { .. } => {}
            }
        }
        self.finish(then, outcome, now);
        self.account();
    }

    fn finish(&mut self, then: Then, outcome: Result<(), ErrorCode>, now: Now) {
        match then {
            Then::Nothing => {}
            Then::Offsets(ticket, mut answer) => {
                if let Err(error) = outcome {
                    let partitions = answer.iter_mut().flat_map(|(_, partitions)| partitions);
                    for (_, code) in partitions.filter(|(_, code)| code.is_none()) {
                        *code = commit_error(error);
                    }
                }
                self.out.answer(ticket, Answer::Offsets(Ok(answer)));
            }
            Then::Deleted(ticket) => {
                let code = outcome.err().map_or(ErrorCode::None, commit_error);
                self.out.answer(ticket, Answer::Deleted(code));
            }
            Then::Replaced(ticket, joined) => {
                let answer = match outcome {
                    Ok(()) => joined,
                    Err(error) => Joined::failed(group_error(error), String::new()),
                };
                self.out.answer(ticket, Answer::Joined(answer));
            }
            Then::Assign {
                group_id,
                generation,
                assignments,
            } => {
                let outcome = outcome.map_err(group_error);
                self.turn(&group_id, now, |turn| {
                    turn.assignments_written(generation, &assignments, outcome);
                });
            }
        }
    }

    /// This coordinator ends: whoever waits is told to look for another. What is under way may be committed all the same.
    pub fn resign(&mut self) {
        for pending in self.out.take_all() {
            match pending.then {
                Then::Offsets(ticket, _) => self.out.answer(ticket, Answer::Offsets(Err(ErrorCode::NotCoordinator))),
                Then::Deleted(ticket) => self.out.answer(ticket, Answer::Deleted(ErrorCode::NotCoordinator)),
                Then::Replaced(ticket, joined) => {
                    let refused = Joined::failed(ErrorCode::NotCoordinator, joined.member_id);
                    self.out.answer(ticket, Answer::Joined(refused));
                }
                Then::Nothing | Then::Assign { .. } => {}
            }
        }
        for group in std::mem::take(&mut self.groups).into_values() {
            for member in group.members() {
                if let Some(ticket) = member.awaiting_join {
                    let refused = Joined::failed(ErrorCode::NotCoordinator, member.id.clone());
                    self.out.answer(ticket, Answer::Joined(refused));
                }
                if let Some(ticket) = member.awaiting_sync {
                    let refused = Synced::failed(ErrorCode::NotCoordinator);
                    self.out.answer(ticket, Answer::Synced(refused));
                }
            }
        }
        self.offsets = Offsets::default();
        self.timers = Timers::default();
        self.held = 0;
        self.account();
    }

    /// One event at a group that is known.
    fn turn<T>(&mut self, group_id: &str, now: Now, event: impl FnOnce(&mut Turn<'_>) -> T) -> Option<T> {
        let group = self.groups.get_mut(group_id)?;
        let before = group.bytes();
        let mut turn = Turn {
            config: &self.config,
            group,
            timers: &mut self.timers,
            out: &mut self.out,
            now,
        };
        let answer = event(&mut turn);
        self.held = (self.held + group.bytes()).saturating_sub(before);
        self.forget_if_unused(group_id);
        self.account();
        Some(answer)
    }

    /// The group, which is made if there is none.
    fn group(&mut self, group_id: &str, now_ms: i64) -> &mut ClassicGroup {
        self.groups.entry(group_id.to_owned()).or_insert_with(|| {
            let group = ClassicGroup::new(group_id, now_ms);
            self.held += group.bytes();
            group
        })
    }

    fn forget_if_unused(&mut self, group_id: &str) {
        let unused = |group: &ClassicGroup| group.is_forgettable() && !self.offsets.has(group_id);
        if self.groups.get(group_id).is_some_and(unused)
            && let Some(group) = self.groups.remove(group_id)
        {
            self.held = self.held.saturating_sub(group.bytes());
            self.timers.cancel(&Timer::Join { group_id: group.id });
        }
    }

    /// Draws what is held now.
    fn account(&mut self) {
        let holds = self.held + self.offsets.bytes();
        self.memory.move_to(std::mem::replace(&mut self.drawn, holds), holds);
    }
}

/// `clientId-uuid`, or `instanceId-uuid` for a static member, as Kafka names them.
fn fresh_id(request: &JoinGroup, random: u128) -> String {
    let name = request.group_instance_id.as_deref().unwrap_or(&request.client_id);
    let name = &name[..name.floor_char_boundary(limits::MEMBER_ID_PREFIX_BYTES_MAX)];
    let uuid = uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid();
    format!("{name}-{uuid}")
}

/// What a client is told of an append of a generation that failed.
fn group_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        error => error,
    }
}

/// What a client is told of an append of offsets that failed.
fn commit_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        error => group_error(error),
    }
}

#[cfg(test)]
mod tests;
