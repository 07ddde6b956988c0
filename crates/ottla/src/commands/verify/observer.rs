use super::run::Load;
use crate::client::{ClientError, Cluster, Consumer, EARLIEST, Group, LATEST};
use history::Body;
use std::rc::Rc;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(500);

/// Asks again and again for what must not go back: leaders and their epochs, log starts and high watermarks, and the group's
/// offsets.
pub async fn observe(load: Rc<Load>) {
    let mut cluster = Cluster::new(&load.bootstrap);
    let mut group = Group::new(&load.group);
    while !load.is_over() {
        if let Err(error) = look(&load, &mut cluster, &mut group).await {
            load.trouble(&error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(load: &Load, cluster: &mut Cluster, group: &mut Group) -> Result<(), ClientError> {
    const WORKER: &str = "observer";
    let topic = cluster.topic(&load.topic, false).await?;
    for partition in &topic.partitions {
        let body = Body::Leader {
            partition: load.partition_name(partition.index).into(),
            leader_epoch: partition.leader_epoch,
            node: partition.leader,
        };
        load.recorder.tell(WORKER, body);
    }
    let mut asking = Consumer::starting(cluster, topic, []).await?;
    for partition in 0..load.partitions {
        if load.is_over() {
            return Ok(());
        }
        let asked_at = load.recorder.now();
        let log_start = asking.offset(cluster, partition, EARLIEST).await?;
        let high_watermark = asking.offset(cluster, partition, LATEST).await?;
        let body = Body::Offsets {
            asked_at,
            partition: load.partition_name(partition).into(),
            log_start: Some(log_start),
            high_watermark: Some(high_watermark),
        };
        load.recorder.tell(WORKER, body);
    }
    let asked_at = load.recorder.now();
    let committed = group.committed(cluster).await?;
    for partition in 0..load.partitions {
        let offset = committed.get(&(load.topic.clone(), partition)).copied();
        load.tell_group_offset(WORKER, asked_at, partition, offset);
    }
    Ok(())
}
