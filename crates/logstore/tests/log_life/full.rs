use super::machine::{Life, batch};
use bytes::{Bytes, BytesMut};
use host::sim_disk::SimDisk;
use logstore::conformance::{partition, read_all};
use logstore::{FlushStrategy, Log, LogConfig, LogError, PlainFlush};
use types::{Offset, ReplicaIncarnation};

/// A batch with a value of 100 bytes.
const BATCH: u64 = 170;
const COUNT: u64 = 6;

fn batches(from: u64) -> Bytes {
    let mut all = BytesMut::new();
    for offset in from..COUNT {
        all.extend_from_slice(&batch(Offset(offset.cast_signed()), 1, 100));
    }
    all.freeze()
}

fn append_from(log: &mut Log, from: u64) -> Result<(), LogError> {
    let (first, next) = (Offset(from.cast_signed()), Offset(COUNT.cast_signed()));
    log.append(batches(from), first, next, 0)
}

fn flush(log: &mut Log) {
    while let Some(job) = log.begin_flush() {
        let done = PlainFlush.flush(vec![job]).unwrap();
        log.finish_flush(&done[0]);
    }
}

/// ◆ Wherever the room ends (in a batch, between two, in an index file, before a new segment), the log holds whole batches,
/// takes the others once there is room, and is the same after a power loss. Fails if the directory goes offline, if half a
/// batch stays, or if an append follows before its removal is on disk.
#[test]
fn wherever_the_room_ends_the_log_is_whole_and_goes_on() {
    let config = LogConfig {
        // Two batches each.
        segment_bytes: 340,
        ..LogConfig::default()
    };
    let mut ends = std::collections::BTreeSet::new();
    for left in (0..COUNT * BATCH + 200).step_by(7) {
        let sim = SimDisk::new();
        let mut life = Life::begin(&sim, left);
        let mut log = life.create(1, config);
        flush(&mut log);
        let used = sim.used_bytes();
        sim.set_faults(|faults| faults.capacity_bytes = Some(used + left));
        let outcome = append_from(&mut log, 0);
        let end = log.log_end_offset().0.unsigned_abs();
        ends.insert(end);
        assert!(!log.is_offline(), "{left} bytes left: {outcome:?}");
        assert_eq!(
            read_all(&log).unwrap(),
            batches(0)[..usize::try_from(end * BATCH).unwrap()],
            "{left} bytes left"
        );
        if end < COUNT {
            assert!(matches!(outcome, Err(LogError::Full)), "{left} bytes left: {outcome:?}");
        }
        let entries = sim.handle().read_dir(std::path::Path::new("/data/orders-0")).unwrap();
        let segments = entries.iter().filter(|entry| entry.name.ends_with(".log"));
        assert_eq!(
            segments.map(|entry| entry.len).sum::<u64>(),
            end * BATCH,
            "{left} bytes left"
        );
        sim.set_faults(|faults| faults.capacity_bytes = None);
        if log.is_full() && end < COUNT {
            life.dir.measure_room(Some(0));
            let early = log.is_full();
            assert!(
                early || end > 0,
                "{left} bytes left: what is cut off is not on disk yet"
            );
            let refused = append_from(&mut log, end);
            assert_eq!(refused.is_err(), early, "{left} bytes left: {refused:?}");
        }
        flush(&mut log);
        if log.log_end_offset().0.unsigned_abs() < COUNT {
            append_from(&mut log, end).unwrap();
        }
        assert!(!log.is_full());
        flush(&mut log);
        assert_eq!(read_all(&log).unwrap(), batches(0), "{left} bytes left");
        drop((log, life));
        sim.crash_losing_everything_unsynced();
        life = Life::begin(&sim, left + 1);
        let log = life.dir.recover().unwrap().remove(0).log;
        assert_eq!(log.log_end_offset(), Offset(COUNT.cast_signed()));
        assert_eq!(
            read_all(&log).unwrap(),
            batches(0),
            "{left} bytes left, after a power loss"
        );
    }
    // What goes to one segment is one write.
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [0, 2, 4, 6]);
}

/// ◆ Fails if the marks journal needs room of its own: what followers count on would be lost with the directory.
#[test]
fn what_was_written_before_the_room_ended_becomes_durable() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = life.create(1, LogConfig::default());
    flush(&mut log);
    append_from(&mut log, 0).unwrap();
    let used = sim.used_bytes();
    sim.set_faults(|faults| faults.capacity_bytes = Some(used));
    flush(&mut log);
    assert_eq!(log.durable_offset(), Offset(COUNT.cast_signed()));
}

/// ◆ Fails if the directory goes offline, if half a log stays behind, or if the same replica cannot be made once there is
/// room, or after a power loss in between.
#[test]
fn a_new_log_that_finds_no_room_leaves_nothing_and_is_made_later() {
    let mut refused = 0;
    for left in 0..80 {
        for power_loss in [false, true] {
            let sim = SimDisk::new();
            let mut life = Life::begin(&sim, left);
            let before = life.names("");
            let used = sim.used_bytes();
            sim.set_faults(|faults| faults.capacity_bytes = Some(used + left));
            let create = |life: &Life| {
                let config = LogConfig::default();
                life.dir
                    .create_log("orders", partition(0), ReplicaIncarnation(1), config)
            };
            match create(&life) {
                Ok(_) => continue,
                Err(LogError::Full) => refused += 1,
                Err(error) => panic!("{left} bytes left: {error}"),
            }
            assert!(!life.dir.is_offline() && life.dir.is_full(), "{left} bytes left");
            assert_eq!(life.names(""), before, "{left} bytes left");
            assert!(matches!(create(&life), Err(LogError::Full)), "{left} bytes left");
            sim.set_faults(|faults| faults.capacity_bytes = None);
            if power_loss {
                drop(life);
                sim.crash(left);
                life = Life::begin(&sim, left + 1);
                assert!(life.dir.recover().unwrap().is_empty());
                assert!(!life.names("").contains(&"orders-0".to_owned()), "{left} bytes left");
            }
            let mut log = create(&life).unwrap();
            append_from(&mut log, 0).unwrap();
            flush(&mut log);
            assert_eq!(read_all(&log).unwrap(), batches(0));
        }
    }
    assert!(refused > 10, "{refused}");
}
