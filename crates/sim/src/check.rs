use host::{Disk, File, OpenMode};
use records::BatchHeader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a log directory has a replica, if it does.
#[must_use]
pub fn replica_path(log_dir: &Path, topic: &str, partition: i32) -> PathBuf {
    log_dir.join(format!("{topic}-{partition}"))
}

/// All batches of a replica on a simulated disk, in whichever directory it is: (base offset, leader epoch, CRC), in
/// order.
///
/// # Errors
/// A disk or a batch that cannot be read, or a replica that is not there.
pub fn batches(
    disk: &Arc<dyn Disk>,
    log_dirs: &[PathBuf],
    topic: &str,
    partition: i32,
) -> anyhow::Result<Vec<(i64, i32, u32)>> {
    let mut places = log_dirs.iter().map(|log_dir| replica_path(log_dir, topic, partition));
    let directory = places
        .find(|path| disk.exists(path))
        .ok_or_else(|| anyhow::anyhow!("it is in no log directory"))?;
    let mut found = Vec::new();
    let mut entries = disk.read_dir(&directory)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        if Path::new(&entry.name)
            .extension()
            .is_none_or(|extension| extension != "log")
        {
            continue;
        }
        let file: Arc<dyn File> = disk.open(&directory.join(&entry.name), OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?)?];
        file.read_exact_at(&mut bytes, 0)?;
        let mut at = 0;
        while at < bytes.len() {
            let header = BatchHeader::parse(&bytes[at..])?;
            found.push((header.base_offset.0, header.leader_epoch.0, header.crc));
            at += header.size();
        }
    }
    Ok(found)
}

/// Differences between the replicas below the offsets that clients have read, a line each. All replicas are in sync by
/// then, so they must have the same batches.
pub fn replicas(disks: &[Arc<dyn Disk>], log_dirs: &[Vec<PathBuf>], topic: &str, partitions: i32) -> Vec<String> {
    let mut problems = Vec::new();
    for partition in 0..partitions {
        let mut first: Option<Vec<(i64, i32, u32)>> = None;
        for (node, (disk, log_dirs)) in disks.iter().zip(log_dirs).enumerate() {
            match (batches(disk, log_dirs, topic, partition), &first) {
                (Err(error), _) => problems.push(format!("{topic}-{partition} on node {node}: {error:#}")),
                (Ok(found), None) => first = Some(found),
                (Ok(found), Some(first)) if found != *first => {
                    let at = first
                        .iter()
                        .zip(&found)
                        .position(|(a, b)| a != b)
                        .unwrap_or(first.len().min(found.len()));
                    problems.push(format!(
                        "{topic}-{partition}: node {node} differs from node 0 at batch {at}: {:?} and {:?} ({} and {} batches)",
                        found.get(at),
                        first.get(at),
                        found.len(),
                        first.len()
                    ));
                }
                (Ok(_), Some(_)) => {}
            }
        }
    }
    problems
}
