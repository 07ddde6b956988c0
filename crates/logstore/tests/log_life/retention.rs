use super::machine::{Life, append, bases};
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append_at, flush, read_all};
use logstore::{Log, LogConfig, PlainFlush, RecoveryOutcome};
use types::{LeaderEpoch, Offset};

/// Four segments of two batches of 170 bytes each, the last of them active: bases 0, 2, 4, 6, timestamps 10 a batch.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 340,
        retention_ms: -1,
        retention_bytes: -1,
        ..LogConfig::default()
    }
}

/// Expectations are those of Kafka's `UnifiedLog.deleteOldSegments`.
#[test]
fn segments_expire_as_kafkas_do() {
    let keep = config();
    let bytes = |retention_bytes| LogConfig {
        retention_bytes,
        ..keep
    };
    let ms = |retention_ms| LogConfig { retention_ms, ..keep };
    let both = LogConfig {
        retention_bytes: 1_000,
        retention_ms: 45,
        ..keep
    };
    // 8 batches, timestamps 10, 20 … 80; 1,360 bytes.
    for (name, config, high_watermark, wall_ms, expected) in [
        ("for ever", keep, 8, i64::MAX, None),
        ("all fits", bytes(1_360), 8, 0, None),
        ("a byte too much is no whole segment", bytes(1_021), 8, 0, None),
        ("a segment too much", bytes(1_020), 8, 0, Some(2)),
        ("three too many", bytes(340), 8, 0, Some(6)),
        ("nothing may stay", bytes(0), 8, 0, Some(8)),
        ("nothing may stay, but it is not committed", bytes(0), 7, 0, Some(6)),
        ("only what is committed", bytes(0), 3, 0, Some(2)),
        ("nothing is committed", bytes(0), 0, 0, None),
        ("exactly as old", ms(50), 8, 70, None),
        ("older", ms(50), 8, 71, Some(2)),
        ("all but the active one", ms(0), 8, 80, Some(6)),
        ("the active one too", ms(0), 8, 81, Some(8)),
        ("too old, but not committed", ms(0), 5, 1_000, Some(4)),
        // Size takes the first, age the second.
        ("by size, then by age", both, 8, 86, Some(4)),
        (
            "compacted only",
            LogConfig {
                delete: false,
                ..bytes(0)
            },
            8,
            0,
            None,
        ),
    ] {
        let life = Life::begin(&SimDisk::new(), 1);
        let mut log = life.create(1, config);
        for batch in 1..=8 {
            append(&mut log, batch * 10, 100, 0);
        }
        assert_eq!(bases(&log), [0, 2, 4, 6]);
        let start = log.retention_start(Offset(high_watermark), wall_ms);
        assert_eq!(start, expected.map(Offset), "{name}");
        if let Some(start) = start {
            log.increment_log_start(start).unwrap();
            assert_eq!(log.retention_start(Offset(high_watermark), wall_ms), None, "{name}");
            assert_eq!((log.log_start_offset(), bases(&log)[0]), (start, start.0), "{name}");
        }
    }
}

/// Without timestamps age counts from the last write, and from the start of the process.
#[test]
fn batches_without_timestamps_expire_by_the_clock() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let ms = LogConfig {
        retention_ms: 100,
        ..config()
    };
    let mut log = life.create(1, ms);
    for wall_ms in [0, 10, 20] {
        append(&mut log, -1, 100, wall_ms);
    }
    assert_eq!(log.retention_start(Offset(3), 110), None);
    assert_eq!(log.retention_start(Offset(3), 111), Some(Offset(2)));
    assert_eq!(log.retention_start(Offset(3), 121), Some(Offset(3)));
}

/// ◆ A log start that was moved is where the log starts after a power loss, whatever became of the files. Fails if the log
/// follows before the journal knows.
#[test]
fn a_log_start_outlives_a_power_loss() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let flusher = life
        .dir
        .start_flusher(&SimMachine::host(sim.handle(), 1), Box::new(PlainFlush));
    let mut log = life.create(1, config());
    for batch in 1..=8 {
        append(&mut log, batch * 10, 100, 0);
    }
    assert!(flush(&mut log, &flusher));
    let moved = log.begin_log_start(Offset(5)).unwrap().unwrap();
    assert_eq!(log.log_start_offset(), Offset(0), "not before it is durable");
    moved.run().unwrap();
    drop((log, flusher, life));
    sim.crash_losing_everything_unsynced();
    let mut life = Life::begin(&sim, 2);
    let log = life.dir.recover().unwrap().remove(0).log;
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(5), Offset(8)));
    assert_eq!(bases(&log), [4, 6], "the batch at 4 lies in the segment that 5 is in");
}

#[test]
fn a_log_start_is_not_moved_beyond_the_end_nor_back() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = life.create(1, config());
    append(&mut log, 1, 100, 0);
    assert!(log.begin_log_start(Offset(2)).is_err());
    log.increment_log_start(Offset(1)).unwrap();
    assert!(log.begin_log_start(Offset(0)).unwrap().is_none());
    append(&mut log, 2, 100, 0);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(1), Offset(2)));
}

/// A move whose replica was deleted meanwhile changes nothing: not the journal, and not the next replica of that name.
#[test]
fn a_move_that_comes_too_late_is_void() {
    let life = Life::begin(&SimDisk::new(), 1);
    let mut log = life.create(1, config());
    append(&mut log, 1, 100, 0);
    let moved = log.begin_log_start(Offset(1)).unwrap().unwrap();
    log.delete().unwrap();
    let mut next = life.create(2, config());
    moved.run().unwrap();
    append(&mut next, 1, 100, 0);
    next.finish_log_start(&moved).unwrap();
    assert_eq!(next.log_start_offset(), Offset(0));
    assert!(!life.dir.is_offline());
}

/// Records were deleted up to the middle of a batch, and a replica starts over there: it takes the whole batch, serves what
/// was not deleted of it, and has it after a power loss. Fails if every batch must begin at the log end.
#[test]
fn an_empty_log_takes_the_batch_that_its_start_lies_in() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let flusher = life
        .dir
        .start_flusher(&SimMachine::host(sim.handle(), 1), Box::new(PlainFlush));
    let mut log = life.create(1, config());
    append(&mut log, 1, 100, 0);
    log.truncate_fully_and_start_at(Offset(12)).unwrap();
    let take = |log: &mut Log, first, records| append_at(log, Offset(first), LeaderEpoch(3), records, 10, 1);
    assert!(take(&mut log, 10, 2).is_err(), "all of it was deleted");
    let batch = take(&mut log, 10, 5).unwrap();
    assert!(take(&mut log, 13, 5).is_err(), "the log is not empty any more");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(12), Offset(15)));
    assert_eq!(bases(&log), [10]);
    take(&mut log, 15, 1).unwrap();
    assert!(flush(&mut log, &flusher));
    drop((log, flusher, life));
    sim.crash_losing_everything_unsynced();
    let mut life = Life::begin(&sim, 2);
    let found = life.dir.recover().unwrap().remove(0);
    assert_eq!(found.outcome, RecoveryOutcome::Intact);
    assert_eq!(
        (found.log.log_start_offset(), found.log.log_end_offset()),
        (Offset(12), Offset(16))
    );
    let read = read_all(&found.log).unwrap();
    assert_eq!(read[..batch.len()], batch[..]);
}
