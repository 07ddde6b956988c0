//! Fetch sessions (KIP-227, with topic ids KIP-516).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use types::{ErrorCode, LeaderEpoch, Monotonic, Offset, TopicId, limits};
use wire::messages::fetch_request::{self, FetchRequest};
use wire::messages::fetch_response::PartitionData;

/// A session that was used less long ago is not evicted for a new one
/// (`min.incremental.fetch.session.eviction.ms`).
const EVICTION_AGE: Duration = Duration::from_secs(120);
/// Session epoch of a request without a session.
const FINAL_EPOCH: i32 = -1;
/// Session epoch of a request for a new session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as the client names it: by id from Fetch 13.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// One allocation for all partitions that a request names under it.
    Name(Rc<str>),
    Id(TopicId),
}

impl TopicKey {
    fn new(by_id: bool, name: &str, id: uuid::Uuid) -> Self {
        if by_id {
            Self::Id(TopicId(id))
        } else {
            Self::Name(name.into())
        }
    }

    /// Whether a topic can be called that; what cannot exist is answered and not remembered.
    fn is_possible(&self) -> bool {
        match self {
            Self::Name(name) => name.len() <= limits::TOPIC_NAME_MAX,
            Self::Id(_) => true,
        }
    }
}

/// A partition as the client names it.
pub type PartitionKey = (TopicKey, i32);

/// What is asked of a partition. A copy of its own: the request's is a slice of the whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub fetch_offset: Offset,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
    pub max_bytes: i32,
}

impl From<&fetch_request::FetchPartition> for Wanted {
    fn from(partition: &fetch_request::FetchPartition) -> Self {
        Self {
            fetch_offset: Offset(partition.fetch_offset),
            current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            max_bytes: partition.partition_max_bytes,
        }
    }
}

/// What a request is about after its session was looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    pub kind: Kind,
    /// What to fetch, in order.
    pub partitions: Vec<(PartitionKey, Wanted)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything is answered and nothing remembered.
    Sessionless,
    /// Everything is answered, and a session begins with the answer.
    New { by_id: bool },
    /// Only what changed is answered.
    Incremental { session: i32 },
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used: u64,
    used_at: Monotonic,
    next_place: u64,
    partitions: BTreeMap<PartitionKey, Cached>,
    /// Order of fetching: what gave records goes to the end, so that no partition starves.
    order: BTreeMap<u64, PartitionKey>,
}

#[derive(Debug, Clone)]
struct Cached {
    place: u64,
    wanted: Wanted,
    high_watermark: i64,
    log_start: i64,
}

/// The sessions of one shard, at most so many, with at most
/// [`limits::FETCH_SESSION_CACHED_PARTITIONS_MAX`] partitions in all of them.
#[derive(Debug)]
pub struct FetchSessions {
    max: usize,
    partitions_max: usize,
    /// Partitions over all sessions.
    partitions: usize,
    uses: u64,
    sessions: BTreeMap<i32, Session>,
    by_use: BTreeMap<u64, i32>,
}

impl FetchSessions {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            partitions_max: limits::FETCH_SESSION_CACHED_PARTITIONS_MAX,
            partitions: 0,
            uses: 0,
            sessions: BTreeMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.sessions.len()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Looks up and updates the session of a request.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`: for the
    /// whole answer, which then has session id 0.
    pub fn open(&mut self, request: &FetchRequest, by_id: bool, now: Monotonic) -> Result<Context, ErrorCode> {
        let mut named = Vec::new();
        for topic in &request.topics {
            let key = TopicKey::new(by_id, &topic.topic.0, topic.topic_id);
            named.extend(
                topic
                    .partitions
                    .iter()
                    .map(|p| ((key.clone(), p.partition), Wanted::from(p))),
            );
        }
        let id = request.session_id;
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            if id != 0 {
                self.remove(id);
            }
            let kind = if request.session_epoch == FINAL_EPOCH {
                Kind::Sessionless
            } else {
                Kind::New { by_id }
            };
            return Ok(Context {
                kind,
                partitions: named,
            });
        }
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        for topic in &request.forgotten_topics_data {
            let key = TopicKey::new(by_id, &topic.topic.0, topic.topic_id);
            for partition in &topic.partitions {
                session.forget(&(key.clone(), *partition));
            }
        }
        let (possible, impossible): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|((topic, _), _)| topic.is_possible());
        for (key, wanted) in possible {
            session.put(key, wanted);
        }
        let count = session.partitions.len();
        self.partitions = self.partitions - before + count;
        if count > limits::FETCH_SESSION_PARTITIONS_MAX || self.partitions > self.partitions_max {
            self.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        if count == 0 {
            self.remove(id);
            return Ok(Context {
                kind: Kind::Sessionless,
                partitions: impossible,
            });
        }
        session.epoch = next_epoch(session.epoch);
        let wanted = |key: &PartitionKey| Some((key.clone(), session.partitions.get(key)?.wanted));
        let mut partitions: Vec<_> = session.order.values().filter_map(wanted).collect();
        partitions.extend(impossible);
        self.touch(id, now);
        Ok(Context {
            kind: Kind::Incremental { session: id },
            partitions,
        })
    }

    /// Takes note of an answer. Returns the session id for it and which of its partitions it must hold.
    /// `fresh` is a random number, for a new session's id.
    pub fn answered(
        &mut self,
        kind: Kind,
        answers: &[(PartitionKey, Wanted, PartitionData)],
        fresh: u64,
        now: Monotonic,
    ) -> (i32, Vec<bool>) {
        let all = vec![true; answers.len()];
        match kind {
            Kind::Sessionless => (0, all),
            Kind::New { by_id } => (self.begin(by_id, answers, fresh, now), all),
            Kind::Incremental { session: id } => match self.sessions.get_mut(&id) {
                Some(session) => (
                    id,
                    answers
                        .iter()
                        .map(|(key, _, data)| session.changed(key, data))
                        .collect(),
                ),
                // Evicted while the fetch waited: the client learns that with its next request.
                None => (id, all),
            },
        }
    }

    fn begin(
        &mut self,
        by_id: bool,
        answers: &[(PartitionKey, Wanted, PartitionData)],
        fresh: u64,
        now: Monotonic,
    ) -> i32 {
        let possible = || answers.iter().filter(|((topic, _), ..)| topic.is_possible());
        let count = possible().count();
        if count == 0 || count > limits::FETCH_SESSION_PARTITIONS_MAX || !self.make_room(count, now) {
            return 0;
        }
        // 31 random bits, never 0, stepping over ids in use.
        let mut id = i32::try_from(fresh & 0x7fff_ffff).unwrap_or(1).max(1);
        while self.sessions.contains_key(&id) {
            id = if id == i32::MAX { 1 } else { id + 1 };
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            used: 0,
            used_at: now,
            next_place: 0,
            partitions: BTreeMap::new(),
            order: BTreeMap::new(),
        };
        for (key, wanted, data) in possible() {
            session.put(key.clone(), *wanted);
            session.changed(key, data);
        }
        self.partitions += session.partitions.len();
        self.sessions.insert(id, session);
        self.touch(id, now);
        id
    }

    /// Evicts what is old until one more session of so many partitions fits; false if it does not.
    fn make_room(&mut self, partitions: usize, now: Monotonic) -> bool {
        while self.sessions.len() >= self.max || self.partitions + partitions > self.partitions_max {
            let Some(oldest) = self.by_use.values().next().copied() else {
                return false;
            };
            let oldest_used = self.sessions.get(&oldest).map(|session| session.used_at);
            if oldest_used.is_some_and(|used_at| now.since(used_at) < EVICTION_AGE) {
                return false;
            }
            self.remove(oldest);
        }
        true
    }

    fn touch(&mut self, id: i32, now: Monotonic) {
        if let Some(session) = self.sessions.get_mut(&id) {
            self.by_use.remove(&session.used);
            self.uses += 1;
            session.used = self.uses;
            session.used_at = now;
            self.by_use.insert(self.uses, id);
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.by_use.remove(&session.used);
            self.partitions -= session.partitions.len();
        }
    }
}

impl Session {
    fn put(&mut self, key: PartitionKey, wanted: Wanted) {
        if let Some(cached) = self.partitions.get_mut(&key) {
            cached.wanted = wanted;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.order.insert(place, key.clone());
        self.partitions.insert(
            key,
            Cached {
                place,
                wanted,
                high_watermark: -1,
                log_start: -1,
            },
        );
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(cached) = self.partitions.remove(key) {
            self.order.remove(&cached.place);
        }
    }

    /// Whether an incremental answer must hold the partition; remembers what it says.
    fn changed(&mut self, key: &PartitionKey, data: &PartitionData) -> bool {
        let Some(cached) = self.partitions.get_mut(key) else {
            return true;
        };
        let records = data.records.as_ref().is_some_and(|r| !r.is_empty());
        let mut changed = records || data.preferred_read_replica.0 >= 0;
        if cached.high_watermark != data.high_watermark {
            cached.high_watermark = data.high_watermark;
            changed = true;
        }
        if cached.log_start != data.log_start_offset {
            cached.log_start = data.log_start_offset;
            changed = true;
        }
        if data.error_code != 0 || data.diverging_epoch.epoch >= 0 {
            // Always told, and the first answer without the error too.
            cached.high_watermark = -1;
            changed = true;
        }
        if records {
            self.order.remove(&cached.place);
            cached.place = self.next_place;
            self.next_place += 1;
            self.order.insert(cached.place, key.clone());
        }
        changed
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests;
