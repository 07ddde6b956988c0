use super::draft::Draft;
use super::rules::{Candidates, Rules};
use super::{Plan, PlanError, brokers};
use crate::Image;
use types::{BrokerEpoch, LeaderEpoch, NodeId, TopicPartition};

/// A broker whose disk stalls gives its leaderships away while the disk may still recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResignLeaders {
    pub node_id: NodeId,
    pub broker_epoch: BrokerEpoch,
    /// Each with the leader epoch that the broker leads in.
    pub partitions: Vec<(TopicPartition, LeaderEpoch)>,
}

/// Elects another member of the ISR where there is one, and takes the broker out of the ISR in the same record. Were it
/// to stay until it lags, it would hold the high watermark back under the new leader too, and several brokers with
/// stalled disks would elect each other in turn. It comes back as any follower does, once its disk does. What it does
/// not lead in the epoch that it names is left alone. The response is the number of leaderships that move.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`.
pub fn resign_leaders(image: &Image, command: &ResignLeaders) -> Result<Plan<usize>, PlanError> {
    let node = command.node_id;
    brokers::current(image, node, command.broker_epoch)?;
    let others = Candidates::without(image, node);
    let mut draft = Draft::new(image);
    for (tp, leader_epoch) in &command.partitions {
        let (Some(topic), Some(partition)) = (image.topic_by_id(tp.topic), image.partition(*tp)) else {
            continue;
        };
        if partition.leader == Some(node) && partition.leader_epoch == *leader_epoch {
            let rules = Rules::of(image, topic, partition);
            draft.change(*tp, |partition| rules.hand_over(partition, node, others));
        }
    }
    let records = draft.into_records();
    Ok(Plan {
        response: records.len(),
        records,
    })
}
