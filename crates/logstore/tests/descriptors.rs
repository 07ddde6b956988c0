//! Open files do not grow with partitions. Alone in its process, which it counts the descriptors of.

use host::{HostRef, RealDisk};
use logstore::conformance::{SimMachine, append, flush, partition};
use logstore::{Log, LogConfig, LogDir, PlainFlush};
use std::path::Path;
use std::sync::Arc;
use types::{LeaderEpoch, Offset, ReplicaIncarnation, limits};

const LOGS: i32 = 3_000;
/// The marks journal, the lock, what the test harness has.
const OTHERS: usize = 20;

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn check(when: &str, logs: usize) {
    assert!(open() <= OTHERS + logs, "{} descriptors {when}", open());
}

/// Fails if an idle log keeps its active segment open, or if reading is not bounded.
#[test]
fn three_thousand_partitions_need_few_descriptors() {
    // In memory where that is possible: what is counted here is not what a sync costs.
    let memory = Path::new("/dev/shm");
    let temporary = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let path = temporary.path().join("data");
    let host: HostRef = SimMachine::host(Arc::new(RealDisk), 1);
    let dir = LogDir::open(&host, &path).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    let mut logs: Vec<Log> = (0..LOGS)
        .map(|index| {
            dir.create_log("orders", partition(index), ReplicaIncarnation(1), LogConfig::default())
                .unwrap()
        })
        .collect();
    check("after creation", 0);
    for some in logs.chunks_mut(100) {
        for log in some.iter_mut() {
            for seed in 0..3 {
                append(log, LeaderEpoch(0), 1, 10, seed).unwrap();
            }
            log.rest();
            log.rest();
        }
        assert!(open() >= some.len(), "◆ what is not synced stays open");
        for log in some.iter_mut() {
            assert!(flush(log, &flusher));
            log.rest();
        }
    }
    check("after writing", 0);
    drop((logs, flusher, dir));
    restarted(&host, &path);
}

fn restarted(host: &HostRef, path: &Path) {
    let mut dir = LogDir::open(host, path).unwrap();
    let mut recovered = dir.recover().unwrap();
    assert_eq!(recovered.len(), LOGS as usize);
    check("after a restart", 0);
    // Nothing is in memory now.
    for found in &recovered {
        assert!(!found.log.read(Offset(0), Offset(1), 1 << 20, true).unwrap().is_empty());
    }
    check("after reading", limits::OPEN_FILES_MAX);
    let log = &mut recovered[7].log;
    append(log, LeaderEpoch(0), 1, 10, 1).unwrap();
    assert_eq!(log.log_end_offset(), Offset(4));
}
