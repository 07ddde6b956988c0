//! KIP-98 as tables, after the cases of Kafka's own description.

use super::*;
use types::LeaderEpoch;

const APPEND: Result<ProducerCheck, ErrorCode> = Ok(ProducerCheck::Append);
const NOW: i64 = 1_000_000;
const GAP: Result<ProducerCheck, ErrorCode> = Err(ErrorCode::OutOfOrderSequenceNumber);

fn batch(producer: i64, epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(offset),
        batch_length: 49,
        leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 1000,
        max_timestamp: 1000,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: count,
    }
}

/// Producer 7, epoch 2, batches of ten: sequences 0.. at offsets 100..
fn states(batches: i32) -> ProducerStates {
    let mut states = ProducerStates::new(86_400_000);
    for index in 0..batches {
        let header = batch(7, 2, index * 10, 10, 100 + i64::from(index) * 10);
        assert_eq!(states.check(&header), APPEND, "batch {index}");
        states.update(&header, NOW);
    }
    states
}

/// What `count` records at these sequences and offsets are recognised as.
fn duplicate(base_sequence: i32, count: i32, base_offset: i64) -> ProducerCheck {
    ProducerCheck::Duplicate(ProducerBatch {
        base_sequence,
        last_sequence: base_sequence + count - 1,
        base_offset: Offset(base_offset),
        last_offset: Offset(base_offset + i64::from(count) - 1),
        log_append_time: -1,
    })
}

#[test]
fn a_duplicate_bears_the_time_at_which_the_original_was_taken_in() {
    let mut states = ProducerStates::new(86_400_000);
    let stamped = BatchHeader {
        attributes: 8,
        max_timestamp: 4_711,
        ..batch(7, 0, 0, 1, 0)
    };
    states.update(&stamped, NOW);
    let Ok(ProducerCheck::Duplicate(original)) = states.check(&batch(7, 0, 0, 1, 0)) else {
        panic!("not recognised");
    };
    assert_eq!(original.log_append_time, 4_711);
}

#[test]
fn what_comes_after_seven_batches() {
    let states = states(7);
    let duplicate = |sequence, base| Ok(duplicate(sequence, 10, base));
    let rows = [
        ("the next", batch(7, 2, 70, 10, 0), APPEND),
        ("a gap", batch(7, 2, 71, 10, 0), GAP),
        ("the last again", batch(7, 2, 60, 10, 0), duplicate(60, 160)),
        (
            "the fifth from the end again",
            batch(7, 2, 20, 10, 0),
            duplicate(20, 120),
        ),
        ("the sixth from the end is forgotten", batch(7, 2, 10, 10, 0), GAP),
        ("a repetition cut otherwise", batch(7, 2, 60, 9, 0), GAP),
        (
            "an older epoch",
            batch(7, 1, 70, 10, 0),
            Err(ErrorCode::InvalidProducerEpoch),
        ),
        ("a new epoch from 0", batch(7, 3, 0, 10, 0), APPEND),
        ("a new epoch from elsewhere", batch(7, 3, 70, 10, 0), GAP),
        ("an unknown producer, any sequence", batch(8, 0, 1234, 10, 0), APPEND),
        ("no producer", batch(-1, -1, -1, 10, 0), APPEND),
    ];
    for (what, header, answer) in rows {
        assert_eq!(states.check(&header), answer, "{what}");
    }
}

#[test]
fn a_new_epoch_forgets_the_batches_of_the_old() {
    let mut states = states(3);
    states.update(&batch(7, 3, 0, 5, 130), NOW);
    assert_eq!(states.check(&batch(7, 3, 5, 1, 0)), APPEND);
    let again = duplicate(0, 5, 130);
    assert_eq!(states.check(&batch(7, 3, 0, 5, 0)), Ok(again));
    assert_eq!(
        states.check(&batch(7, 2, 20, 10, 0)),
        Err(ErrorCode::InvalidProducerEpoch)
    );
    assert_eq!(states.len(), 1);
}

#[test]
fn sequences_wrap_at_the_end() {
    let mut states = ProducerStates::new(1);
    states.update(&batch(7, 0, i32::MAX - 4, 5, 0), NOW);
    assert_eq!(states.check(&batch(7, 0, 0, 3, 0)), APPEND);
    assert_eq!(states.check(&batch(7, 0, 1, 3, 0)), GAP);
    // One batch may straddle it.
    let mut states = ProducerStates::new(1);
    states.update(&batch(7, 0, i32::MAX - 1, 5, 0), NOW);
    assert_eq!(states.check(&batch(7, 0, 3, 1, 0)), APPEND);
    let again = ProducerCheck::Duplicate(ProducerBatch {
        base_sequence: i32::MAX - 1,
        last_sequence: 2,
        base_offset: Offset(0),
        last_offset: Offset(4),
        log_append_time: -1,
    });
    assert_eq!(states.check(&batch(7, 0, i32::MAX - 1, 5, 0)), Ok(again));
}

#[test]
fn a_marker_opens_an_epoch_without_sequences() {
    let mut states = states(1);
    let marker = BatchHeader {
        attributes: 0x30,
        base_sequence: -1,
        ..batch(7, 3, -1, 1, 110)
    };
    assert_eq!(states.check(&marker), APPEND);
    states.update(&marker, NOW);
    assert_eq!(states.check(&batch(7, 3, 10, 1, 0)), GAP);
    assert_eq!(states.check(&batch(7, 3, 0, 1, 0)), APPEND);
}

#[test]
fn truncation_forgets_what_was_cut() {
    let mut states = states(3);
    states.update(&batch(9, 0, 0, 1, 130), NOW);
    assert!(states.clone().truncate(Offset(131)));
    let mut cut = states.clone();
    assert!(!cut.truncate(Offset(120)), "9 has lost all: rebuild");
    assert_eq!(cut.check(&batch(7, 2, 20, 10, 0)), APPEND, "no longer a duplicate");
    assert!(cut.get(ProducerId(9)).is_none());
    // A batch that straddles the cut is gone as a whole, as the log's is.
    assert!(!states.truncate(Offset(119)));
    assert_eq!(states.check(&batch(7, 2, 10, 10, 0)), APPEND);
}

/// ◆ Silence counts from the append, on this replica's clock. Fails if the records' timestamps (1000) count.
#[test]
fn silence_expires() {
    let mut states = ProducerStates::new(500);
    states.update(&batch(7, 0, 0, 1, 0), NOW);
    states.update(&batch(8, 0, 0, 1, 100), NOW + 100);
    // The clock was set back since.
    states.update(&batch(8, 0, 1, 1, 101), NOW - 5_000);
    states.expire(NOW + 499);
    assert_eq!(states.len(), 2);
    states.expire(NOW + 500);
    assert_eq!(
        states
            .snapshot()
            .iter()
            .map(|entry| (entry.producer_id, entry.last_append_ms))
            .collect::<Vec<_>>(),
        [(ProducerId(8), NOW + 100)]
    );
    let mut open = states.snapshot();
    open[0].current_txn_first_offset = Some(Offset(100));
    states.restore(open);
    states.expire(i64::MAX);
    assert_eq!(states.len(), 1, "an open transaction keeps its producer");
}

#[test]
fn snapshots_round_trip() {
    let mut states = states(7);
    states.update(&batch(9, 1, 0, 1, 200), NOW);
    let mut restored = ProducerStates::new(86_400_000);
    restored.restore(states.snapshot());
    assert_eq!(restored, states);
    // A snapshot from a disk may hold anything.
    let mut hostile = states.snapshot();
    let last = hostile[0].batches[4];
    hostile[0].batches.extend([last; 10]);
    restored.restore(hostile);
    assert_eq!(
        restored.get(ProducerId(7)).map(|entry| entry.batches.len()),
        Some(limits::PRODUCER_BATCHES_KEPT)
    );
}

#[test]
fn producers_are_bounded_and_the_silent_go_first() {
    let mut states = ProducerStates::new(i64::MAX);
    let most = i64::try_from(limits::PRODUCERS_PER_PARTITION_MAX).expect("fits");
    for producer in 0..most {
        states.update(&batch(producer, 0, 0, 1, producer), NOW);
    }
    states.update(&batch(0, 0, 1, 1, most), NOW);
    states.update(&batch(most, 0, 0, 1, most + 1), NOW);
    assert_eq!(states.len(), limits::PRODUCERS_PER_PARTITION_MAX);
    assert!(states.get(ProducerId(0)).is_some(), "spoke last but one");
    assert!(states.get(ProducerId(1)).is_none(), "was silent longest");
}
