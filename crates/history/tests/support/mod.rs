//! Clean random histories: clients of a log that loses nothing.

use history::{Body, Event, Header, History, Outcome, Read};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub const PARTITIONS: usize = 3;
const PRODUCERS: usize = 3;
/// The first two consumers read alone, the others are members of the group.
const CONSUMERS: usize = 4;
const ALONE: usize = 2;
pub const GROUP: &str = "group";

/// SplitMix64: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

struct Sending {
    operation: u64,
    producer: usize,
    partition: usize,
    value: u64,
    offset: Option<i64>,
}

/// The model: what is in the log, and what everybody is about to do.
struct Model {
    random: Random,
    now: u64,
    next: u64,
    events: Vec<Event<'static>>,
    logs: Vec<Vec<(u64, i32)>>,
    epochs: Vec<i32>,
    sending: Vec<Sending>,
    positions: Vec<Vec<usize>>,
    owned: Vec<Vec<usize>>,
    committed: Vec<i64>,
    generation: i32,
    fault: Option<u64>,
}

pub fn name(partition: usize) -> Cow<'static, str> {
    Cow::Owned(format!("topic-{partition}"))
}

pub fn event(at: u64, worker: impl Into<String>, body: Body<'static>) -> Event<'static> {
    Event {
        at,
        worker: Cow::Owned(worker.into()),
        body,
    }
}

/// A clean history of some `steps` steps.
pub fn clean(seed: u64, steps: usize) -> Vec<Event<'static>> {
    let mut model = Model {
        random: Random(seed),
        now: 1_000,
        next: 1,
        events: Vec::new(),
        logs: vec![Vec::new(); PARTITIONS],
        epochs: vec![0; PARTITIONS],
        sending: Vec::new(),
        positions: vec![vec![0; PARTITIONS]; CONSUMERS],
        owned: vec![(0..PARTITIONS).collect(); CONSUMERS],
        committed: vec![-1; PARTITIONS],
        generation: 0,
        fault: None,
    };
    (0..ALONE).for_each(|consumer| model.tell(format!("c{consumer}"), assign(&[0, 1, 2], None)));
    model.rebalance();
    (0..steps).for_each(|_| model.step());
    model.finish();
    model.events
}

fn assign(partitions: &[usize], generation: Option<i32>) -> Body<'static> {
    Body::Assign {
        partitions: partitions.iter().map(|partition| name(*partition)).collect(),
        group: generation.map(|_| Cow::Borrowed(GROUP)),
        generation,
    }
}

impl Model {
    fn tell(&mut self, worker: impl Into<String>, body: Body<'static>) {
        self.now += 1 + self.random.below(1000) as u64;
        self.events.push(event(self.now, worker, body));
    }

    fn operation(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.begin_send(),
            30..45 => self.append(),
            45..70 => self.end_send(),
            70..85 => self.poll(),
            85..90 => self.commit(),
            90..92 => self.look(),
            92 => self.seek(),
            93 => self.rebalance(),
            94..96 => self.elect(),
            96 => self.fault(),
            _ => self.ask_group_offset(),
        }
    }

    fn begin_send(&mut self) {
        let (producer, partition) = (self.random.below(PRODUCERS), self.random.below(PARTITIONS));
        let (operation, value) = (self.operation(), self.operation() * 1_000_003);
        let known = self.random.below(4) > 0;
        let body = Body::Send {
            operation,
            partition: known.then(|| name(partition)),
            value,
        };
        self.tell(format!("p{producer}"), body);
        self.sending.push(Sending {
            operation,
            producer,
            partition,
            value,
            offset: None,
        });
    }

    /// The oldest record of some producer that is not in the log yet gets there.
    fn append(&mut self) {
        if self.sending.is_empty() {
            return;
        }
        let at = self.random.below(self.sending.len());
        let (producer, partition) = (self.sending[at].producer, self.sending[at].partition);
        let waiting = |s: &&mut Sending| s.producer == producer && s.partition == partition && s.offset.is_none();
        if let Some(sending) = self.sending.iter_mut().find(waiting) {
            let log = &mut self.logs[partition];
            sending.offset = Some(i64::try_from(log.len()).unwrap());
            log.push((sending.value, self.epochs[partition]));
        }
    }

    fn end_send(&mut self) {
        if self.sending.is_empty() {
            return;
        }
        let at = self.random.below(self.sending.len());
        let sending = self.sending.remove(at);
        let worker = format!("p{}", sending.producer);
        let operation = sending.operation;
        let body = match (sending.offset, self.random.below(20)) {
            (_, 0) => return,
            (None, 1..10) => Body::NotSent {
                operation,
                outcome: Outcome::Fail,
                error: "refused".into(),
            },
            (None, _) | (_, 1) => Body::NotSent {
                operation,
                outcome: Outcome::Info,
                error: "timed out".into(),
            },
            (Some(offset), chance) => Body::Sent {
                operation,
                partition: Some(name(sending.partition)),
                offset: (chance != 2).then_some(offset),
                leader_epoch: None,
            },
        };
        self.tell(worker, body);
    }

    fn records(&self, partition: usize, from: usize, count: usize, with_epochs: bool) -> Vec<Read> {
        let log = self.logs[partition].iter().enumerate().skip(from).take(count);
        log.map(|(offset, (value, epoch))| Read {
            offset: i64::try_from(offset).unwrap(),
            value: Some(*value),
            leader_epoch: with_epochs.then_some(*epoch),
        })
        .collect()
    }

    fn poll(&mut self) {
        let consumer = self.random.below(CONSUMERS);
        let owned = self.owned[consumer].clone();
        if owned.is_empty() {
            return;
        }
        let partition = owned[self.random.below(owned.len())];
        let (count, epochs) = (1 + self.random.below(5), self.random.below(2) == 0);
        let records = self.records(partition, self.positions[consumer][partition], count, epochs);
        self.positions[consumer][partition] += records.len();
        let body = Body::Poll {
            partition: name(partition),
            records,
        };
        self.tell(format!("c{consumer}"), body);
    }

    fn commit(&mut self) {
        let consumer = ALONE + self.random.below(CONSUMERS - ALONE);
        let operation = self.operation();
        let owned = self.owned[consumer].clone();
        let Some(partition) = owned.first().copied() else {
            return;
        };
        let offset = i64::try_from(self.positions[consumer][partition]).unwrap();
        if offset == 0 {
            return;
        }
        let body = Body::Commit {
            operation,
            group: GROUP.into(),
            partition: name(partition),
            offset,
        };
        self.tell(format!("c{consumer}"), body);
        let counts = self.random.below(4) > 0;
        if counts {
            self.committed[partition] = offset;
        }
        let body = match (counts, self.random.below(2)) {
            (true, 0) | (false, 0) => Body::NotCommitted {
                operation,
                outcome: Outcome::Info,
                error: "timed out".into(),
            },
            (true, _) => Body::Committed { operation },
            (false, _) => Body::NotCommitted {
                operation,
                outcome: Outcome::Fail,
                error: "fenced".into(),
            },
        };
        self.tell(format!("c{consumer}"), body);
    }

    fn ask_group_offset(&mut self) {
        let partition = self.random.below(PARTITIONS);
        let asked_at = self.now;
        let body = Body::GroupOffset {
            asked_at,
            group: GROUP.into(),
            partition: name(partition),
            offset: self.committed[partition],
        };
        self.tell("main", body);
    }

    fn look(&mut self) {
        let partition = self.random.below(PARTITIONS);
        let body = Body::Offsets {
            asked_at: self.now,
            partition: name(partition),
            log_start: Some(0),
            high_watermark: Some(i64::try_from(self.logs[partition].len()).unwrap()),
        };
        self.tell("main", body);
    }

    fn seek(&mut self) {
        let (consumer, partition) = (self.random.below(ALONE), self.random.below(PARTITIONS));
        let to = self.random.below(self.logs[partition].len() + 1);
        self.positions[consumer][partition] = to;
        let body = Body::Seek {
            partition: name(partition),
            offset: Some(i64::try_from(to).unwrap()),
        };
        self.tell(format!("c{consumer}"), body);
    }

    fn rebalance(&mut self) {
        self.generation += 1;
        (ALONE..CONSUMERS).for_each(|consumer| self.owned[consumer].clear());
        for partition in 0..PARTITIONS {
            let consumer = ALONE + self.random.below(CONSUMERS - ALONE);
            self.owned[consumer].push(partition);
            self.positions[consumer][partition] = usize::try_from(self.committed[partition]).unwrap_or(0);
        }
        for consumer in ALONE..CONSUMERS {
            let body = assign(&self.owned[consumer], Some(self.generation));
            self.tell(format!("c{consumer}"), body);
        }
    }

    fn elect(&mut self) {
        let partition = self.random.below(PARTITIONS);
        self.epochs[partition] += 1;
        let body = Body::Leader {
            partition: name(partition),
            leader_epoch: self.epochs[partition],
            node: self.epochs[partition] % 3,
        };
        self.tell("main", body);
    }

    fn fault(&mut self) {
        let body = match self.fault.take() {
            Some(operation) => Body::FaultEnd { operation },
            None => {
                let operation = self.operation();
                self.fault = Some(operation);
                Body::FaultBegin {
                    operation,
                    name: "kill".into(),
                    on: Some("node 1".into()),
                }
            }
        };
        self.tell("main", body);
    }

    fn finish(&mut self) {
        while !self.sending.is_empty() {
            self.append();
            self.end_send();
        }
        for partition in 0..PARTITIONS {
            let end = self.logs[partition].len();
            let half = self.records(partition, 0, end / 2, true);
            let rest = self.records(partition, end / 2, end, true);
            let bounds = Some((0, i64::try_from(end).unwrap()));
            for (records, bounds) in [(half, None), (rest, bounds)] {
                let partition = name(partition);
                let body = Body::Final {
                    partition,
                    records,
                    bounds,
                };
                self.tell("scan", body);
            }
        }
    }
}

/// As one history, without files.
pub fn collect(header: Header, events: &[Event<'_>]) -> History {
    let mut history = History::new(header);
    for event in events {
        history.push(event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
    }
    history
}

/// A header that promises everything that clean histories keep.
pub fn strict() -> Header {
    Header {
        keeps: true,
        ordered: true,
        about: BTreeMap::from([("seed".to_owned(), 1.into())]),
        ..Header::default()
    }
}
