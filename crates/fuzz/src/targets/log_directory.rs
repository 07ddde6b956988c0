//! A log directory of which one file holds anything: recovery, and life after it.

use crate::bounded::bounded;
use crate::checksums::{seal_batches, seal_rounds, seal_snapshot};
use crate::{Kind, Target};
use host::sim_disk::SimDisk;
use host::{Disk, OpenMode};
use logstore::conformance::{SMALL_JOURNAL, SimMachine, append, flush, partition, read_all};
use logstore::{JournalFlush, LogConfig, LogDir, ProducerSnapshotEntry, RecoveryOutcome, inspect_marks};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use types::{DirectoryId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ReplicaIncarnation};
use uuid::Uuid;

const DATA: &str = "/data";
const SEGMENT_BYTES: u32 = 1_500;
/// Memory that recovery may take beside its read buffers: some times what the files hold.
const BYTES_BASE: usize = 16 << 20;
const BYTES_PER_BYTE: usize = 64;

/// A directory as a crash leaves it.
struct Template {
    files: Vec<(PathBuf, Vec<u8>)>,
    directory: Uuid,
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let sim = SimDisk::new();
    let host = SimMachine::host(sim.handle(), 1);
    let dir = LogDir::open_sized(&host, Path::new(DATA), SMALL_JOURNAL).expect("opens");
    let config = LogConfig {
        segment_bytes: SEGMENT_BYTES,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let mut log = dir
        .create_log("orders", partition(0), ReplicaIncarnation(1), config)
        .expect("created");
    let flusher = dir.start_flusher(&host, Box::new(JournalFlush));
    for index in 0..20u64 {
        let epoch = LeaderEpoch((index / 8) as i32);
        log.assign_epoch(epoch, log.log_end_offset());
        append(&mut log, epoch, 2, 50, index).expect("appended");
        if index == 5 || index == 13 {
            assert!(flush(&mut log, &flusher));
            log.write_producer_snapshot(log.log_end_offset(), &[producer()])
                .expect("written");
        }
    }
    log.export_epochs().expect("written");
    log.checkpoint_high_watermark(Offset(30));
    dir.write_checkpoints().expect("written");
    let mut files = Vec::new();
    collect(&*sim.handle(), Path::new(DATA), &mut files);
    Template {
        files,
        directory: dir.id().0,
    }
});

fn producer() -> ProducerSnapshotEntry {
    ProducerSnapshotEntry {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        last_sequence: 3,
        last_offset: Offset(11),
        offset_delta: 1,
        timestamp: 1_000,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    }
}

fn collect(disk: &dyn Disk, path: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in disk.read_dir(path).expect("a directory") {
        let path = path.join(&entry.name);
        if entry.is_dir {
            collect(disk, &path, files);
        } else if entry.name != ".lock" {
            let content = disk.read(&path).expect("a file");
            files.push((path, content));
        }
    }
}

pub(crate) fn all() -> Vec<Target> {
    vec![
        Target::new("log-directory", Kind::Disk, log_directory, files),
        Target::new("marks-journal", Kind::Disk, marks_journal, marks),
    ]
}

/// A byte for the file, a byte that says whether its checksums are made right, then its content.
fn files() -> Vec<Vec<u8>> {
    let file = |((_, content), which): (&(PathBuf, Vec<u8>), u8)| {
        [
            [&[which, 0], &content[..]].concat(),
            [&[which, 1], &content[..]].concat(),
        ]
    };
    TEMPLATE.files.iter().zip(0u8..).flat_map(file).collect()
}

fn log_directory(input: &[u8]) {
    let [which, seal, content @ ..] = input else { return };
    let which = usize::from(*which) % TEMPLATE.files.len();
    let mut content = content.to_vec();
    let path = &TEMPLATE.files[which].0;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if seal & 1 != 0 {
        match &*name {
            "marks-0" | "marks-1" => seal_rounds(&mut content, TEMPLATE.directory),
            name if name.ends_with(".log") => seal_batches(&mut content),
            name if name.ends_with(".snapshot") => seal_snapshot(&mut content),
            _ => {}
        }
    }
    let sim = SimDisk::new();
    let disk = sim.handle();
    disk.create_dir_all(&Path::new(DATA).join("orders-0")).expect("created");
    for (index, (path, original)) in TEMPLATE.files.iter().enumerate() {
        let file = disk.open(path, OpenMode::Create).expect("created");
        let content = if index == which { &content } else { original };
        file.write_all_at(content, 0).expect("written");
    }
    bounded(BYTES_BASE + BYTES_PER_BYTE * content.len(), || live(&sim));
}

/// Recovers what is there and goes on as a replica would.
fn live(sim: &SimDisk) {
    let host = SimMachine::host(sim.reopen(), 2);
    let Ok(mut dir) = LogDir::open(&host, Path::new(DATA)) else {
        return;
    };
    let Ok(recovered) = dir.recover() else { return };
    let flusher = dir.start_flusher(&host, Box::new(JournalFlush));
    for found in recovered {
        let mut log = found.log;
        log.set_config(LogConfig {
            segment_bytes: SEGMENT_BYTES,
            ..LogConfig::default()
        });
        let _ = read_all(&log);
        let _ = log.search_timestamp(1_020, log.log_end_offset()).run();
        let _ = log.search_max_timestamp(log.log_end_offset()).run();
        let _ = (log.end_offset_for_epoch(LeaderEpoch(1)), log.epoch_durable());
        let _ = (log.high_watermark_checkpoint(), log.segment_sizes());
        if let Ok((_, headers)) = log.recovered_tail() {
            headers.take(1_000).for_each(drop);
        }
        if matches!(found.outcome, RecoveryOutcome::Corrupt { .. }) {
            assert!(
                append(&mut log, LeaderEpoch(9), 1, 10, 0).is_err(),
                "a corrupt log took a batch"
            );
            let _ = log.truncate_fully_and_start_at(Offset(3));
        }
        let end = log.log_end_offset();
        log.assign_epoch(LeaderEpoch(i32::MAX), end);
        let _ = append(&mut log, LeaderEpoch(i32::MAX), 2, 40, 1);
        let _ = flush(&mut log, &flusher);
        let _ = log.truncate_to(end);
        let _ = append(&mut log, LeaderEpoch(i32::MAX), 2, 40, 2);
        let _ = log.increment_log_start(end);
        let _ = flush(&mut log, &flusher);
        assert!(log.log_start_offset() <= log.durable_offset() && log.durable_offset() <= log.log_end_offset());
        let _ = log.close();
    }
    let _ = dir.write_checkpoints();
    // What a life wrote, the next one can read.
    drop((flusher, dir));
    let host = SimMachine::host(sim.reopen(), 3);
    let mut dir = LogDir::open(&host, Path::new(DATA)).expect("it was opened before");
    let _ = dir.recover();
}

/// The journal by itself: both files, with right checksums.
fn marks() -> Vec<Vec<u8>> {
    let named = |(path, _): &&(PathBuf, Vec<u8>)| path.to_string_lossy().contains("marks-");
    let content = |(_, content): &(PathBuf, Vec<u8>)| content.clone();
    TEMPLATE.files.iter().filter(named).map(content).collect()
}

fn marks_journal(input: &[u8]) {
    let mut content = input.to_vec();
    seal_rounds(&mut content, TEMPLATE.directory);
    let id = DirectoryId(TEMPLATE.directory);
    bounded((1 << 20) + 32 * input.len(), || {
        let _ = inspect_marks(&[content, Vec::new()], id);
    });
}
