//! Groups: their offsets and their members.

use super::*;

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
