use super::machine::{Life, append, bases, batch};
use bytes::BytesMut;
use host::sim_disk::SimDisk;
use logstore::LogConfig;
use types::Offset;

/// A batch with a value of 100 bytes has 170: see `tests/layouts.rs`.
const BATCH: u32 = 170;

/// Each row: configuration, the timestamps of batches of 170 bytes, and the bases of the segments that they make.
/// Expectations are those of Kafka's `LogSegment.shouldRoll`.
#[test]
fn segments_roll_as_kafkas_do() {
    let config = LogConfig::default();
    let by_size = |segment_bytes| LogConfig {
        segment_bytes,
        ..config
    };
    let by_time = |segment_ms| LogConfig { segment_ms, ..config };
    let by_index = |segment_index_bytes| LogConfig {
        segment_index_bytes,
        // An entry for each batch but the first two.
        index_interval_bytes: 0,
        ..config
    };
    let rows = [
        ("exactly full", by_size(2 * BATCH), &[1, 1, 1, 1, 1][..], &[0, 2, 4][..]),
        ("a byte short", by_size(2 * BATCH - 1), &[1, 1, 1], &[0, 1, 2]),
        ("smaller than a batch", by_size(1), &[1, 1], &[0, 1]),
        ("not old enough", by_time(100), &[1_000, 1_100], &[0]),
        ("too old", by_time(100), &[1_000, 1_101], &[0, 1]),
        (
            "age counts from each segment's first",
            by_time(100),
            &[1_000, 1_101, 1_150, 1_201, 1_202],
            &[0, 1, 4],
        ),
        (
            "a first batch from the future",
            by_time(100),
            &[9_000, 1_000, 9_101],
            &[0, 2],
        ),
        // The time index is full at its last place but one: 36 bytes are three entries.
        ("time index full", by_index(36), &[1, 2, 3, 4, 5, 6], &[0, 3]),
        ("offset index full", by_index(36), &[9, 9, 9, 9, 9, 9, 9, 9], &[0, 5]),
    ];
    for (name, config, timestamps, expected) in rows {
        let life = Life::begin(&SimDisk::new(), 1);
        let mut log = life.create(1, config);
        for timestamp in timestamps {
            append(&mut log, *timestamp, 100, 0);
        }
        assert_eq!(bases(&log), expected, "{name}, one by one");
        let life = Life::begin(&SimDisk::new(), 1);
        let mut log = life.create(1, config);
        let mut all = BytesMut::new();
        for (offset, timestamp) in (0..).zip(timestamps) {
            all.extend_from_slice(&batch(Offset(offset), *timestamp, 100));
        }
        let end = Offset(timestamps.len() as i64);
        log.append(all.freeze(), Offset(0), end, 0).unwrap();
        if !name.contains("index") {
            assert_eq!(bases(&log), expected, "{name}, in one append");
        }
        assert_eq!(log.log_end_offset(), end);
    }
}

/// Batches without a timestamp age by the clock.
#[test]
fn batches_without_timestamps_roll_by_the_clock() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = life.create(
        1,
        LogConfig {
            segment_ms: 100,
            ..LogConfig::default()
        },
    );
    for wall_ms in [0, 100, 101, 150] {
        life.set_clock(wall_ms as u64);
        append(&mut log, -1, 100, wall_ms);
    }
    assert_eq!(bases(&log), [0, 2]);
}

/// Many logs that were made together do not roll together. Fails if the jitter is the same for each segment, or more than
/// `segment.jitter.ms`.
#[test]
fn jitter_is_drawn_for_each_segment() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = life.create(
        1,
        LogConfig {
            segment_ms: 1_000,
            segment_jitter_ms: 400,
            ..LogConfig::default()
        },
    );
    for timestamp in 0..40_000 {
        append(&mut log, timestamp, 1, 0);
    }
    let bases = bases(&log);
    let lengths: Vec<_> = bases.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        lengths.iter().all(|length| (601..=1_001).contains(length)),
        "{lengths:?}"
    );
    let distinct: std::collections::BTreeSet<_> = lengths.iter().collect();
    assert!(distinct.len() > 10, "{lengths:?}");
}

/// Offsets in an index are 31 bits wide.
#[test]
fn a_segment_ends_before_an_offset_does_not_fit_its_index() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = life.create(1, LogConfig::default());
    append(&mut log, 1, 10, 0);
    let far = i64::from(i32::MAX);
    for base in [far, far + 1] {
        log.append(batch(Offset(base), 1, 10), Offset(base), Offset(base + 1), 0)
            .unwrap();
    }
    assert_eq!(bases(&log), [0, far + 1]);
}
