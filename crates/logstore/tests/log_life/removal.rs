use super::machine::{DATA, Life, append};
use host::sim_disk::SimDisk;
use logstore::conformance::read_all;
use logstore::{FlushStrategy, LogConfig, PlainFlush};
use std::path::Path;
use types::Offset;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 340,
        file_delete_delay_ms: 1_000,
        ..LogConfig::default()
    }
}

const FIRST: &str = "00000000000000000000";
const SECOND: &str = "00000000000000000002";

fn filled(life: &Life, incarnation: u64) -> logstore::Log {
    let mut log = life.create(incarnation, config());
    for batch in 1..=4 {
        append(&mut log, batch, 100, 0);
    }
    log
}

/// Fails if files are removed at once, or never.
#[test]
fn removed_segments_are_renamed_and_go_after_the_delay() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    log.increment_log_start(Offset(2)).unwrap();
    let expected: Vec<String> = [".index.deleted", ".log.deleted", ".timeindex.deleted"]
        .iter()
        .map(|suffix| format!("{FIRST}{suffix}"))
        .collect();
    life.clean();
    let mut left = expected.clone();
    left.push(format!("{SECOND}.log"));
    assert_eq!(life.files(), left);
    life.set_clock(999);
    life.clean();
    assert_eq!(life.files(), left, "too early");
    life.set_clock(1_000);
    assert_eq!(life.files(), left, "the shard that looks does not remove");
    life.clean();
    assert_eq!(life.files(), [format!("{SECOND}.log")]);
    assert_eq!(read_all(&log).unwrap().len(), 340);
}

/// Fails if a full directory stays full until the delay is over.
#[test]
fn without_room_nothing_waits_for_the_delay() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    log.increment_log_start(Offset(2)).unwrap();
    life.clean();
    let used = sim.used_bytes();
    sim.set_faults(|faults| faults.capacity_bytes = Some(used + 1_000));
    life.dir.measure_room(Some(2_000));
    life.set_clock(1);
    life.clean();
    assert_eq!(life.files(), [format!("{SECOND}.log")]);
}

#[test]
fn what_a_crash_left_behind_goes_at_the_next_start() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    log.increment_log_start(Offset(2)).unwrap();
    life.clean();
    assert_eq!(life.files().len(), 4);
    drop((log, life));
    drop(sim.reopen());
    let mut life = Life::begin(&sim, 2);
    let log = life.dir.recover().unwrap().remove(0).log;
    life.clean();
    assert_eq!(life.files(), [format!("{SECOND}.log")]);
    log.delete().unwrap();
    assert_eq!(
        life.names("").iter().filter(|name| name.ends_with("-delete")).count(),
        1
    );
    drop(life);
    drop(sim.reopen());
    let mut life = Life::begin(&sim, 3);
    assert!(life.dir.recover().unwrap().is_empty());
    life.clean();
    assert!(!life.names("").iter().any(|name| name.starts_with("orders")));
}

/// ◆ Files are removed by name, and a topic that is created again has the same names. Fails if a segment is renamed, or
/// removed, without a look at whom it belongs to now.
#[test]
fn what_is_removed_late_is_never_another_replicas() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    // The cleaner is slow: it has the segment still to rename when the topic is there again.
    log.increment_log_start(Offset(2)).unwrap();
    log.delete().unwrap();
    let mut again = filled(&life, 2);
    let whole = life.files();
    assert_eq!(whole.len(), 4);
    life.clean();
    assert_eq!(life.files(), whole);
    // And the second time its own files have the names that the first one's wait under.
    again.increment_log_start(Offset(2)).unwrap();
    life.clean();
    again.delete().unwrap();
    let _third = filled(&life, 3);
    life.clean();
    life.set_clock(5_000);
    life.clean();
    assert_eq!(life.files(), whole);
    assert!(!life.names("").iter().any(|name| name.ends_with("-delete")));
}

/// ◆ The same within one replica, whose log started over below what was deleted.
#[test]
fn what_is_removed_late_is_not_what_a_log_that_started_over_has() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    log.increment_log_start(Offset(2)).unwrap();
    log.truncate_fully_and_start_at(Offset(0)).unwrap();
    append(&mut log, 1, 100, 0);
    life.clean();
    life.set_clock(5_000);
    life.clean();
    assert_eq!(life.files(), [format!("{FIRST}.log")]);
    assert_eq!(read_all(&log).unwrap().len(), 170);
}

/// ◆ A replica may be deleted while the flusher has a job of it, with names to sync in a directory that is renamed by then.
/// Fails if that is taken for a failure of the disk, which takes every replica of the log directory offline for good; or if
/// the directory of a replica that lives may be missing.
#[test]
fn a_flush_that_comes_after_the_deletion_of_its_replica_is_no_failure() {
    let sim = SimDisk::new();
    let life = Life::begin(&sim, 1);
    let mut log = filled(&life, 1);
    let job = log.begin_flush().unwrap();
    log.delete().unwrap();
    let done = PlainFlush.flush(vec![job]).unwrap();
    assert_eq!(done.len(), 1);

    let mut lost = filled(&life, 2);
    let job = lost.begin_flush().unwrap();
    sim.handle().remove_dir_all(&Path::new(DATA).join("orders-0")).unwrap();
    assert!(PlainFlush.flush(vec![job]).is_err());
}
