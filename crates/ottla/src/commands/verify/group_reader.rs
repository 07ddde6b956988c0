use super::random::Random;
use super::reader::{POLL, tell};
use super::run::Load;
use crate::client::{ClientError, Cluster, Consumer, EARLIEST, GroupMember, Standing};
use history::{Body, Outcome};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

const HEARTBEAT: Duration = Duration::from_secs(1);
const COMMIT: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_millis(500);
/// A member leaves after so long, in milliseconds, and another joins in its place.
const MEMBERSHIP_MS: std::ops::Range<u64> = 15_000..60_000;

/// A seat in the group: one member after the other takes it.
pub async fn read(load: Rc<Load>, number: u16) {
    let mut random = Random::new(load.seed, 3000 + u64::from(number));
    let mut generation = 0;
    while !load.is_over() {
        let worker = if generation == 0 {
            format!("g{number}")
        } else {
            format!("g{number}.{generation}")
        };
        generation += 1;
        let until = Instant::now() + Duration::from_millis(random.within(MEMBERSHIP_MS));
        let mut seat = Seat {
            member: GroupMember::new(&load.group, &load.topic),
            cluster: Cluster::new(&load.bootstrap),
            next: BTreeMap::new(),
            load: load.clone(),
            worker,
        };
        let outcome = seat.take(until).await;
        let left = seat.member.leave(&mut seat.cluster).await;
        if matches!(outcome, Ok(Ended::Run)) {
            return;
        }
        for error in [outcome.err(), left.err()].into_iter().flatten() {
            load.trouble(&error);
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

enum Ended {
    /// Everything that this member is to read was read and committed.
    Run,
    /// It is another's turn.
    Turn,
    /// The group rebalances.
    Generation,
}

struct Seat {
    load: Rc<Load>,
    worker: String,
    member: GroupMember,
    cluster: Cluster,
    /// By partition: the offset after the last record that was given to this member, or where it began.
    next: BTreeMap<i32, i64>,
}

impl Seat {
    /// Until this member is to leave, or the run is over for it.
    async fn take(&mut self, until: Instant) -> Result<Ended, ClientError> {
        loop {
            let partitions = self.member.join(&mut self.cluster).await?;
            let generation = self.member.generation_id();
            self.load
                .assign(&self.worker, partitions.iter().copied(), Some(generation));
            let asked_at = self.load.recorder.now();
            let committed = self.member.committed(&mut self.cluster, &partitions).await?;
            for partition in partitions.iter().copied() {
                let offset = committed.get(&partition).copied();
                self.load.tell_group_offset(&self.worker, asked_at, partition, offset);
            }
            let topic = self.cluster.topic(&self.load.topic, false).await?;
            let starts = partitions.iter().map(|partition| (*partition, EARLIEST));
            let starts = Consumer::starting(&mut self.cluster, topic.clone(), starts).await?;
            // From what was committed on, if that was not deleted.
            let from = |(partition, start): (&i32, &i64)| {
                (
                    *partition,
                    committed.get(partition).copied().unwrap_or(*start).max(*start),
                )
            };
            self.next = starts.positions().iter().map(from).collect();
            let mut consumer = Consumer::starting(&mut self.cluster, topic, self.next.clone()).await?;
            match self.read_on(&mut consumer, until).await? {
                Ended::Generation => {}
                ended => return Ok(ended),
            }
        }
    }

    async fn read_on(&mut self, consumer: &mut Consumer, until: Instant) -> Result<Ended, ClientError> {
        let (mut heartbeat, mut commit) = (Instant::now() + HEARTBEAT, Instant::now() + COMMIT);
        let mut committed = self.next.clone();
        loop {
            let now = Instant::now();
            let done = self.load.is_over() || self.load.ends().is_some_and(|ends| consumer.has_reached(&ends));
            let leaves = self.load.is_loading() && now >= until;
            if done || leaves || now >= commit {
                commit = now + COMMIT;
                let standing = self.commit(&mut committed).await?;
                match standing {
                    Standing::MustJoin => return Ok(Ended::Generation),
                    Standing::Assigned if done => return Ok(Ended::Run),
                    Standing::Assigned if leaves => return Ok(Ended::Turn),
                    Standing::Assigned => {}
                }
            }
            if now >= heartbeat {
                heartbeat = now + HEARTBEAT;
                if self.member.heartbeat(&mut self.cluster).await? == Standing::MustJoin {
                    return self.commit(&mut committed).await.map(|_| Ended::Generation);
                }
            }
            if self.next.is_empty() {
                tokio::time::sleep(POLL).await;
            }
            let fetched = consumer.poll(&mut self.cluster, POLL).await?;
            tell(&self.load, &self.worker, fetched, &mut self.next);
        }
    }

    /// Commits what was read since the last commit. Whatever is not acknowledged may count nevertheless: the client may have
    /// asked twice.
    async fn commit(&mut self, committed: &mut BTreeMap<i32, i64>) -> Result<Standing, ClientError> {
        let is_new = |(partition, offset): &(&i32, &i64)| committed.get(partition) != Some(offset);
        let offsets: BTreeMap<i32, i64> = self.next.iter().filter(is_new).map(|(p, o)| (*p, *o)).collect();
        let recorder = &self.load.recorder;
        let mut operations = Vec::with_capacity(offsets.len());
        for (partition, offset) in &offsets {
            let operation = recorder.operation();
            let body = Body::Commit {
                operation,
                group: self.load.group.as_str().into(),
                partition: self.load.partition_name(*partition).into(),
                offset: *offset,
            };
            recorder.tell(&self.worker, body);
            operations.push(operation);
        }
        recorder.flush();
        let outcome = self.member.commit(&mut self.cluster, &offsets).await;
        for operation in operations {
            let error = match &outcome {
                Ok(Standing::Assigned) => {
                    recorder.tell(&self.worker, Body::Committed { operation });
                    continue;
                }
                Ok(Standing::MustJoin) => "the group rebalances".to_owned(),
                Err(error) => error.to_string(),
            };
            let body = Body::NotCommitted {
                operation,
                outcome: Outcome::Info,
                error: error.into(),
            };
            recorder.tell(&self.worker, body);
        }
        committed.extend(offsets);
        outcome
    }
}
