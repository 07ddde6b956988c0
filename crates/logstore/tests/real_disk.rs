//! The same operations on real files, without a crash.

use host::RealDisk;
use logstore::conformance::{SimMachine, append, flush, partition, read_all};
use logstore::{LogConfig, LogDir, LogDirError, LogError, LogSlice, PlainFlush, RecoveryOutcome};
use std::sync::Arc;
use types::{LeaderEpoch, Offset, ReplicaIncarnation};

#[test]
fn append_roll_read_truncate_reopen_delete() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("data");
    let host = SimMachine::host(Arc::new(RealDisk), 1);
    let dir = LogDir::open(&host, &path).expect("opens");
    let id = dir.id();
    assert!(matches!(LogDir::open(&host, &path), Err(LogDirError::Locked(_))));
    let config = LogConfig {
        segment_bytes: 100_000,
        index_interval_bytes: 500,
        ..LogConfig::default()
    };
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), config)
        .expect("created");
    assert!(matches!(
        dir.create_log("orders", partition(0), ReplicaIncarnation(2), config),
        Err(LogError::Exists(_))
    ));
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut content = Vec::new();
    for index in 0..2_000u64 {
        content
            .extend_from_slice(&append(&mut log, LeaderEpoch((index / 900) as i32), 3, 200, index).expect("appended"));
        if index % 100 == 0 {
            assert!(flush(&mut log, &flusher));
        }
    }
    assert!(log.segment_sizes().len() > 10);
    assert_eq!(read_all(&log).expect("reads"), content);
    // The tail comes from memory, the rest from files, and a read in the middle of a batch gives all of it.
    assert!(matches!(
        log.read(Offset(5_990), Offset(6_000), 1 << 20, false),
        Ok(LogSlice::Memory(_))
    ));
    let slice = log.read(Offset(301), Offset(6_000), 5_000, false).expect("reads");
    assert!(matches!(slice, LogSlice::File { .. }));
    let (first, next) = LogSlice::offsets(&slice.bytes().expect("reads")).expect("batches");
    assert!(
        first == Offset(300) && next > Offset(306) && slice.len() <= 5_000,
        "{first}..{next}"
    );
    assert!(
        log.read(Offset(301), Offset(302), 5_000, true)
            .expect("reads")
            .is_empty(),
        "a batch above the bound"
    );
    assert!(
        log.read(Offset(301), Offset(6_000), 10, false)
            .expect("reads")
            .is_empty()
    );
    assert!(matches!(
        log.read(Offset(6_001), Offset(7_000), 1, true),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    assert_eq!(
        log.search_timestamp(1_000 + 4_321, Offset(6_000)).run().expect("reads"),
        Some((Offset(4_321), 5_321, LeaderEpoch(1)))
    );
    assert_eq!(
        log.search_max_timestamp(Offset(6_000)).run().expect("reads"),
        Some((Offset(5_999), 6_999, LeaderEpoch(2)))
    );
    assert_eq!(
        log.end_offset_for_epoch(LeaderEpoch(1)),
        Some((LeaderEpoch(1), Offset(5_400)))
    );
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(9)), None);
    log.truncate_to(Offset(3_001)).expect("truncated");
    assert_eq!(
        (log.log_end_offset(), log.last_epoch()),
        (Offset(3_000), LeaderEpoch(1))
    );
    append(&mut log, LeaderEpoch(4), 1, 10, 1).expect("appended");
    assert!(flush(&mut log, &flusher));
    let content = read_all(&log).expect("reads");
    log.close().expect("closes");
    drop((log, flusher, dir));

    let mut dir = LogDir::open(&host, &path).expect("opens");
    assert_eq!(dir.id(), id);
    let found = dir.recover().expect("recovers").remove(0);
    assert_eq!(found.outcome, RecoveryOutcome::Intact);
    assert!(
        found.bytes_read < content.len() as u64 / 2,
        "rolled segments were read: {}",
        found.bytes_read
    );
    let mut log = found.log;
    assert_eq!(read_all(&log).expect("reads"), content);
    assert_eq!(log.last_epoch(), LeaderEpoch(4));
    let (snapshot, headers) = log.recovered_tail().expect("reads");
    assert!(snapshot.is_none());
    assert_eq!(
        headers.map(|header| header.expect("reads").record_count).sum::<i32>(),
        3_001
    );
    log.write_producer_snapshot(Offset(3_000), &[]).expect("written");
    let (snapshot, headers) = log.recovered_tail().expect("reads");
    assert_eq!(
        (snapshot.map(|(offset, _)| offset), headers.count()),
        (Some(Offset(3_000)), 1)
    );
    log.increment_log_start(Offset(2_000)).expect("moved");
    assert!(matches!(
        log.read(Offset(1_999), Offset(3_000), 1, true),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    log.delete().expect("deleted");
    assert!(!path.join("orders-0").exists());
    let log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(2), config)
        .expect("created again");
    assert_eq!(log.log_end_offset(), Offset(0));
}
