use metadata::{Image, PartitionImage};
use types::{BrokerEpoch, NodeId};

/// Whether a node is ready: it has caught up with the metadata, and its replicas are back in the ISR.
///
/// Once it was ready it stays so until it is fenced or registers anew. ◆ What happens to others never makes it unready: a
/// partition that nobody leads waits for somebody else, and a leader that is failing may put whole followers out of the
/// ISR.
#[derive(Debug, Default)]
pub struct Readiness {
    /// The registration in which all replicas were in the ISR.
    caught_up: Option<BrokerEpoch>,
}

impl Readiness {
    /// To be called with every image; `registration` is `Some` once the node's own is in its image.
    ///
    /// # Errors
    /// Why the node is not ready, in a line.
    pub fn look(&mut self, image: &Image, registration: Option<BrokerEpoch>, me: NodeId) -> Result<(), String> {
        let registered = image
            .broker(me)
            .filter(|broker| Some(broker.broker_epoch) == registration);
        let Some(broker) = registered else {
            self.caught_up = None;
            return Err(
                "it is not registered: it waits for a controller, or for the metadata up to its registration"
                    .to_owned(),
            );
        };
        if broker.fenced {
            self.caught_up = None;
            return Err(
                "it is fenced: the controller has not heard that it has caught up with the metadata".to_owned(),
            );
        }
        if self.caught_up == registration {
            return Ok(());
        }
        match behind(image, me) {
            None => {
                self.caught_up = registration;
                Ok(())
            }
            Some(why) => Err(why),
        }
    }
}

/// Replicas of `me` that their leaders wait for.
fn behind(image: &Image, me: NodeId) -> Option<String> {
    let out = |partition: &PartitionImage| {
        let led = partition.leader.is_some_and(|leader| image.alive(leader));
        let mine = partition.replicas.contains(&me) && !partition.adding_replicas.contains(&me);
        led && mine && !partition.isr.contains(&me)
    };
    let mut out: Vec<(String, i32, Option<NodeId>)> = image
        .partitions()
        .filter(|(_, _, partition)| out(partition))
        .map(|(tp, topic, partition)| (topic.name.clone(), tp.partition, partition.leader))
        .collect();
    out.sort();
    let (topic, number, leader) = out.first()?;
    let leader = leader
        .map(|leader| format!(" (leader: node {leader})"))
        .unwrap_or_default();
    Some(match out.len() {
        1 => format!("its replica of {topic}-{number}{leader} is not back in the ISR"),
        count => format!("{count} of its replicas are not back in the ISR, the first is {topic}-{number}{leader}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{BrokerRegistration, TopicImage};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use types::TopicId;

    const ME: NodeId = NodeId(1);
    const EPOCH: Option<BrokerEpoch> = Some(BrokerEpoch(7));

    fn broker(node: i32, fenced: bool) -> (NodeId, Arc<BrokerRegistration>) {
        let registration = BrokerRegistration {
            node_id: NodeId(node),
            broker_epoch: BrokerEpoch(7),
            fenced,
            ..BrokerRegistration::default()
        };
        (NodeId(node), Arc::new(registration))
    }

    /// Brokers 1 and 2, fenced or not; one partition on both with this leader and ISR.
    fn image(fenced: [bool; 2], leader: Option<i32>, isr: &[i32]) -> Image {
        let partition = PartitionImage {
            replicas: vec![NodeId(1), NodeId(2)],
            isr: isr.iter().copied().map(NodeId).collect(),
            leader: leader.map(NodeId),
            ..PartitionImage::default()
        };
        let topic = TopicImage {
            id: TopicId::ZERO,
            name: "orders".to_owned(),
            internal: false,
            configs: BTreeMap::new(),
            partitions: vec![Arc::new(partition)],
            created_short: false,
        };
        Image {
            brokers: BTreeMap::from([broker(1, fenced[0]), broker(2, fenced[1])]),
            topics: BTreeMap::from([(TopicId::ZERO, Arc::new(topic))]),
            ..Image::default()
        }
    }

    const UP: [bool; 2] = [false, false];

    /// (image, registration, what is in the answer; empty: ready), one after the other.
    #[test]
    fn a_node_is_ready_once_its_replicas_are_in_the_isr_and_then_until_it_is_fenced() {
        let steps = [
            (Image::default(), None, "not registered"),
            (image(UP, Some(2), &[2]), Some(BrokerEpoch(6)), "not registered"),
            (image([true, false], Some(2), &[2]), EPOCH, "fenced"),
            (image(UP, Some(2), &[2]), EPOCH, "orders-0 (leader: node 2) is not back"),
            (image(UP, Some(2), &[2, 1]), EPOCH, ""),
            // Out of the ISR by a leader that may be the one that fails.
            (image(UP, Some(2), &[2]), EPOCH, ""),
            (image([false, true], None, &[2]), EPOCH, ""),
            (image([true, false], Some(2), &[2]), EPOCH, "fenced"),
            (image(UP, Some(2), &[2]), EPOCH, "not back"),
            (image(UP, Some(1), &[1]), EPOCH, ""),
            (image(UP, Some(1), &[1]), None, "not registered"),
        ];
        let mut readiness = Readiness::default();
        for (step, (image, registration, expected)) in steps.iter().enumerate() {
            match readiness.look(image, *registration, ME) {
                Ok(()) => assert_eq!(*expected, "", "step {step}"),
                Err(why) => assert!(!expected.is_empty() && why.contains(expected), "step {step}: {why}"),
            }
        }
    }

    /// What is being moved to a node was not here before it started.
    #[test]
    fn a_replica_that_is_being_added_is_not_waited_for() {
        let mut image = image(UP, Some(2), &[2]);
        let topic = Arc::make_mut(image.topics.get_mut(&TopicId::ZERO).unwrap());
        Arc::make_mut(&mut topic.partitions[0]).adding_replicas = vec![ME];
        assert_eq!(Readiness::default().look(&image, EPOCH, ME), Ok(()));
    }

    /// ◆ Started beside a dead node, whose partitions nobody leads.
    #[test]
    fn another_nodes_failure_keeps_nobody_unready() {
        for (fenced, leader) in [([false, true], None), ([false, true], Some(2))] {
            let image = image(fenced, leader, &[2]);
            assert_eq!(Readiness::default().look(&image, EPOCH, ME), Ok(()), "{fenced:?}");
        }
    }
}
