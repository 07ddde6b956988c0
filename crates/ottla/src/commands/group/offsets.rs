use crate::client::{Cluster, Consumer, Place};
use std::collections::BTreeMap;
use types::ErrorCode;

/// What ListOffsets says of each of these partitions for a timestamp (or EARLIEST, or LATEST). Partitions of topics that do
/// not exist are not in it.
pub(super) async fn offsets<'a>(
    cluster: &mut Cluster,
    places: impl Iterator<Item = &'a Place>,
    timestamp: i64,
) -> anyhow::Result<BTreeMap<Place, i64>> {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        by_topic.entry(topic).or_default().push(*partition);
    }
    let mut found = BTreeMap::new();
    for (name, partitions) in by_topic {
        let topic = match cluster.topic(name, false).await {
            Err(error) if error.is(ErrorCode::UnknownTopicOrPartition) => continue,
            topic => topic?,
        };
        let there: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        let mut reader = Consumer::starting(cluster, topic, []).await?;
        for partition in partitions.into_iter().filter(|partition| there.contains(partition)) {
            let offset = reader.offset(cluster, partition, timestamp).await?;
            found.insert((name.to_owned(), partition), offset);
        }
    }
    Ok(found)
}
