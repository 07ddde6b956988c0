//! The checker checked: clean histories show nothing, and each planted anomaly is found, named, and nothing else.

mod bounds;
mod groups;
mod records;
#[path = "../support/mod.rs"]
mod support;

use history::{AnomalyKind, Body, Demands, Event, Header, Outcome, Read, Report, Verdict};
use support::{GROUP, PARTITIONS, clean, collect, event, name, strict};

const STEPS: usize = 1_000;
const SEEDS: u64 = 10;

fn none() -> Demands {
    Demands {
        acknowledged_min: 0,
        acknowledged_per_fault_min: 0,
        read_min: 0,
    }
}

fn check(header: Header, events: &[Event<'_>]) -> Report {
    collect(header, events).check(&none())
}

/// Plants something in clean histories: it and nothing else is found in each.
fn finds(kind: AnomalyKind, plant: impl Fn(&mut Vec<Event<'static>>)) {
    for seed in 0..SEEDS {
        let mut events = clean(seed, STEPS);
        plant(&mut events);
        let report = check(strict(), &events);
        let found: Vec<AnomalyKind> = report.anomalies.counts.keys().copied().collect();
        assert_eq!(found, [kind], "seed {seed}: {report}");
        assert_eq!(report.verdict, Verdict::Anomalous);
        let example = &report.anomalies.examples[0];
        assert!(
            !example.operations.is_empty() && example.operations[0].contains("line "),
            "{example}"
        );
    }
}

fn end(events: &[Event<'_>]) -> u64 {
    events.iter().map(|event| event.at).max().unwrap() + 1
}

fn read(offset: i64, value: u64) -> Read {
    Read {
        offset,
        value: Some(value),
        leader_epoch: None,
    }
}

/// Records of partition 0 as the final scan found them.
fn log(events: &[Event<'_>]) -> Vec<Read> {
    let of = |event: &Event<'_>| match &event.body {
        Body::Final { partition, records, .. } if *partition == name(0) => records.clone(),
        _ => Vec::new(),
    };
    events.iter().flat_map(of).collect()
}

/// An acknowledged record of partition 0: its value and offset.
fn acknowledged(events: &[Event<'_>]) -> (u64, i64) {
    let mut operations = std::collections::BTreeMap::new();
    for event in events {
        match &event.body {
            Body::Send { operation, value, .. } => {
                operations.insert(*operation, *value);
            }
            Body::Sent {
                operation,
                partition: Some(partition),
                offset: Some(offset),
                ..
            } if *partition == name(0) && *offset > 3 => return (operations[operation], *offset),
            _ => {}
        }
    }
    panic!("nothing was acknowledged")
}

fn send(at: u64, worker: &str, operation: u64, partition: &str, value: u64) -> Event<'static> {
    let partition = Some(partition.to_owned().into());
    event(
        at,
        worker,
        Body::Send {
            operation,
            partition,
            value,
        },
    )
}

fn sent(at: u64, worker: &str, operation: u64, offset: i64) -> Event<'static> {
    event(
        at,
        worker,
        Body::Sent {
            operation,
            partition: None,
            offset: Some(offset),
            leader_epoch: None,
        },
    )
}

fn poll(at: u64, worker: &str, partition: &str, records: Vec<Read>) -> Event<'static> {
    event(
        at,
        worker,
        Body::Poll {
            partition: partition.to_owned().into(),
            records,
        },
    )
}

fn scan(at: u64, partition: &str, records: Vec<Read>, log_start: i64) -> Event<'static> {
    let high_watermark = records.last().map_or(log_start, |read| read.offset + 1);
    event(
        at,
        "scan",
        Body::Final {
            partition: partition.to_owned().into(),
            records,
            bounds: Some((log_start, high_watermark)),
        },
    )
}

/// The last line of partition 0's final scan.
fn last_scan<'e>(events: &'e mut [Event<'static>]) -> &'e mut Vec<Read> {
    let of = |event: &'e mut Event<'static>| match &mut event.body {
        Body::Final {
            partition,
            records,
            bounds: Some(_),
        } if *partition == name(0) => Some(records),
        _ => None,
    };
    events.iter_mut().find_map(of).unwrap()
}

fn remove(events: &mut [Event<'static>], value: u64, from_polls: bool) {
    for event in events {
        match &mut event.body {
            Body::Final { records, .. } => records.retain(|read| read.value != Some(value)),
            Body::Poll { records, .. } if from_polls => records.retain(|read| read.value != Some(value)),
            _ => {}
        }
    }
}

#[test]
fn clean_histories_show_nothing() {
    let mut counted = [0; 4];
    for seed in 0..100 {
        let report = check(strict(), &clean(seed, STEPS));
        assert_eq!(report.verdict, Verdict::Clean, "seed {seed}: {report}");
        let counts = &report.counts;
        let each = [counts.failed, counts.unknown_but_read, counts.commits, counts.polled];
        counted.iter_mut().zip(each).for_each(|(sum, more)| *sum += more);
    }
    assert!(
        counted.iter().all(|sum| *sum > 500),
        "a generator that does too little: {counted:?}"
    );
}

/// Values 70 and 71 one after the other to a partition that nothing else is about.
fn two_sends(at: u64, offsets: [i64; 2]) -> [Event<'static>; 4] {
    [
        send(at, "p0", 1 << 40, "other-0", 70),
        sent(at + 1, "p0", 1 << 40, offsets[0]),
        send(at + 2, "p1", 1 << 41, "other-0", 71),
        sent(at + 3, "p1", 1 << 41, offsets[1]),
    ]
}

/// The records of a fresh partition, read by the scan and these of them by a member of the group.
fn read_by_group(events: &mut Vec<Event<'static>>, offsets: &[i64]) -> u64 {
    let at = end(events);
    events.extend(two_sends(at, [0, 1]));
    let both = [read(0, 70), read(1, 71)];
    events.push(scan(at + 4, "other-0", both.to_vec(), 0));
    for offset in offsets {
        let (partition, record) = ("other-0".into(), both[usize::try_from(*offset).unwrap()]);
        events.push(event(
            at + 5,
            "c3",
            Body::Seek {
                partition,
                offset: None,
            },
        ));
        events.push(poll(at + 6, "c3", "other-0", vec![record]));
    }
    at + 10
}
