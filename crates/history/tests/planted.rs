//! The checker checked: clean histories show nothing, and each planted anomaly is found, named, and nothing else.

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

#[test]
fn two_values_at_one_offset() {
    finds(AnomalyKind::InconsistentOffset, |events| {
        let (at, known) = (end(events), log(events)[2]);
        events.push(send(at, "odd", 1 << 40, &name(0), 77));
        events.push(poll(at + 1, "odd reader", &name(0), vec![read(known.offset, 77)]));
    });
}

#[test]
fn one_value_at_two_offsets() {
    finds(AnomalyKind::Duplicate, |events| {
        let first = log(events)[2];
        let scanned = last_scan(events);
        let offset = scanned.last().unwrap().offset + 1;
        scanned.push(Read {
            offset,
            ..*scanned.last().unwrap()
        });
        scanned.last_mut().unwrap().value = first.value;
    });
}

#[test]
fn an_acknowledged_record_that_nobody_ever_reads() {
    finds(AnomalyKind::Lost, |events| {
        let (value, _) = acknowledged(events);
        remove(events, value, true);
    });
}

#[test]
fn an_acknowledged_record_that_was_read_and_is_gone() {
    finds(AnomalyKind::Lost, |events| {
        let (value, offset) = acknowledged(events);
        events.insert(
            events.len() - 2 * PARTITIONS,
            poll(end(events), "odd reader", &name(0), vec![read(offset, value)]),
        );
        remove(events, value, false);
    });
}

#[test]
fn an_acknowledged_record_before_one_that_was_read_where_no_scan_was_made() {
    finds(AnomalyKind::Lost, |events| {
        let at = end(events);
        events.extend(two_sends(at, [0, 1]));
        events.push(poll(at + 4, "odd reader", "other-0", vec![read(1, 71)]));
    });
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

#[test]
fn an_acknowledged_record_whose_offset_and_partition_nobody_knows() {
    finds(AnomalyKind::Lost, |events| {
        let at = end(events);
        let body = Body::Send {
            operation: 1 << 40,
            partition: None,
            value: 70,
        };
        events.push(event(at, "p0", body));
        let body = Body::Sent {
            operation: 1 << 40,
            partition: None,
            offset: None,
            leader_epoch: None,
        };
        events.push(event(at + 1, "p0", body));
    });
}

#[test]
fn an_unacknowledged_record_that_was_read_and_is_gone() {
    finds(AnomalyKind::Lost, |events| {
        let at = end(events);
        events.push(send(at, "p0", 1 << 40, "other-0", 70));
        events.push(poll(at + 1, "odd reader", "other-0", vec![read(0, 70)]));
        events.push(scan(at + 2, "other-0", Vec::new(), 0));
    });
}

#[test]
fn an_acknowledged_record_that_no_reader_got_to() {
    finds(AnomalyKind::Unseen, |events| {
        let at = end(events);
        events.extend(two_sends(at, [0, 1]));
        events.push(poll(at + 4, "odd reader", "other-0", vec![read(0, 70)]));
    });
}

#[test]
fn a_value_that_was_read_though_its_send_had_failed() {
    finds(AnomalyKind::FailedRead, |events| {
        let at = end(events);
        events.push(send(at, "p0", 1 << 40, "other-0", 70));
        let body = Body::NotSent {
            operation: 1 << 40,
            outcome: Outcome::Fail,
            error: "no".into(),
        };
        events.push(event(at + 1, "p0", body));
        events.push(scan(at + 2, "other-0", vec![read(0, 70)], 0));
    });
}

#[test]
fn a_value_that_nobody_sent() {
    finds(AnomalyKind::Phantom, |events| {
        let scanned = last_scan(events);
        let offset = scanned.last().unwrap().offset + 1;
        scanned.push(read(offset, 77));
    });
}

#[test]
fn a_value_that_was_sent_to_another_partition() {
    finds(AnomalyKind::Phantom, |events| {
        let at = end(events);
        events.push(send(at, "p0", 1 << 40, "other-0", 70));
        events.push(scan(at + 1, "other-1", vec![read(0, 70)], 0));
    });
}

#[test]
fn a_value_that_was_read_before_it_was_sent() {
    finds(AnomalyKind::Phantom, |events| {
        let at = end(events);
        events.push(poll(at, "odd reader", "other-0", vec![read(0, 70)]));
        events.push(send(at + 1, "p0", 1 << 40, "other-0", 70));
        events.push(scan(at + 2, "other-0", vec![read(0, 70)], 0));
    });
}

#[test]
fn a_record_without_a_value() {
    finds(AnomalyKind::Corrupt, |events| {
        let scanned = last_scan(events);
        let offset = scanned.last().unwrap().offset + 1;
        scanned.push(Read {
            offset,
            value: None,
            leader_epoch: None,
        });
    });
}

#[test]
fn a_consumer_that_was_not_given_a_record() {
    finds(AnomalyKind::PollSkip, |events| {
        let (at, log) = (end(events), log(events));
        events.push(poll(at, "odd reader", &name(0), vec![log[0], log[1]]));
        events.push(poll(at + 1, "odd reader", &name(0), vec![log[3]]));
    });
}

#[test]
fn a_consumer_that_was_given_a_record_twice() {
    finds(AnomalyKind::NonmonotonicPoll, |events| {
        let (at, log) = (end(events), log(events));
        events.push(poll(at, "odd reader", &name(0), vec![log[0], log[1]]));
        events.push(poll(at + 1, "odd reader", &name(0), vec![log[1]]));
    });
}

#[test]
fn an_assignment_and_a_seek_let_a_consumer_begin_anywhere() {
    for seed in 0..SEEDS {
        let mut events = clean(seed, STEPS);
        let (at, log) = (end(&events), log(&events));
        events.push(poll(at, "odd reader", &name(0), vec![log[0], log[1]]));
        let (partition, offset) = (name(0), None);
        events.push(event(at + 1, "odd reader", Body::Seek { partition, offset }));
        events.push(poll(at + 2, "odd reader", &name(0), vec![log[3]]));
        let body = Body::Assign {
            partitions: vec![name(0)],
            group: None,
            generation: None,
        };
        events.push(event(at + 3, "odd reader", body));
        events.push(poll(at + 4, "odd reader", &name(0), vec![log[0]]));
        assert_eq!(check(strict(), &events).verdict, Verdict::Clean);
    }
}

#[test]
fn a_send_that_was_placed_before_one_that_was_acknowledged_before_it_began() {
    finds(AnomalyKind::NonmonotonicSend, |events| {
        let at = end(events);
        events.extend(two_sends(at, [1, 0]));
        events.push(scan(at + 4, "other-0", vec![read(0, 71), read(1, 70)], 0));
    });
}

/// Two sends of one producer in flight together, the second before the first in the log.
fn pipelined(events: &mut Vec<Event<'static>>) {
    let at = end(events);
    events.extend([
        send(at, "p0", 1 << 40, "other-0", 70),
        send(at + 1, "p0", 1 << 41, "other-0", 71),
        sent(at + 2, "p0", 1 << 40, 1),
        sent(at + 2, "p0", 1 << 41, 0),
        scan(at + 4, "other-0", vec![read(0, 71), read(1, 70)], 0),
    ]);
}

#[test]
fn sends_in_flight_together_out_of_order_where_the_producer_promises_order() {
    finds(AnomalyKind::NonmonotonicSend, pipelined);
    let mut events = clean(1, STEPS);
    pipelined(&mut events);
    assert_eq!(check(Header::default(), &events).verdict, Verdict::Clean);
}

/// Somebody deletes the first record of a partition.
fn deleted(events: &mut Vec<Event<'static>>) {
    let at = end(events);
    events.extend(two_sends(at, [0, 1]));
    events.push(scan(at + 4, "other-0", vec![read(1, 71)], 1));
}

#[test]
fn records_that_were_deleted_where_nobody_was_to_delete_any() {
    finds(AnomalyKind::Removed, deleted);
    let mut events = clean(1, STEPS);
    deleted(&mut events);
    let report = check(Header::default(), &events);
    assert_eq!((report.verdict, report.counts.removed), (Verdict::Clean, 1));
    assert!(
        report.notes[0].contains("1 acknowledged records lie below the log start, 1"),
        "{:?}",
        report.notes
    );
}

fn commit(at: u64, operation: u64, offset: i64, done: bool) -> [Event<'static>; 2] {
    let body = Body::Commit {
        operation,
        group: GROUP.into(),
        partition: "other-0".into(),
        offset,
    };
    let end = match done {
        true => Body::Committed { operation },
        false => Body::NotCommitted {
            operation,
            outcome: Outcome::Info,
            error: "?".into(),
        },
    };
    [event(at, "c3", body), event(at + 1, "c3", end)]
}

fn group_offset(at: u64, offset: i64) -> Event<'static> {
    let body = Body::GroupOffset {
        asked_at: at,
        group: GROUP.into(),
        partition: "other-0".into(),
        offset,
    };
    event(at + 1, "main", body)
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

#[test]
fn a_groups_offset_that_goes_back() {
    finds(AnomalyKind::GroupRegressed, |events| {
        let at = read_by_group(events, &[0, 1]);
        events.extend(commit(at, 1 << 42, 1, true));
        events.extend(commit(at + 2, 1 << 43, 2, true));
        events.push(group_offset(at + 5, 1));
    });
}

#[test]
fn a_groups_offset_that_was_forgotten() {
    finds(AnomalyKind::GroupRegressed, |events| {
        let at = read_by_group(events, &[0, 1]);
        events.extend(commit(at, 1 << 42, 1, true));
        events.push(group_offset(at + 5, -1));
    });
}

#[test]
fn a_commit_that_nobody_answered_may_count_whenever_it_will() {
    let mut events = clean(1, STEPS);
    let at = read_by_group(&mut events, &[0, 1]);
    events.extend(commit(at, 1 << 42, 1, false));
    events.extend(commit(at + 2, 1 << 43, 2, true));
    events.push(group_offset(at + 5, 1));
    assert_eq!(check(strict(), &events).verdict, Verdict::Clean);
}

#[test]
fn a_groups_offset_beyond_what_its_members_were_given() {
    finds(AnomalyKind::GroupBeyondRead, |events| {
        let at = read_by_group(events, &[0]);
        events.extend(commit(at, 1 << 42, 1, true));
        events.push(group_offset(at + 5, 2));
    });
}

#[test]
fn a_record_below_a_groups_offset_that_no_member_was_given() {
    finds(AnomalyKind::GroupSkip, |events| {
        let at = end(events);
        events.extend(two_sends(at, [0, 1]));
        events.extend([
            send(at + 4, "p1", 1 << 44, "other-0", 72),
            sent(at + 5, "p1", 1 << 44, 2),
            scan(at + 6, "other-0", vec![read(0, 70), read(1, 71), read(2, 72)], 0),
            poll(at + 7, "c2", "other-0", vec![read(0, 70)]),
            poll(at + 8, "c3", "other-0", vec![read(2, 72)]),
        ]);
        events.extend(commit(at + 9, 1 << 42, 3, true));
    });
}

#[test]
fn two_owners_of_a_partition_in_one_generation() {
    finds(AnomalyKind::TwoOwners, |events| {
        for worker in ["m0", "m1"] {
            let body = Body::Assign {
                partitions: vec![name(0), name(1)],
                group: Some("another".into()),
                generation: Some(if worker == "m0" { 7 } else { 8 }),
            };
            events.push(event(end(events), worker, body));
        }
        let body = Body::Assign {
            partitions: vec![name(1)],
            group: Some("another".into()),
            generation: Some(7),
        };
        events.push(event(end(events), "m2", body));
    });
}

fn bounds(at: u64, log_start: i64, high_watermark: i64) -> Event<'static> {
    let body = Body::Offsets {
        asked_at: at,
        partition: "other-0".into(),
        log_start: Some(log_start),
        high_watermark: Some(high_watermark),
    };
    event(at + 1, "main", body)
}

#[test]
fn a_high_watermark_below_an_earlier_one() {
    finds(AnomalyKind::HighWatermarkRegressed, |events| {
        let at = end(events);
        events.extend([bounds(at, 0, 5), bounds(at + 2, 0, 4)]);
    });
}

#[test]
fn a_high_watermark_below_what_was_acknowledged() {
    finds(AnomalyKind::HighWatermarkRegressed, |events| {
        let at = read_by_group(events, &[]);
        events.push(bounds(at, 0, 1));
    });
}

#[test]
fn a_send_that_was_placed_below_a_high_watermark_that_was_known() {
    finds(AnomalyKind::NonmonotonicSend, |events| {
        let at = end(events);
        events.push(bounds(at, 0, 1));
        events.extend(two_sends(at + 5, [0, 1]));
        events.push(scan(at + 10, "other-0", vec![read(0, 70), read(1, 71)], 0));
    });
}

#[test]
fn a_log_start_below_an_earlier_one() {
    finds(AnomalyKind::LogStartRegressed, |events| {
        let at = end(events);
        events.extend([bounds(at, 3, 5), bounds(at + 2, 2, 5)]);
    });
}

#[test]
fn a_leader_epoch_below_that_of_an_earlier_offset() {
    let epoch = |offset, value, epoch| Read {
        offset,
        value: Some(value),
        leader_epoch: Some(epoch),
    };
    finds(AnomalyKind::EpochRegressed, |events| {
        let at = end(events);
        events.extend(two_sends(at, [0, 1]));
        events.push(scan(at + 4, "other-0", vec![epoch(0, 70, 2), epoch(1, 71, 1)], 0));
    });
    // One offset in two epochs.
    finds(AnomalyKind::EpochRegressed, |events| {
        let at = end(events);
        events.extend(two_sends(at, [0, 1]));
        events.push(poll(at + 4, "odd reader", "other-0", vec![epoch(0, 70, 1)]));
        events.push(scan(at + 5, "other-0", vec![epoch(0, 70, 2), epoch(1, 71, 2)], 0));
    });
}

#[test]
fn two_leaders_in_one_leader_epoch() {
    finds(AnomalyKind::TwoLeaders, |events| {
        for node in [1, 2] {
            let body = Body::Leader {
                partition: name(0),
                leader_epoch: 1 << 20,
                node,
            };
            events.push(event(end(events), "main", body));
        }
    });
}
