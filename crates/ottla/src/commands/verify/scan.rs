use super::reader::{POLL, by_partition};
use super::run::Load;
use crate::client::{Cluster, Consumer, EARLIEST};
use anyhow::bail;
use history::Body;
use std::time::Duration;
use tokio::time::Instant;

/// The scan may bring nothing for so long.
const PATIENCE: Duration = Duration::from_secs(60);
const WORKER: &str = "scan";

/// Reads every partition from its start to its end, when nothing is written any more.
///
/// # Errors
/// A partition cannot be read to its end. What was read is written down.
pub async fn scan(load: &Load) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(&load.bootstrap);
    let mut consumer = Consumer::new(&mut cluster, &load.topic, None, EARLIEST).await?;
    let starts = consumer.positions().clone();
    let ends = consumer.ends(&mut cluster).await?;
    let mut last = Instant::now();
    while !consumer.has_reached(&ends) {
        let fetched = consumer.poll(&mut cluster, POLL).await?;
        if !fetched.is_empty() {
            last = Instant::now();
        }
        if last.elapsed() > PATIENCE {
            let behind: Vec<String> = ends
                .iter()
                .filter(|(partition, end)| consumer.positions().get(partition) < Some(end))
                .map(|(partition, end)| {
                    let at = consumer.positions().get(partition).copied().unwrap_or(0);
                    format!("partition {partition} at {at} of {end}")
                })
                .collect();
            bail!("the final scan came no further for {PATIENCE:?}: {}", behind.join(", "));
        }
        for (partition, records) in by_partition(fetched) {
            let body = Body::Final {
                partition: load.partition_name(partition).into(),
                records,
                bounds: None,
            };
            load.recorder.tell(WORKER, body);
        }
    }
    for (partition, end) in ends {
        let body = Body::Final {
            partition: load.partition_name(partition).into(),
            records: Vec::new(),
            bounds: starts.get(&partition).map(|start| (*start, end)),
        };
        load.recorder.tell(WORKER, body);
    }
    Ok(())
}
