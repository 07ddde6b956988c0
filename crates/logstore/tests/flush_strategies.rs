//! The conformance suite, for the strategy that ships and for strategies that lie.

use logstore::{FlushJob, FlushStrategy, Flushed, JournalFlush, PlainFlush, conformance};
use std::io;

/// Reports at once.
struct NoFlush;

impl FlushStrategy for NoFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

/// Marks before files.
struct MarksOnly;

impl FlushStrategy for MarksOnly {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        FlushJob::commit_marks(&jobs)?;
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

/// Files without marks.
struct FilesOnly;

impl FlushStrategy for FilesOnly {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        jobs.iter().try_for_each(FlushJob::sync)?;
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

/// Forgets all files but those of the first job.
struct FirstOnly;

impl FlushStrategy for FirstOnly {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        if jobs[0].topic_partition().partition == 0 {
            jobs[0].sync()?;
        }
        FlushJob::commit_marks(&jobs)?;
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

#[test]
fn the_plain_strategy_conforms() {
    conformance::check(|| Box::new(PlainFlush), 0..150).expect("conforms");
}

#[test]
fn the_journal_strategy_conforms() {
    conformance::check(|| Box::new(JournalFlush), 0..300).expect("conforms");
}

#[test]
fn strategies_that_report_too_early_are_found_out() {
    conformance::check(|| Box::new(NoFlush), 0..20).expect_err("reports without syncing");
    conformance::check(|| Box::new(MarksOnly), 0..20).expect_err("reports without syncing files");
    conformance::check(|| Box::new(FilesOnly), 0..20).expect_err("reports without marks");
    conformance::check(|| Box::new(FirstOnly), 0..20).expect_err("forgets files");
}

#[test]
fn a_flush_from_before_a_truncation_counts_for_nothing() {
    cut_under_way(&mut PlainFlush);
    cut_under_way(&mut JournalFlush);
}

/// A flush that was under way when the log was truncated must not report, or mark, what was cut.
fn cut_under_way(strategy: &mut dyn FlushStrategy) {
    use host::sim_disk::SimDisk;
    use logstore::conformance::{SimMachine, append, partition, read_all};
    use logstore::{LogConfig, LogDir, RecoveryOutcome};
    use std::path::Path;
    use types::{LeaderEpoch, Offset, ReplicaIncarnation};

    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), LogConfig::default())
        .expect("created");
    for seed in 0..3 {
        append(&mut log, LeaderEpoch(0), 2, 100, seed).expect("appended");
    }
    let job = log.begin_flush().expect("dirty");
    assert!(log.begin_flush().is_none(), "a second job is out");
    log.truncate_to(Offset(2)).expect("truncated");
    append(&mut log, LeaderEpoch(1), 1, 100, 9).expect("appended");
    let flushed = strategy.flush(vec![job]).expect("flushed");
    log.finish_flush(&flushed[0]);
    assert_eq!(log.durable_offset(), Offset(0));
    let content = read_all(&log).expect("reads");
    sim.crash_losing_everything_unsynced();
    drop((log, dir));
    let host = SimMachine::host(sim.handle(), 2);
    let mut dir = LogDir::open(&host, Path::new("/data")).expect("opens");
    let found = dir.recover().expect("recovers").remove(0);
    assert!(
        !matches!(found.outcome, RecoveryOutcome::Corrupt { .. }),
        "{:?}",
        found.outcome
    );
    assert!(found.log.log_end_offset() <= Offset(3));
    assert!(
        content.starts_with(&read_all(&found.log).expect("reads")),
        "truncated data came back"
    );
}
