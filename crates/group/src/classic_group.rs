use crate::effect::Ticket;
use crate::member::Member;
use crate::record::GroupMetadata;
use crate::request::{GroupState, JoinGroup, JoinedMember, Protocol};
use crate::subscription;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::ErrorCode;

/// What a group takes beside its members.
const OVERHEAD: usize = 1024;
/// What an id that was given to a member takes beside itself.
const PENDING_OVERHEAD: usize = 256;
/// The protocol type of consumers, whose metadata names topics.
const CONSUMER: &str = "consumer";

/// A group of the classic protocol: members agree on a protocol, one of them assigns, and the coordinator passes the
/// assignments on without reading them. This is its state; what moves it is [`Turn`](crate::turn::Turn).
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: String,
    state: GroupState,
    previous: GroupState,
    /// Milliseconds since 1970 at the last change of state; −1: not known.
    pub(crate) state_since_ms: i64,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Static members, by instance id.
    instances: BTreeMap<String, String>,
    /// Ids that were given to members that are to join again with them.
    pub(crate) pending_joins: BTreeSet<String>,
    /// Members whose SyncGroup is awaited.
    pub(crate) pending_syncs: BTreeSet<String>,
    /// How many members support each protocol.
    supporters: BTreeMap<String, usize>,
    awaiting_join: usize,
    /// While an empty group waits for members: one came since it last looked.
    pub(crate) new_member_added: bool,
    /// While an empty group waits for members: how long it may go on.
    pub(crate) initial_remaining: Option<Duration>,
    /// Topics that its members subscribe to; `None`: not known.
    subscribed: Option<BTreeSet<String>>,
    /// The log has a record of it.
    pub(crate) recorded: bool,
    bytes: usize,
}

impl ClassicGroup {
    /// An empty group.
    pub(crate) fn new(id: &str, now_ms: i64) -> Self {
        Self {
            id: id.to_owned(),
            state: GroupState::Empty,
            previous: GroupState::Empty,
            state_since_ms: now_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            supporters: BTreeMap::new(),
            awaiting_join: 0,
            new_member_added: false,
            initial_remaining: None,
            subscribed: None,
            recorded: false,
            bytes: OVERHEAD + id.len(),
        }
    }

    /// A group as a record says.
    pub(crate) fn loaded(id: &str, record: GroupMetadata) -> Self {
        let mut group = Self::new(id, record.current_state_timestamp);
        group.generation = record.generation;
        group.protocol_type = Some(record.protocol_type).filter(|name| !name.is_empty());
        group.recorded = true;
        if record.members.is_empty() {
            return group;
        }
        group.state = GroupState::Stable;
        group.protocol = record.protocol;
        group.leader = record.leader;
        for member in record.members {
            group.insert(Member::loaded(member, group.protocol.clone().as_deref()));
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// What a record says of it, with these assignments.
    pub(crate) fn record(&self, assignments: &BTreeMap<String, Bytes>) -> GroupMetadata {
        let protocol = self.protocol.as_deref();
        let member = |member: &Member| {
            let assignment = assignments.get(&member.id).cloned().unwrap_or_default();
            member.record(protocol, assignment)
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms,
            members: self.members.values().map(member).collect(),
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    /// Whether it waits for the first members of a group that had none.
    pub(crate) fn is_initial(&self) -> bool {
        self.state == GroupState::PreparingRebalance && self.previous == GroupState::Empty
    }

    pub(crate) fn can_rebalance(&self) -> bool {
        matches!(
            self.state,
            GroupState::Stable | GroupState::CompletingRebalance | GroupState::Empty
        )
    }

    pub(crate) fn go(&mut self, state: GroupState, now_ms: i64) {
        self.previous = self.state;
        self.state = state;
        self.state_since_ms = now_ms;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether nobody would miss it: it has no members, expects none and stands in no log.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.state == GroupState::Empty && self.members.is_empty() && self.pending_joins.is_empty() && !self.recorded
    }

    pub(crate) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// For what is neither a protocol nor awaited; see [`ClassicGroup::update`], [`ClassicGroup::await_join`].
    pub(crate) fn member_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.get_mut(member_id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn member_ids(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    pub(crate) fn instance(&self, instance_id: &str) -> Option<&String> {
        self.instances.get(instance_id)
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Adds a member. The first one leads, and says what the group is for.
    pub(crate) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.insert(member);
    }

    fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), member.id.clone());
        }
        self.count(&member.protocols);
        self.forget_pending(&member.id);
        self.bytes += member.bytes();
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member, with what it waits for. The leadership goes to another.
    pub(crate) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.discount(&member.protocols);
        self.bytes = self.bytes.saturating_sub(member.bytes());
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        self.pending_syncs.remove(member_id);
        if let Some(instance_id) = &member.instance_id
            && self.instances.get(instance_id) == Some(&member.id)
        {
            self.instances.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Takes what a member says anew.
    pub(crate) fn update(&mut self, member_id: &str, request: &JoinGroup) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        self.discount(&member.protocols);
        self.bytes = self.bytes.saturating_sub(member.bytes());
        member.protocols.clone_from(&request.protocols);
        member.session_timeout = crate::member::millis(request.session_timeout_ms);
        member.rebalance_timeout = crate::member::millis(request.rebalance_timeout_ms);
        self.count(&member.protocols);
        self.bytes += member.bytes();
        self.members.insert(member.id.clone(), member);
    }

    /// A static member is back under another id (KIP-345): answers it as it was.
    pub(crate) fn replace(&mut self, old_id: &str, new_id: &str) -> Option<Member> {
        let was_leader = self.is_leader(old_id);
        let old = self.remove(old_id)?;
        let mut new = old.clone();
        (new.awaiting_join, new.awaiting_sync) = (None, None);
        new_id.clone_into(&mut new.id);
        self.insert(new);
        if was_leader {
            self.leader = Some(new_id.to_owned());
        }
        Some(old)
    }

    fn count(&mut self, protocols: &[Protocol]) {
        for name in names(protocols) {
            *self.supporters.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn discount(&mut self, protocols: &[Protocol]) {
        for name in names(protocols) {
            if let Some(supporters) = self.supporters.get_mut(name) {
                *supporters -= 1;
                if *supporters == 0 {
                    self.supporters.remove(name);
                }
            }
        }
    }

    pub(crate) fn set_assignments(&mut self, assignments: &BTreeMap<String, Bytes>) {
        for member in self.members.values_mut() {
            let assignment = assignments.get(&member.id).cloned().unwrap_or_default();
            self.bytes = (self.bytes + assignment.len()).saturating_sub(member.assignment.len());
            member.assignment = assignment;
        }
    }

    pub(crate) fn assignments(&self) -> BTreeMap<String, Bytes> {
        let assignment = |member: &Member| (member.id.clone(), member.assignment.clone());
        self.members.values().map(assignment).collect()
    }

    /// The member waits for the rebalance; a join of its that waited is given back.
    pub(crate) fn await_join(&mut self, member_id: &str, ticket: Ticket) -> Option<Ticket> {
        let member = self.members.get_mut(member_id)?;
        let before = member.awaiting_join.replace(ticket);
        self.awaiting_join += usize::from(before.is_none());
        before
    }

    /// The join that the member waits for, which it then no longer does.
    pub(crate) fn take_join(&mut self, member_id: &str) -> Option<Ticket> {
        let ticket = self.members.get_mut(member_id)?.awaiting_join.take();
        self.awaiting_join -= usize::from(ticket.is_some());
        ticket
    }

    pub(crate) fn add_pending(&mut self, member_id: &str) {
        if self.pending_joins.insert(member_id.to_owned()) {
            self.bytes += PENDING_OVERHEAD + member_id.len();
        }
    }

    /// Whether the id was given to a member that had not come back with it.
    pub(crate) fn forget_pending(&mut self, member_id: &str) -> bool {
        let known = self.pending_joins.remove(member_id);
        if known {
            self.bytes = self.bytes.saturating_sub(PENDING_OVERHEAD + member_id.len());
        }
        known
    }

    /// Whether everyone who is known has joined.
    pub(crate) fn all_joined(&self) -> bool {
        self.awaiting_join == self.members.len() && self.pending_joins.is_empty()
    }

    pub(crate) fn absent_dynamic_members(&self) -> Vec<String> {
        let absent = |member: &&Member| member.awaiting_join.is_none() && member.instance_id.is_none();
        self.members
            .values()
            .filter(absent)
            .map(|member| member.id.clone())
            .collect()
    }

    /// Makes one lead who has joined; `false` if nobody has.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &Member| member.awaiting_join.is_some();
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(joined) {
            return true;
        }
        let next = self
            .members
            .values()
            .find(|member| joined(member))
            .map(|member| member.id.clone());
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    /// The longest that a member takes to come back.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    /// Whether a member of this kind could be in the group.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |protocol: &Protocol| self.supporters.get(&protocol.name) == Some(&self.members.len());
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(by_all)
    }

    /// What all members support and most name first among what all support.
    pub(crate) fn preferred_protocol(&self) -> Option<String> {
        let everyone = self.members.len();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let by_all = |protocol: &&Protocol| self.supporters.get(&protocol.name) == Some(&everyone);
            if let Some(choice) = member.protocols.iter().find(by_all) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
    }

    /// The next generation, of those who are here.
    pub(crate) fn next_generation(&mut self, now_ms: i64) {
        self.generation = self.generation.wrapping_add(1).max(1);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.subscribed = None;
            self.go(GroupState::Empty, now_ms);
            return;
        }
        self.protocol = self.preferred_protocol();
        self.subscribed = self.read_subscriptions();
        self.go(GroupState::CompletingRebalance, now_ms);
    }

    fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        let protocol = self.protocol.as_deref();
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Whether the topic may be one that its members read.
    pub(crate) fn subscribes_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers() && !self.members.is_empty(),
        }
    }

    /// Whether [`ClassicGroup::subscribes_to`] tells the truth: it is a group of consumers, and what they said was read.
    pub(crate) fn knows_subscriptions(&self) -> bool {
        self.is_of_consumers() && self.subscribed.is_some()
    }

    /// What the leader is told of everyone.
    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref();
        let member = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }

    /// Whether a member of this id, and instance, is in the group.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; FENCED_INSTANCE_ID: another has taken the instance's place.
    pub(crate) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }
}

/// Each once: a member that names a protocol twice counts once.
fn names(protocols: &[Protocol]) -> BTreeSet<&str> {
    protocols.iter().map(|protocol| protocol.name.as_str()).collect()
}
