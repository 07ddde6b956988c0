use crate::partition::Partition;
use crate::shard::ShardRef;
use futures::future::join_all;
use host::DiskSpace;
use logstore::LogDir;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use types::DirectoryId;

/// A log directory and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirDescription {
    /// Absolute.
    pub path: PathBuf,
    /// It could not be opened, or a write or sync in it has failed: nothing else is known of it.
    pub failed: bool,
    /// Room on its file system as it was measured last, within the second.
    pub space: Option<DiskSpace>,
    pub replicas: Vec<ReplicaSize>,
}

/// A replica's log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaSize {
    pub topic: String,
    pub partition: i32,
    /// Bytes of all its segments.
    pub size_bytes: u64,
}

impl ShardRef {
    /// The node's log directories in the order of `log.dirs`, replicas by topic and partition. Every shard tells what it
    /// has in memory; no disk is asked.
    pub async fn describe_log_dirs(&self) -> Vec<LogDirDescription> {
        let asked = (0..self.shards()).map(|shard| {
            self.on_owner(shard, |shard| {
                let sizes = shard.replica_sizes();
                Box::pin(async move { sizes })
            })
        });
        let mut sizes: BTreeMap<DirectoryId, Vec<ReplicaSize>> = BTreeMap::new();
        for (directory, replica) in join_all(asked).await.into_iter().flatten().flatten() {
            sizes.entry(directory).or_default().push(replica);
        }
        let describe = |(path, usable): (PathBuf, Option<Arc<LogDir>>)| {
            let replicas = usable.as_ref().and_then(|dir| sizes.remove(&dir.id()));
            let mut replicas = replicas.unwrap_or_default();
            replicas.sort_unstable();
            LogDirDescription {
                path,
                failed: usable.is_none(),
                space: usable.and_then(|dir| dir.space()),
                replicas,
            }
        };
        self.broker().log_dirs().into_iter().map(describe).collect()
    }

    fn replica_sizes(&self) -> Vec<(DirectoryId, ReplicaSize)> {
        let size = |partition: &Partition| {
            let replica = ReplicaSize {
                topic: partition.topic.clone(),
                partition: partition.tp.partition,
                size_bytes: partition.size_bytes(),
            };
            (partition.directory, replica)
        };
        let partitions = self.partitions();
        partitions
            .iter()
            .map(|(_, partition)| size(&partition.borrow()))
            .collect()
    }
}
