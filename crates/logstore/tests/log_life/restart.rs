use super::machine::{DATA, Life, append};
use host::OpenMode;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, flush, read_all};
use logstore::{Log, LogConfig, PlainFlush, Recovered, RecoveryOutcome};
use std::path::Path;
use types::Offset;

const INDEX: &str = "orders-0/00000000000000000000.index";
const TIMES: &str = "orders-0/00000000000000000000.timeindex";

/// Appends 300 KB, takes a recovery point, appends 30 KB more; all of it is durable.
fn filled(sim: &SimDisk) -> (Life, Log) {
    let life = Life::begin(sim, 1);
    let flusher = life
        .dir
        .start_flusher(&SimMachine::host(sim.handle(), 1), Box::new(PlainFlush));
    let mut log = life.create(1, LogConfig::default());
    for batch in 0..330 {
        // Some are late, so that not every offset entry has a time entry.
        let timestamp = if batch % 7 == 0 { 5 } else { batch };
        append(&mut log, timestamp, 1_000, 0);
        if batch == 299 {
            log.checkpoint_index().unwrap();
            assert!(flush(&mut log, &flusher));
        }
    }
    assert!(flush(&mut log, &flusher));
    (life, log)
}

fn restarted(sim: &SimDisk) -> (Life, Recovered) {
    let mut life = Life::begin(sim, 2);
    let found = life.dir.recover().unwrap().remove(0);
    assert_eq!(found.outcome, RecoveryOutcome::Intact);
    (life, found)
}

fn read(sim: &SimDisk, name: &str) -> Vec<u8> {
    sim.handle().read(&Path::new(DATA).join(name)).unwrap()
}

/// Fails if recovery reads the active segment from its start, or goes on with another index than one that was never
/// interrupted.
#[test]
fn a_restart_reads_what_comes_after_the_recovery_point() {
    let never = SimDisk::new();
    let (_life, mut log) = filled(&never);
    let (content, mut interrupted) = (read_all(&log).unwrap(), Vec::new());
    for (power_loss, closed) in [(false, false), (true, false), (false, true)] {
        let sim = SimDisk::new();
        let (life, mut log) = filled(&sim);
        if closed {
            log.close().unwrap();
        }
        drop((log, life));
        match power_loss {
            true => sim.crash_losing_everything_unsynced(),
            false => drop(sim.reopen()),
        }
        let (_life, found) = restarted(&sim);
        assert!(found.bytes_read < 40_000, "{} of {}", found.bytes_read, content.len());
        let mut log = found.log;
        assert_eq!(read_all(&log).unwrap(), content);
        append(&mut log, 1_000, 1_000, 0);
        log.roll().unwrap();
        let found = log.search_timestamp(200, Offset(330)).run().unwrap().unwrap();
        assert_eq!((found.0, found.1), (Offset(200), 200));
        interrupted.push((read(&sim, INDEX), read(&sim, TIMES)));
    }
    append(&mut log, 1_000, 1_000, 0);
    log.roll().unwrap();
    let expected = (read(&never, INDEX), read(&never, TIMES));
    assert!(interrupted.iter().all(|files| *files == expected));
}

/// ◆ Index files are believed as far as they can be checked. Fails if they are taken as they are.
#[test]
fn index_files_that_lie_cost_time_and_nothing_else() {
    let sim = SimDisk::new();
    let (life, log) = filled(&sim);
    let content = read_all(&log).unwrap();
    drop((log, life));
    let good = [read(&sim, INDEX), read(&sim, TIMES)];
    let entries = good[0].len() / 8;
    assert!(entries > 50);
    let mut swapped = good[0].clone();
    swapped[80..96].rotate_left(8);
    let mut elsewhere = good[0].clone();
    elsewhere[good[0].len() - 1] ^= 4;
    let beyond = [&good[0][..], &[0x7f; 8][..]].concat();
    for (what, index, times) in [
        ("half an entry", good[0][..good[0].len() - 4].to_vec(), good[1].clone()),
        ("out of order", swapped, good[1].clone()),
        ("a last entry that is none", elsewhere, good[1].clone()),
        ("zeros", vec![0; good[0].len()], good[1].clone()),
        ("nothing", Vec::new(), Vec::new()),
        ("entries of what is not there", beyond, good[1].clone()),
        (
            "times out of order",
            good[0].clone(),
            good[1].iter().rev().copied().collect(),
        ),
        ("more than the segment", vec![0xff; 1 << 20], good[1].clone()),
    ] {
        let disk = sim.reopen();
        for (name, bytes) in [(INDEX, index), (TIMES, times)] {
            let file = disk.open(&Path::new(DATA).join(name), OpenMode::Create).unwrap();
            file.set_len(0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
        }
        let (_life, found) = restarted(&sim);
        assert_eq!(read_all(&found.log).unwrap(), content, "{what}");
        for offset in 0..330 {
            let slice = found.log.read(Offset(offset), Offset(330), 1, true).unwrap();
            let (first, _) = logstore::LogSlice::offsets(&slice.bytes().unwrap()).unwrap();
            assert_eq!(first, Offset(offset), "{what}");
        }
    }
}
