use crate::client::Cluster;
use crate::commands::topic;
use std::time::Duration;
use tokio::time::Instant;

const REPLICATION_FACTOR: i16 = 3;
const MIN_INSYNC_REPLICAS: &str = "2";
/// For a topic to be created, and for everything to be in sync again.
const PATIENCE: Duration = Duration::from_secs(60);
const BACKOFF: Duration = Duration::from_millis(200);

/// The topic of the run: whatever survives anything must survive here, and nothing may be deleted.
///
/// # Errors
/// It cannot be created, or does not come into sync.
pub async fn create_topic(cluster: &mut Cluster, name: &str, partitions: i32) -> anyhow::Result<()> {
    let configs = [
        ("min.insync.replicas", MIN_INSYNC_REPLICAS),
        ("flush.messages", "1"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
    ];
    let configs: Vec<(String, String)> = configs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let started = Instant::now();
    loop {
        match topic::ask_to_create(cluster, name, partitions, REPLICATION_FACTOR, configs.clone()).await {
            Ok(_) => break,
            Err(error) if error.is_retriable() && started.elapsed() < PATIENCE => tokio::time::sleep(BACKOFF).await,
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::ensure!(
        in_sync(cluster, name).await,
        "topic {name} is not in sync after {PATIENCE:?}"
    );
    Ok(())
}

/// Waits until every partition has a leader and all replicas in the ISR; false if that takes too long.
pub async fn in_sync(cluster: &mut Cluster, name: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let names = [name.to_owned()];
        if let Ok(topics) = cluster.topics(Some(&names), false).await {
            let mut partitions = topics.iter().flat_map(|topic| &topic.partitions).peekable();
            let whole = partitions.peek().is_some()
                && partitions.all(|partition| partition.leader >= 0 && partition.isr.len() == partition.replicas.len());
            if whole {
                return true;
            }
        }
        tokio::time::sleep(BACKOFF).await;
    }
    false
}
