use super::machine::{Life, bases};
use bytes::Bytes;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, flush};
use logstore::{Log, LogConfig, PlainFlush};
use records::{BatchBuilder, Compression};
use types::{LeaderEpoch, Offset};

/// A batch of records of 100 bytes with these timestamps.
fn batch(base: i64, timestamps: &[i64], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression)
        .base_offset(Offset(base))
        .leader_epoch(LeaderEpoch(3));
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(&[7; 100]), &[]);
    }
    builder.build()
}

/// Segments of two batches of two records, with an index entry for each batch but the first. Timestamps ascend by
/// 10 a record, but for a batch that is late and one that is early.
fn filled(life: &Life) -> Log {
    let config = LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 0,
        segment_ms: i64::MAX,
        ..LogConfig::default()
    };
    let mut log = life.create(1, config);
    for pair in 0..12i64 {
        let at = match pair {
            5 => [3, 4],
            6 => [500, 490],
            _ => [pair * 20, pair * 20 + 10],
        };
        let codec = if pair % 2 == 0 {
            Compression::None
        } else {
            Compression::Gzip
        };
        let (first, next) = (Offset(pair * 2), Offset(pair * 2 + 2));
        log.append(batch(first.0, &at, codec), first, next, 0).unwrap();
    }
    assert!(bases(&log).len() >= 4, "{:?}", bases(&log));
    log
}

fn check(log: &Log, when: &str) {
    let found = |timestamp, up_to| {
        let found = log.search_timestamp(timestamp, Offset(up_to)).run().unwrap();
        found.map(|(offset, at, epoch)| {
            assert_eq!(epoch, LeaderEpoch(3));
            (offset.0, at)
        })
    };
    // Offsets 0 to 9 have 0, 10 … 90; 10 and 11 have 3 and 4; 12 has 500, 13 has 490; 14 to 23 have 140, 150 … 230.
    for (timestamp, up_to, expected) in [
        (0, 24, Some((0, 0))),
        (1, 24, Some((1, 10))),
        (10, 24, Some((1, 10))),
        (55, 24, Some((6, 60))),
        (90, 24, Some((9, 90))),
        // The first record that is at least as late, not the nearest.
        (91, 24, Some((12, 500))),
        (150, 24, Some((12, 500))),
        (500, 24, Some((12, 500))),
        (501, 24, None),
        (i64::MAX, 24, None),
        // Only what is committed, record by record.
        (90, 10, Some((9, 90))),
        (90, 9, None),
        (91, 12, None),
    ] {
        assert_eq!(found(timestamp, up_to), expected, "{timestamp} below {up_to} {when}");
    }
    let greatest = |up_to| {
        log.search_max_timestamp(Offset(up_to))
            .run()
            .unwrap()
            .map(|(offset, at, _)| (offset.0, at))
    };
    assert_eq!(
        greatest(24),
        Some((12, 500)),
        "the record, not the end of its batch, {when}"
    );
    assert_eq!(greatest(12), None, "it is not committed yet, {when}");
}

/// Fails if rolled segments are looked up by an index that is not theirs, or the search stops at a segment's edge.
#[test]
fn timestamps_are_found_across_rolled_segments_and_after_a_restart() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let flusher = life
        .dir
        .start_flusher(&SimMachine::host(sim.handle(), 1), Box::new(PlainFlush));
    let mut log = filled(&life);
    check(&log, "while it is written");
    assert!(flush(&mut log, &flusher));
    drop((log, flusher, life));
    drop(sim.reopen());
    let mut life = Life::begin(&sim, 2);
    let mut log = life.dir.recover().unwrap().remove(0).log;
    check(&log, "after a restart");
    // Deleted records are not found: in the middle of a batch, and at the log's end.
    log.increment_log_start(Offset(7)).unwrap();
    let found = log.search_timestamp(0, Offset(24)).run().unwrap();
    assert_eq!(found.map(|(offset, ..)| offset), Some(Offset(7)));
    log.increment_log_start(Offset(24)).unwrap();
    assert_eq!(log.search_timestamp(0, Offset(24)).run().unwrap(), None);
    assert_eq!(log.search_max_timestamp(Offset(24)).run().unwrap(), None);
}

/// A search reads on a pool, while the shard goes on.
#[test]
fn a_segment_that_is_deleted_under_a_search_is_passed_over() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = filled(&life);
    let search = log.search_timestamp(0, Offset(24));
    let start = bases(&log)[2];
    log.increment_log_start(Offset(start)).unwrap();
    life.clean();
    life.set_clock(1_000_000);
    life.clean();
    let found = search.run().unwrap().map(|(offset, ..)| offset);
    assert_eq!(found, Some(Offset(start)));
}

/// Reads bounded by what a binary search needs: fails if a rolled segment is read from its start.
#[test]
fn a_rolled_segment_is_searched_by_its_time_index() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let config = LogConfig {
        segment_bytes: 4 << 20,
        segment_ms: i64::MAX,
        ..LogConfig::default()
    };
    let mut log = life.create(1, config);
    let mut offset = 0;
    while bases(&log).len() < 2 {
        let next = Offset(offset + 1);
        log.append(
            batch(offset, &[offset * 10], Compression::None),
            Offset(offset),
            next,
            0,
        )
        .unwrap();
        offset += 1;
    }
    // What it would read on the way is damaged.
    let segment = std::path::Path::new("/data/orders-0/00000000000000000000.log");
    for position in (0..2 << 20).step_by(100) {
        sim.flip_bit(segment, position, 0).unwrap();
    }
    let wanted = offset - 100;
    let found = log.search_timestamp(wanted * 10, Offset(offset)).run().unwrap();
    assert_eq!(found, Some((Offset(wanted), wanted * 10, LeaderEpoch(3))));
}
