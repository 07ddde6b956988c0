//! Records: lost, doubled, changed, out of order.

use super::*;

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
