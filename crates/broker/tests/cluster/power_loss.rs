use crate::support::*;
use host::sim_disk::SimDisk;
use logstore::{FlushJob, FlushStrategy, Flushed, LogDir};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Says that everything is durable, and does nothing.
struct LyingFlush;

impl FlushStrategy for LyingFlush {
    fn flush(&mut self, jobs: Vec<FlushJob>) -> io::Result<Vec<Flushed>> {
        Ok(jobs.iter().map(FlushJob::flushed).collect())
    }
}

/// Produces to three nodes with acks=all, takes the power of all at the very moment of the last acknowledgement, and
/// counts (replica, acknowledged record) that are gone.
async fn lost_after_power_loss(flush: fn() -> Box<dyn FlushStrategy>, seed: u64) -> usize {
    let disks: Vec<SimDisk> = NODES.iter().map(|_| SimDisk::new()).collect();
    let mut cluster = Cluster::on_disks(disks.iter().map(SimDisk::handle).collect(), &[("flush.messages", "1")]);
    cluster.flush = Arc::new(flush);
    let nodes = cluster.start_all().await;
    let count = 5 + i64::try_from(seed % 7).unwrap();
    for index in 0..count {
        nodes[0].produce(batch(&format!("value {index}")), -1).await.unwrap();
    }
    assert_eq!(cluster.script.partition().isr.len(), 3);
    for (disk, node) in disks.iter().zip(NODES) {
        disk.crash(seed * 31 + u64::from(node.0.unsigned_abs()));
    }
    for node in nodes {
        node.broker.shutdown().await;
    }
    let mut lost = 0;
    for disk in &disks {
        let host = host_on(disk.handle());
        // A directory that cannot even be opened has lost everything.
        let recovered = LogDir::open(&host, Path::new("/data")).and_then(|mut dir| dir.recover());
        let end = recovered
            .ok()
            .and_then(|logs| Some(logs.first()?.log.log_end_offset().0))
            .unwrap_or(0);
        lost += usize::try_from((count - end).max(0)).unwrap();
    }
    lost
}

/// ◆ No strict acknowledgement leaves before the sync that covers it on *every* ISR member.
#[tokio::test(flavor = "multi_thread")]
async fn power_loss_everywhere_takes_nothing_that_was_acknowledged() {
    for seed in 0..6 {
        let lost = lost_after_power_loss(|| Box::new(logstore::PlainFlush), seed).await;
        assert_eq!(lost, 0, "seed {seed}");
    }
}

/// The test above can fail: a flush that lies is found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_lies_is_found_out() {
    let mut lost = 0;
    for seed in 0..6 {
        lost += lost_after_power_loss(|| Box::new(LyingFlush), seed).await;
    }
    assert!(lost > 0);
}
