//! More partitions are written to than the process may have files open. Alone in its process, whose limit it lowers.

use host::{HostRef, RealDisk};
use logstore::conformance::{SimMachine, append, flush, partition, read_all};
use logstore::{Log, LogConfig, LogDir, LogError, PlainFlush};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use types::{LeaderEpoch, ReplicaIncarnation, limits};

const LOGS: i32 = 120;
/// What the test harness and the directory have open, and what is kept free.
const LIMIT: u64 = 40 + limits::FILE_HANDLES_KEPT;

fn set_limit(current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(current),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// ◆ Fails if a directory goes offline for want of file handles, if what was taken cannot be made durable (which needs one
/// for a moment), if anything waits for ever, or if those that were refused are not served once others rest.
#[test]
fn want_of_file_handles_is_no_failure_of_the_disk() {
    let temporary = tempfile::tempdir().unwrap();
    let host: HostRef = SimMachine::host(Arc::new(RealDisk), 1);
    let dir = LogDir::open(&host, &temporary.path().join("data")).unwrap();
    let flusher = dir.start_flusher(&host, Box::new(PlainFlush));
    set_limit(LIMIT);
    // Of segments that are smaller than a batch, so that each append begins one.
    let config = LogConfig {
        segment_bytes: 100,
        ..LogConfig::default()
    };
    let mut logs: Vec<Log> = (0..LOGS)
        .map(|index| {
            dir.create_log("orders", partition(index), ReplicaIncarnation(1), config)
                .unwrap()
        })
        .collect();
    let mut content = vec![Vec::new(); logs.len()];
    for round in 0..2 {
        let mut left: Vec<usize> = (0..logs.len()).collect();
        let mut turns = 0;
        while !left.is_empty() {
            let mut refused = Vec::new();
            for index in &left {
                let log = &mut logs[*index];
                let appended = match log.has_room() {
                    true => append(log, LeaderEpoch(0), 1, 40, *index as u64 + round),
                    false => Err(LogError::NoFileHandle),
                };
                match appended {
                    Ok(bytes) => content[*index].extend_from_slice(&bytes),
                    Err(LogError::NoFileHandle) => refused.push(*index),
                    Err(error) => panic!("log {index}: {error}"),
                }
            }
            assert!(refused.len() < left.len(), "nothing was taken");
            assert!(turns > 0 || !refused.is_empty(), "the limit was not met");
            for index in left.iter().filter(|index| !refused.contains(index)) {
                assert!(flush(&mut logs[*index], &flusher), "log {index}");
                logs[*index].rest();
                logs[*index].rest();
            }
            (left, turns) = (refused, turns + 1);
        }
    }
    assert!(!dir.is_offline());
    for (log, content) in logs.iter().zip(&content) {
        assert_eq!(log.durable_offset(), log.log_end_offset());
        assert_eq!(read_all(log).unwrap(), content[..]);
    }
    logs.into_iter().for_each(|log| log.delete().unwrap());
    assert!(!dir.is_offline());
}
