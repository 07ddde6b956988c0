//! Log starts, high watermarks, leaders and their epochs.

use super::*;

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
