//! Consumer groups under faults: members that join, own partitions and commit, as clients do, and what must hold.

use crate::client::Client;
use crate::history::{SharedHistory, now_ns, place};
use crate::workload::{self, STRICT, STRICT_PARTITIONS};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use types::ErrorCode;
use uuid::Uuid;
use wire::messages::join_group_request::JoinGroupRequestProtocol;
use wire::messages::join_group_response::JoinGroupResponse;
use wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use wire::messages::sync_group_request::SyncGroupRequestAssignment;
use wire::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, RequestKind, ResponseKind, SyncGroupRequest, TopicName,
};
use wire::{ApiKey, StrBytes};

pub const GROUP: &str = "sim-group";
const MEMBERS: u64 = 3;
const SESSION_MS: i32 = 2_000;
const REBALANCE_MS: i32 = 4_000;
/// A join or a sync waits for the others.
const LONG: Duration = Duration::from_secs(8);

/// A member's place in a generation.
struct Place {
    coordinator: usize,
    generation: i32,
    partitions: Vec<i32>,
}

struct Member {
    client: Client,
    random: SmallRng,
    name: String,
    /// Of the topic, which stays.
    topic_id: Uuid,
    member_id: StrBytes,
    history: SharedHistory,
}

/// Whether a member goes on as it is, or begins anew.
type Step<T> = Result<T, ErrorCode>;

/// One of the group's members, which now and then leaves, or falls silent until its session is over.
pub async fn member(client: Client, seed: u64, number: u64, history: SharedHistory, until: Duration) {
    let mut member = Member {
        client,
        random: SmallRng::seed_from_u64(seed),
        name: format!("g{number}"),
        topic_id: Uuid::nil(),
        member_id: StrBytes::default(),
        history,
    };
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        if member.topic_id.is_nil() {
            let node = member.random.random_range(0..member.client.nodes());
            // An error is answered by asking again.
            let _ = member.client.refresh(node, STRICT).await;
            member.topic_id = member.client.topic_id(STRICT).unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        if let Err(error) = member.one_generation(until).await {
            let forgets = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration];
            if forgets.contains(&error) {
                member.member_id = StrBytes::default();
            }
            let pause = member.random.random_range(20..150);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// How many members the group has.
pub fn members() -> std::ops::Range<u64> {
    0..MEMBERS
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group_id() -> GroupId {
    GroupId(text(GROUP))
}

fn topic() -> TopicName {
    TopicName(text(STRICT))
}

fn ok(code: i16) -> Step<()> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        error => Err(error),
    }
}

impl Member {
    async fn call(&mut self, node: usize, key: ApiKey, version: i16, request: RequestKind) -> Step<ResponseKind> {
        let answer = self.client.call_within(LONG, node, key, version, &request).await;
        answer.map_err(|_| ErrorCode::NetworkException)
    }

    async fn one_generation(&mut self, until: Duration) -> Step<()> {
        let coordinator = self.find().await?;
        let place = self.join_and_sync(coordinator).await?;
        let places: Vec<String> = place.partitions.iter().map(|partition| self.at(*partition)).collect();
        let generation = Some((GROUP, place.generation));
        self.history.borrow_mut().assign(&self.name, &places, generation);
        let mut positions = self.fetch(&place).await?;
        while turmoil::sim_elapsed().unwrap_or_default() < until {
            if self.random.random_bool(0.02) {
                return self.leave(&place).await;
            }
            if self.random.random_bool(0.01) {
                // Its process is suspended: the session ends meanwhile.
                tokio::time::sleep(Duration::from_millis(2 * SESSION_MS.unsigned_abs() as u64)).await;
            }
            self.heartbeat(&place).await?;
            for (partition, position) in &mut positions {
                *position = self.read(*partition, *position).await.unwrap_or(*position);
            }
            self.commit(&place, &positions).await?;
            let pause = self.random.random_range(20..200);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn find(&mut self) -> Step<usize> {
        let node = self.random.random_range(0..self.client.nodes());
        let request = FindCoordinatorRequest::default().with_key(text(GROUP));
        let request = RequestKind::FindCoordinator(request);
        let ResponseKind::FindCoordinator(answer) = self.call(node, ApiKey::FindCoordinator, 2, request).await? else {
            return Err(ErrorCode::UnknownServerError);
        };
        ok(answer.error_code)?;
        let node = usize::try_from(answer.node_id.0).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        (node < self.client.nodes())
            .then_some(node)
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    async fn join_and_sync(&mut self, coordinator: usize) -> Step<Place> {
        let joined = match self.join(coordinator).await {
            // The second time with the id that it was told.
            Err(ErrorCode::MemberIdRequired) => self.join(coordinator).await?,
            joined => joined?,
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(group_id())
            .with_generation_id(joined.generation_id)
            .with_member_id(self.member_id.clone());
        if joined.leader == self.member_id {
            request.assignments = assign(&joined);
        }
        let request = RequestKind::SyncGroup(request);
        let ResponseKind::SyncGroup(answer) = self.call(coordinator, ApiKey::SyncGroup, 3, request).await? else {
            return Err(ErrorCode::UnknownServerError);
        };
        ok(answer.error_code)?;
        Ok(Place {
            coordinator,
            generation: joined.generation_id,
            partitions: answer
                .assignment
                .iter()
                .map(|partition| i32::from(*partition))
                .collect(),
        })
    }

    async fn join(&mut self, coordinator: usize) -> Step<JoinGroupResponse> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("sim"))
            .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x03sim"));
        let request = JoinGroupRequest::default()
            .with_group_id(group_id())
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(self.member_id.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let request = RequestKind::JoinGroup(request);
        let ResponseKind::JoinGroup(answer) = self.call(coordinator, ApiKey::JoinGroup, 5, request).await? else {
            return Err(ErrorCode::UnknownServerError);
        };
        if ErrorCode::from_code(answer.error_code) == ErrorCode::MemberIdRequired || answer.error_code == 0 {
            self.member_id = answer.member_id.clone();
        }
        ok(answer.error_code)?;
        Ok(answer)
    }

    async fn heartbeat(&mut self, place: &Place) -> Step<()> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id())
            .with_generation_id(place.generation)
            .with_member_id(self.member_id.clone());
        let request = RequestKind::Heartbeat(request);
        match self.call(place.coordinator, ApiKey::Heartbeat, 3, request).await? {
            ResponseKind::Heartbeat(answer) => ok(answer.error_code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    async fn leave(&mut self, place: &Place) -> Step<()> {
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id())
            .with_member_id(std::mem::take(&mut self.member_id));
        let request = RequestKind::LeaveGroup(request);
        self.call(place.coordinator, ApiKey::LeaveGroup, 2, request).await?;
        Ok(())
    }

    /// The partition by its name in the history.
    fn at(&self, partition: i32) -> String {
        place(STRICT, self.topic_id, partition)
    }

    /// Takes the next records of a partition. Where it stands then.
    async fn read(&mut self, partition: i32, position: i64) -> Option<i64> {
        let led = match self.client.leader(STRICT, partition) {
            Some(led) => led,
            None => {
                let node = self.random.random_range(0..self.client.nodes());
                self.client.refresh(node, STRICT).await.ok()?;
                self.client.leader(STRICT, partition)?
            }
        };
        let Ok(records) = workload::fetch(&mut self.client, led, partition, position, 20).await else {
            let node = self.random.random_range(0..self.client.nodes());
            // An error is answered by asking again.
            let _ = self.client.refresh(node, STRICT).await;
            return None;
        };
        let (last, ..) = records.last()?;
        let at = self.at(partition);
        self.history.borrow_mut().poll(&self.name, &at, &records);
        Some(last + 1)
    }

    /// Commits how far it has read.
    async fn commit(&mut self, place: &Place, positions: &BTreeMap<i32, i64>) -> Step<()> {
        if positions.is_empty() {
            return Ok(());
        }
        let partition = |(partition, position): (&i32, &i64)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*position)
        };
        let partitions = positions.iter().map(partition).collect();
        let wanted = OffsetCommitRequestTopic::default()
            .with_name(topic())
            .with_partitions(partitions);
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id())
            .with_generation_id_or_member_epoch(place.generation)
            .with_member_id(self.member_id.clone())
            .with_topics(vec![wanted]);
        let mut operations = BTreeMap::new();
        for (partition, position) in positions {
            let at = self.at(*partition);
            let operation = self.history.borrow_mut().commit(&self.name, GROUP, &at, *position);
            operations.insert(*partition, operation);
        }
        let request = RequestKind::OffsetCommit(request);
        let answer = self.call(place.coordinator, ApiKey::OffsetCommit, 7, request).await;
        let mut result = Ok(());
        if let Ok(ResponseKind::OffsetCommit(answer)) = answer {
            for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                match ok(partition.error_code) {
                    Ok(()) => {
                        if let Some(operation) = operations.remove(&partition.partition_index) {
                            self.history.borrow_mut().committed(&self.name, operation, true);
                        }
                    }
                    Err(error) => result = Err(error),
                }
            }
        } else {
            result = Err(ErrorCode::NetworkException);
        }
        for operation in operations.into_values() {
            self.history.borrow_mut().committed(&self.name, operation, false);
        }
        result
    }

    /// Where it goes on in each of its partitions.
    async fn fetch(&mut self, place: &Place) -> Step<BTreeMap<i32, i64>> {
        let name = self.name.clone();
        let asker = (name.as_str(), self.topic_id);
        fetch(
            &mut self.client,
            asker,
            place.coordinator,
            &place.partitions,
            &self.history,
        )
        .await
    }
}

async fn fetch(
    client: &mut Client,
    (worker, id): (&str, Uuid),
    coordinator: usize,
    partitions: &[i32],
    history: &SharedHistory,
) -> Step<BTreeMap<i32, i64>> {
    let asked_at = now_ns();
    let wanted = OffsetFetchRequestTopic::default()
        .with_name(topic())
        .with_partition_indexes(partitions.to_vec());
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id())
        .with_topics(Some(vec![wanted]));
    let request = RequestKind::OffsetFetch(request);
    let answer = client.call(coordinator, ApiKey::OffsetFetch, 5, &request).await;
    let Ok(ResponseKind::OffsetFetch(answer)) = answer else {
        return Err(ErrorCode::NetworkException);
    };
    ok(answer.error_code)?;
    let mut positions = BTreeMap::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        ok(partition.error_code)?;
        let (number, offset) = (partition.partition_index, partition.committed_offset);
        let at = place(STRICT, id, number);
        history.borrow_mut().group_offset(worker, asked_at, GROUP, &at, offset);
        positions.insert(number, offset.max(0));
    }
    Ok(positions)
}

/// Asks nodes in turn where the group stands: whoever answers knows what was acknowledged before.
pub async fn watch(mut client: Client, seed: u64, history: SharedHistory, until: Duration) {
    let mut random = SmallRng::seed_from_u64(seed);
    let all: Vec<i32> = (0..STRICT_PARTITIONS).collect();
    while turmoil::sim_elapsed().unwrap_or_default() < until {
        tokio::time::sleep(Duration::from_millis(random.random_range(20..200))).await;
        let node = random.random_range(0..client.nodes());
        let Some(id) = client.topic_id(STRICT) else {
            // An error is answered by asking again.
            let _ = client.refresh(node, STRICT).await;
            continue;
        };
        // Most are not the coordinator, and say so.
        let _ = fetch(&mut client, ("watch", id), node, &all, &history).await;
    }
}

/// Asks once more for everything, when all has healed.
///
/// # Errors
/// That nobody answers.
pub async fn read_back(client: &mut Client, history: &SharedHistory) -> anyhow::Result<()> {
    let all: Vec<i32> = (0..STRICT_PARTITIONS).collect();
    for attempt in 0..400usize {
        let node = attempt % client.nodes();
        // An error is answered by asking again.
        let _ = client.refresh(node, STRICT).await;
        if let Some(id) = client.topic_id(STRICT)
            && fetch(client, ("scan", id), node, &all, history).await.is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("nobody coordinates {GROUP} after all has healed")
}

/// The partitions in turn, a byte each.
fn assign(joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let members = i32::try_from(joined.members.len()).unwrap_or(1).max(1);
    let assignment = |(place, member): (i32, &wire::messages::join_group_response::JoinGroupResponseMember)| {
        let mine = (0..STRICT_PARTITIONS).filter(|partition| partition % members == place);
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(mine.map(|partition| partition.to_le_bytes()[0]).collect())
    };
    (0i32..).zip(&joined.members).map(assignment).collect()
}
