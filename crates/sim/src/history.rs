use crate::workload::{Bounds, RELAXED, Read, SHORT, STRICT};
use history::{Body, Demands, Event, Header, Outcome};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use types::{LeaderEpoch, TopicPartition};
use uuid::Uuid;

pub type SharedHistory = Rc<RefCell<History>>;

/// The newest leader epoch of each partition in which any replica acts.
pub type NewestEpochs = Rc<RefCell<BTreeMap<TopicPartition, LeaderEpoch>>>;

/// What clients saw, for `history` to judge.
#[derive(Debug, Default)]
pub struct History {
    events: Vec<Event<'static>>,
    operations: u64,
    /// Topics, with their ids, that were deleted: nothing is expected of them.
    deleted: BTreeSet<String>,
    /// Up to where DeleteRecords was acknowledged, by place, and when.
    gone: BTreeMap<String, (i64, u64)>,
    /// The fault that lasts.
    fault: Option<u64>,
    pub newest: NewestEpochs,
    pub acknowledged: usize,
    pub unknown: u64,
    pub commits: u64,
    pub rebalances: u64,
    pub problems: Vec<String>,
}

/// Topic, id and partition as one name, since a topic that was deleted and created again is another.
#[must_use]
pub fn place(topic: &str, id: Uuid, partition: i32) -> String {
    format!("{}-{partition}", incarnation(topic, id))
}

/// The simulation's clock.
#[must_use]
pub fn now_ns() -> u64 {
    u64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn incarnation(topic: &str, id: Uuid) -> String {
    format!("{topic}#{:08x}", id.as_fields().0)
}

/// The topic with its id, of a [`place`].
fn incarnation_of(place: &str) -> &str {
    place.rsplit_once('-').map_or(place, |(incarnation, _)| incarnation)
}

fn topic_of(place: &str) -> &str {
    place.split('#').next().unwrap_or(place)
}

fn read((offset, value, epoch): &Read) -> history::Read {
    history::Read {
        offset: *offset,
        value: *value,
        leader_epoch: Some(*epoch),
    }
}

impl History {
    fn push(&mut self, worker: &str, body: Body<'static>) {
        self.events.push(Event {
            at: now_ns(),
            worker: worker.to_owned().into(),
            body,
        });
    }

    fn operation(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    /// A record is about to be sent. Answers the number of the operation.
    pub fn send(&mut self, worker: &str, place: &str, value: u64) -> u64 {
        let operation = self.operation();
        let partition = Some(place.to_owned().into());
        self.push(
            worker,
            Body::Send {
                operation,
                partition,
                value,
            },
        );
        operation
    }

    pub fn sent(&mut self, worker: &str, operation: u64, offset: i64) {
        self.acknowledged += 1;
        self.push(
            worker,
            Body::Sent {
                operation,
                partition: None,
                offset: Some(offset),
                leader_epoch: None,
            },
        );
    }

    /// `certainly`: it is nowhere and never will be.
    pub fn not_sent(&mut self, worker: &str, operation: u64, certainly: bool) {
        self.unknown += u64::from(!certainly);
        let outcome = if certainly { Outcome::Fail } else { Outcome::Info };
        let error = "no acknowledgement".into();
        self.push(
            worker,
            Body::NotSent {
                operation,
                outcome,
                error,
            },
        );
    }

    pub fn poll(&mut self, worker: &str, place: &str, records: &[Read]) {
        let (partition, records) = (place.to_owned().into(), records.iter().map(read).collect());
        self.push(worker, Body::Poll { partition, records });
    }

    /// The worker reads these and no others: of the group in the generation, where it has one.
    pub fn assign(&mut self, worker: &str, places: &[String], generation: Option<(&str, i32)>) {
        self.rebalances += u64::from(generation.is_some());
        let body = Body::Assign {
            partitions: places.iter().map(|place| place.clone().into()).collect(),
            group: generation.map(|(group, _)| group.to_owned().into()),
            generation: generation.map(|(_, generation)| generation),
        };
        self.push(worker, body);
    }

    pub fn seek(&mut self, worker: &str, place: &str, offset: i64) {
        let (partition, offset) = (place.to_owned().into(), Some(offset));
        self.push(worker, Body::Seek { partition, offset });
    }

    pub fn commit(&mut self, worker: &str, group: &str, place: &str, offset: i64) -> u64 {
        let operation = self.operation();
        self.push(
            worker,
            Body::Commit {
                operation,
                group: group.to_owned().into(),
                partition: place.to_owned().into(),
                offset,
            },
        );
        operation
    }

    pub fn committed(&mut self, worker: &str, operation: u64, known: bool) {
        self.commits += u64::from(known);
        let body = match known {
            true => Body::Committed { operation },
            false => Body::NotCommitted {
                operation,
                outcome: Outcome::Info,
                error: "no acknowledgement".into(),
            },
        };
        self.push(worker, body);
    }

    /// The group's offset as it was told now, asked for at `asked_at`.
    pub fn group_offset(&mut self, worker: &str, asked_at: u64, group: &str, place: &str, offset: i64) {
        self.push(
            worker,
            Body::GroupOffset {
                asked_at,
                group: group.to_owned().into(),
                partition: place.to_owned().into(),
                offset,
            },
        );
    }

    /// Log start and high watermark as ListOffsets told them now, asked for at `asked_at`. What a leader says that is no
    /// more one, and cannot know, counts for nothing: as in Kafka, nothing is acknowledged by it, but it may be read.
    ///
    /// Nor does what a leader's retention has deleted, perhaps while nobody heard it: who leads next begins where its own log
    /// does, as in Kafka, and deletes by itself. What DeleteRecords acknowledged stays deleted.
    pub fn bounds(&mut self, worker: &str, asked_at: u64, topic: &str, tp: TopicPartition, told: Bounds) {
        let newest = self.newest.borrow().get(&tp).copied();
        if newest.is_some_and(|newest| told.leader_epoch < newest.0) {
            return;
        }
        let Bounds { start, end, .. } = told;
        let place = place(topic, tp.topic.0, tp.partition);
        if let Some((low_watermark, since)) = self.gone.get(&place).copied()
            && since < asked_at
            && start < low_watermark
        {
            self.gone.remove(&place);
            self.problems.push(format!(
                "{place}: {worker} was told a log start of {start}, and records up to {low_watermark} had been deleted"
            ));
        }
        let body = Body::Offsets {
            asked_at,
            partition: place.into(),
            log_start: (topic != SHORT).then_some(start),
            high_watermark: Some(end),
        };
        self.push(worker, body);
    }

    /// DeleteRecords was acknowledged now: every live replica begins at `low_watermark` or later.
    pub fn deleted_to(&mut self, place: String, low_watermark: i64) {
        let gone = self.gone.entry(place).or_default();
        if low_watermark > gone.0 {
            *gone = (low_watermark, now_ns());
        }
    }

    /// Everything between the bounds at the end.
    pub fn scanned(&mut self, place: &str, records: &[Read], bounds: (i64, i64)) {
        let body = Body::Final {
            partition: place.to_owned().into(),
            records: records.iter().map(read).collect(),
            bounds: Some(bounds),
        };
        self.push("scan", body);
    }

    /// Somebody is about to delete a topic: nothing is expected of it from now on.
    pub fn delete(&mut self, topic: &str, id: Uuid) {
        self.deleted.insert(incarnation(topic, id));
    }

    /// A fault begins, the one before is over.
    pub fn fault(&mut self, what: &str) {
        if let Some(operation) = self.fault.take() {
            self.push("faults", Body::FaultEnd { operation });
        }
        let operation = self.operation();
        self.fault = Some(operation);
        let (name, on) = (what.to_owned().into(), None);
        self.push("faults", Body::FaultBegin { operation, name, on });
    }

    /// Everything that must not be, a line each. `excused` topics may lose what they acknowledged.
    #[must_use]
    pub fn check(&self, excused: &BTreeSet<String>) -> Vec<String> {
        let keeps = |topic: &str| (topic == STRICT || topic == RELAXED) && !excused.contains(topic);
        let mut problems = Vec::new();
        for kept in [true, false] {
            let wanted = |place: &str| {
                let topic = topic_of(place);
                keeps(topic) == kept && !excused.contains(topic) && !self.deleted.contains(incarnation_of(place))
            };
            problems.extend(self.check_part(kept, wanted));
        }
        problems
    }

    fn check_part(&self, keeps: bool, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let header = Header {
            keeps,
            ordered: true,
            about: BTreeMap::new(),
            ..Header::default()
        };
        let mut judged = history::History::new(header);
        let mut open = BTreeSet::new();
        let mut problems = Vec::new();
        for event in &self.events {
            let mut event = event.clone();
            let taken = match &mut event.body {
                Body::Send {
                    operation, partition, ..
                } => {
                    let taken = partition.as_deref().is_some_and(&wanted);
                    taken.then(|| open.insert(*operation)).is_some()
                }
                Body::Commit {
                    operation, partition, ..
                } => {
                    let taken = wanted(partition);
                    taken.then(|| open.insert(*operation)).is_some()
                }
                Body::Sent { operation, .. }
                | Body::NotSent { operation, .. }
                | Body::Committed { operation }
                | Body::NotCommitted { operation, .. } => open.contains(operation),
                Body::Assign { partitions, .. } => {
                    partitions.retain(|partition| wanted(partition));
                    true
                }
                Body::Poll { partition, .. }
                | Body::Seek { partition, .. }
                | Body::GroupOffset { partition, .. }
                | Body::Offsets { partition, .. }
                | Body::Leader { partition, .. }
                | Body::Final { partition, .. } => wanted(partition),
                Body::FaultBegin { .. } | Body::FaultEnd { .. } => true,
            };
            if taken && let Err(error) = judged.push(&event) {
                problems.push(format!("the load contradicts itself: {error}"));
            }
        }
        let report = judged.check(&Demands {
            acknowledged_min: 0,
            acknowledged_per_fault_min: 0,
            read_min: 0,
        });
        problems.extend(report.anomalies.examples.iter().map(|anomaly| anomaly.to_string()));
        problems
    }
}
