//! Recovery in jobs that run at the same time.

use host::OpenMode;
use host::sim_disk::SimDisk;
use logstore::conformance::{SimMachine, append, flush, partition, read_all};
use logstore::{JournalFlush, LogConfig, LogDir, Recovered, RecoveryOutcome};
use std::collections::BTreeMap;
use std::path::Path;
use types::{LeaderEpoch, ReplicaIncarnation};

const DATA: &str = "/data";
const LOGS: i32 = 40;

fn contents(recovered: &[Recovered]) -> BTreeMap<i32, Vec<u8>> {
    let content = |found: &Recovered| (found.log.topic_partition().partition, read_all(&found.log).unwrap());
    recovered.iter().map(content).collect()
}

/// Many logs, whose records the journal has and the segments may have lost. Fails if a job leaves out, or mixes up, what another
/// one recovers, or if what only one of them found is not made durable.
#[test]
fn jobs_find_what_one_after_the_other_finds() {
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(JournalFlush));
    let (mut logs, mut written) = (Vec::new(), BTreeMap::new());
    for index in 0..LOGS {
        let config = LogConfig::default();
        let mut log = dir
            .create_log("orders", partition(index), ReplicaIncarnation(1), config)
            .unwrap();
        for seed in 0..=index as u64 {
            append(&mut log, LeaderEpoch(index), 2, 100, seed).unwrap();
        }
        assert!(flush(&mut log, &flusher));
        // Left in the page cache by the end of the process: recovery makes it durable.
        append(&mut log, LeaderEpoch(index), 2, 100, 99).unwrap();
        written.insert(index, read_all(&log).unwrap());
        logs.push(log);
    }
    drop((logs, flusher, dir));
    for life in 2..5 {
        match life {
            2 => drop(sim.reopen()),
            3 => sim.crash_losing_everything_unsynced(),
            _ => sim.crash(life),
        }
        let host = SimMachine::host(sim.handle(), life);
        let dir = LogDir::open(&host, Path::new(DATA)).unwrap();
        let mut recovery = dir.begin_recovery().unwrap();
        let jobs = recovery.take_jobs();
        assert!(jobs.len() > 2, "{} jobs", jobs.len());
        // In threads of their own, and what was begun last comes first.
        let running: Vec<_> = jobs.into_iter().map(|job| std::thread::spawn(|| job.run())).collect();
        for job in running.into_iter().rev() {
            recovery.add(job.join().unwrap().unwrap());
        }
        assert_eq!(contents(&dir.end_recovery(recovery).unwrap()), written, "life {life}");
    }
    for index in 0..LOGS {
        let file = format!("orders-{index}/00000000000000000000.log");
        let file = sim.handle().open(&Path::new(DATA).join(file), OpenMode::Write).unwrap();
        file.set_len(file.len().unwrap() - 1).unwrap();
    }
    let host = SimMachine::host(sim.reopen(), 9);
    let mut dir = LogDir::open(&host, Path::new(DATA)).unwrap();
    for found in dir.recover().unwrap() {
        let is_damage = matches!(found.outcome, RecoveryOutcome::Corrupt { .. });
        assert!(is_damage, "{}: {:?}", found.log.topic_partition(), found.outcome);
    }
}
