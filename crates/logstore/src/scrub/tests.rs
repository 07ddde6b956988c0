use super::*;
use crate::conformance::{SimMachine, append, flush, partition};
use crate::{LogConfig, LogDir, LogError, PlainFlush};
use host::sim_disk::SimDisk;
use std::path::Path;

const DATA: &str = "/data";
const BATCHES: u64 = 12;
/// Records of a batch.
const RECORDS: i64 = 3;
/// First segment, in the middle of which the damage is.
const SEGMENT: &str = "/data/orders-0/00000000000000000000.log";
const DAY_MS: i64 = 86_400_000;

/// A log of three segments whose first half was written in epoch 1 and second half in 3, durable and opened again, so that
/// nothing of it is in memory; and the size of a batch.
fn written(sim: &SimDisk) -> (LogDir, Log, u64) {
    let mut size = 0;
    {
        let host = SimMachine::host(sim.handle(), 1);
        let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
        let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
        let config = LogConfig {
            segment_bytes: 2_000,
            ..LogConfig::default()
        };
        let mut log = dir
            .create_log("orders", partition(0), ReplicaIncarnation(1), config)
            .unwrap();
        for seed in 0..BATCHES {
            let epoch = LeaderEpoch(if seed < BATCHES / 2 { 1 } else { 3 });
            size = append(&mut log, epoch, RECORDS as usize, 100, seed).unwrap().len() as u64;
        }
        assert!(flush(&mut log, &flusher));
        assert!(
            log.segments.len() >= 3 && log.segments[1].base.0 >= 4 * RECORDS,
            "{:?}",
            log.segment_sizes()
        );
    }
    let mut dir = LogDir::open(&SimMachine::host(sim.reopen(), 2), Path::new(DATA)).unwrap();
    let log = dir.recover().unwrap().remove(0).log;
    assert_eq!(log.corrupt_at(), None);
    (dir, log, size)
}

/// Scrubs in small parts until the pass is over or damage is found; and the bytes read.
fn pass(log: &mut Log, now_ms: i64) -> (Option<RotFound>, u64) {
    let mut bytes = 0;
    while let Some(job) = log.next_scrub(now_ms, 7 * DAY_MS, 1) {
        let done = job.run().unwrap();
        bytes += done.bytes_read;
        if let Some(found) = log.finish_scrub(done) {
            return (Some(found), bytes);
        }
    }
    (None, bytes)
}

/// Bytes of a batch, and bits in them: base offset (down, up), length, leader epoch (up, down), CRC, last offset delta, a
/// record. The first six are not, or not all, covered by the CRC.
const DAMAGE: [(u64, u8); 9] = [
    (7, 0),
    (7, 5),
    (0, 7),
    (11, 2),
    (13, 1),
    (15, 0),
    (18, 3),
    (26, 0),
    (80, 5),
];

/// Fails without the scrub's chain: the CRC alone misses the first three and the epochs.
#[test]
fn the_scrub_finds_damage_of_every_kind_where_it_is() {
    let sim = SimDisk::new();
    let (_dir, mut log, size) = written(&sim);
    let (found, whole) = pass(&mut log, DAY_MS);
    assert_eq!((found, whole), (None, BATCHES * size));
    // The next pass begins when it is time, and the clock may have been set back.
    assert_eq!(pass(&mut log, 2 * DAY_MS), (None, 0));
    assert_eq!(pass(&mut log, 8 * DAY_MS), (None, whole));
    assert_eq!(pass(&mut log, 3 * DAY_MS), (None, whole));
    for (byte, bit) in DAMAGE {
        let sim = SimDisk::new();
        let (_dir, mut log, size) = written(&sim);
        assert_eq!(pass(&mut log, DAY_MS), (None, whole));
        sim.flip_bit(Path::new(SEGMENT), 2 * size + byte, bit).unwrap();
        let found = pass(&mut log, 9 * DAY_MS)
            .0
            .unwrap_or_else(|| panic!("missed: byte {byte} bit {bit}"));
        assert_eq!(
            found.rot.offset,
            Offset(2 * RECORDS),
            "byte {byte} bit {bit}: {}",
            found.rot
        );
        assert_eq!(found.good_at_ms, Some(DAY_MS), "the pass before saw it good");
    }
}

/// ◆ Nothing of a damaged batch is read, and what is before and behind it is. Fails without the chain, and where a batch
/// that cannot be found makes the read go on in the next segment.
#[test]
fn a_read_gives_nothing_of_a_damaged_batch_and_all_of_the_others() {
    for (byte, bit) in DAMAGE {
        // An epoch that fell is seen against the batch before it only.
        if (byte, bit) == (15, 0) {
            continue;
        }
        let sim = SimDisk::new();
        let (_dir, log, size) = written(&sim);
        sim.flip_bit(Path::new(SEGMENT), 2 * size + byte, bit).unwrap();
        let end = log.log_end_offset();
        let read = |from: i64, up_to: Offset| {
            log.read(Offset(from), up_to, 1 << 20, true)
                .and_then(|slice| slice.bytes())
        };
        let damaged = 2 * RECORDS;
        for from in [0, damaged, damaged + 1] {
            let error = read(from, end).unwrap_err();
            assert!(
                matches!(error, LogError::Rot(_)),
                "byte {byte} bit {bit} from {from}: {error}"
            );
        }
        assert_eq!(
            read(0, Offset(damaged)).map(|bytes| bytes.len() as u64).ok(),
            Some(2 * size).filter(|_| byte != 0)
        );
        let next_segment = log.segments[1].base;
        assert!(!read(next_segment.0, end).unwrap().is_empty());
    }
}

#[test]
fn a_segment_that_is_gone_or_short_is_damage() {
    for remove in [true, false] {
        let sim = SimDisk::new();
        let (_dir, mut log, size) = written(&sim);
        let disk = sim.handle();
        if remove {
            disk.remove_file(Path::new(SEGMENT)).unwrap();
        } else {
            disk.open(Path::new(SEGMENT), OpenMode::Write)
                .unwrap()
                .set_len(size + 10)
                .unwrap();
        }
        let found = pass(&mut log, DAY_MS).0.unwrap();
        assert_eq!(found.rot.offset, Offset(0));
        let end = log.log_end_offset();
        let read = log.read(Offset(0), end, 1 << 20, true).and_then(|slice| slice.bytes());
        assert!(matches!(read, Err(LogError::Rot(_))), "{read:?}");
    }
}

/// ◆ A log that is cut while a part of it is read is not taken for damaged. Fails without the look at the generation and
/// at the log start.
#[test]
fn what_was_cut_meanwhile_is_not_damage() {
    type Cut = fn(&mut Log);
    let cuts: [Cut; 3] = [
        |log| log.truncate_to(Offset(RECORDS)).unwrap(),
        |log| log.truncate_fully_and_start_at(Offset(50)).unwrap(),
        |log| log.increment_log_start(log.segments[1].base).unwrap(),
    ];
    for cut in cuts {
        let sim = SimDisk::new();
        let (_dir, mut log, _) = written(&sim);
        let job = log.next_scrub(DAY_MS, DAY_MS, u64::MAX).unwrap();
        cut(&mut log);
        sim.handle().remove_file(Path::new(SEGMENT)).ok();
        let done = job.run().unwrap();
        assert!(done.bad.is_some());
        assert_eq!(log.finish_scrub(done), None);
    }
}

/// A damaged index is no damaged log: it is made anew.
#[test]
fn a_damaged_index_is_made_anew() {
    let sim = SimDisk::new();
    let (_dir, mut log, size) = written(&sim);
    let index = Path::new(SEGMENT).with_extension("index");
    let file = sim.handle().open(&index, OpenMode::Write).unwrap();
    // The last batch of offset 2 is said to be in the middle of another.
    file.write_all_at(&[0, 0, 0, 2, 0, 0, 0, 99], 0).unwrap();
    let end = log.log_end_offset();
    let read = log.read(Offset(4), end, 1 << 20, true).and_then(|slice| slice.bytes());
    let LogError::Rot(rot) = read.unwrap_err() else {
        panic!("the index leads nowhere");
    };
    let done = log.inspect(rot.offset).unwrap().run().unwrap();
    assert_eq!(done.bad, None);
    assert_eq!(log.finish_scrub(done), None);
    let bytes = log.read(Offset(4), end, size as usize, true).unwrap().bytes().unwrap();
    assert_eq!(bytes.len() as u64, size);
    assert!(log.inspect(Offset(0)).unwrap().run().unwrap().bad.is_none());
}

/// A restart goes on where the scrub was, and a damaged checkpoint begins anew.
#[test]
fn the_scrub_goes_on_after_a_restart() {
    let sim = SimDisk::new();
    let (dir, mut log, size) = written(&sim);
    for _ in 0..5 {
        let done = log.next_scrub(DAY_MS, 7 * DAY_MS, 1).unwrap().run().unwrap();
        assert_eq!(log.finish_scrub(done), None);
    }
    dir.write_checkpoints().unwrap();
    drop((dir, log));
    let reopened = |disk| {
        let mut dir = LogDir::open(&SimMachine::host(disk, 3), Path::new(DATA)).unwrap();
        let log = dir.recover().unwrap().remove(0).log;
        (dir, log)
    };
    let (dir, mut log) = reopened(sim.reopen());
    // The batches of its segment that it has seen are read again.
    let (found, bytes) = pass(&mut log, 2 * DAY_MS);
    assert!(
        found.is_none() && bytes < BATCHES * size && bytes >= (BATCHES - 5) * size,
        "{bytes}"
    );
    dir.write_checkpoints().unwrap();
    drop((dir, log));
    let (dir, mut log) = reopened(sim.reopen());
    assert_eq!(pass(&mut log, 3 * DAY_MS), (None, 0), "the pass is over");
    drop((dir, log));
    let path = Path::new(DATA).join("scrub-checkpoint");
    let text = String::from_utf8(sim.handle().read(&path).unwrap()).unwrap();
    assert_eq!(to_text(&parse(&text)), text);
    for bad in ["", "1\n0\n", "0\n2\norders 0 1 1 1 1\n", "0\n1\norders 0 1 1 x 1\n"] {
        assert!(parse(bad).is_empty(), "{bad:?}");
    }
}

/// ◆ A batch that is no batch any more, with nothing behind it: an empty answer would have a consumer wait for ever.
#[test]
fn the_last_batch_is_not_read_as_nothing_when_it_is_damaged() {
    let sim = SimDisk::new();
    let (_dir, mut log, _) = written(&sim);
    let active = log.segments.last().unwrap();
    let last = log.log_end_offset().plus(-RECORDS);
    let (position, _) = active.batch_at(&log.dir, last).unwrap().unwrap();
    // Its magic byte: 2 becomes 3.
    sim.flip_bit(&active.path, position + 16, 0).unwrap();
    let read = log.read(last, log.log_end_offset(), 1 << 20, true);
    assert!(matches!(read, Err(LogError::Rot(_))), "{read:?}");
    let done = log.inspect(last).unwrap().run().unwrap();
    assert_eq!(log.finish_scrub(done).map(|found| found.rot.offset), Some(last));
}
