//! ListPartitionReassignments (key 46, KIP-455).

use metadata::{Image, PartitionImage, TopicImage};
use types::NodeId;
use wire::StrBytes;
use wire::messages::BrokerId;
use wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use wire::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};

/// From the image of this node. What is not being reassigned, or not there, is left out.
pub(crate) fn answer(image: &Image, request: &ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    let ongoing = match &request.topics {
        None => {
            let topics = image.names.values().filter_map(|id| image.topic_by_id(*id));
            topics.filter_map(|topic| ongoing(topic, numbered(topic))).collect()
        }
        Some(named) => {
            let of = |topic: &TopicImage, numbers: &[i32]| {
                let partition =
                    |number: &i32| Some((*number, &**topic.partitions.get(usize::try_from(*number).ok()?)?));
                ongoing(topic, numbers.iter().filter_map(partition))
            };
            let named = named.iter().filter_map(|asked| {
                let topic = image.topic(&asked.name.0)?;
                of(topic, &asked.partition_indexes)
            });
            named.collect()
        }
    };
    response.with_topics(ongoing)
}

fn numbered(topic: &TopicImage) -> impl Iterator<Item = (i32, &PartitionImage)> {
    (0i32..).zip(topic.partitions.iter().map(|partition| &**partition))
}

fn ongoing<'a>(
    topic: &TopicImage,
    partitions: impl Iterator<Item = (i32, &'a PartitionImage)>,
) -> Option<OngoingTopicReassignment> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| BrokerId(node.0)).collect();
    let partition = |(number, partition): (i32, &PartitionImage)| {
        OngoingPartitionReassignment::default()
            .with_partition_index(number)
            .with_replicas(ids(&partition.replicas))
            .with_adding_replicas(ids(&partition.adding_replicas))
            .with_removing_replicas(ids(&partition.removing_replicas))
    };
    let reassigned = partitions.filter(|(_, partition)| partition.is_reassigned());
    let partitions: Vec<_> = reassigned.map(partition).collect();
    let name = StrBytes::from(topic.name.clone()).into();
    (!partitions.is_empty()).then(|| {
        OngoingTopicReassignment::default()
            .with_name(name)
            .with_partitions(partitions)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};
    use std::sync::Arc;
    use wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

    /// Of `payments` partition 1 moves from 3 to 4.
    fn moving() -> Image {
        let mut image = cluster();
        let payments = Arc::make_mut(image.topics.get_mut(&topic_id(2)).unwrap());
        let partition = Arc::make_mut(&mut payments.partitions[1]);
        partition.replicas.insert(0, NodeId(4));
        (partition.adding_replicas, partition.removing_replicas) = (vec![NodeId(4)], vec![NodeId(3)]);
        image
    }

    fn told(topics: Option<&[(&'static str, &[i32])]>) -> Vec<(String, i32)> {
        let topic = |(name, partitions): &(&'static str, &[i32])| {
            ListPartitionReassignmentsTopics::default()
                .with_name(StrBytes::from_static_str(name).into())
                .with_partition_indexes(partitions.to_vec())
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
        let response = answer(&moving(), &request);
        assert!(response.error_code == 0 && response.error_message.is_none());
        let partition = |topic: &OngoingTopicReassignment| {
            let name = topic.name.0.to_string();
            let partitions = topic.partitions.iter().map(move |p| (name.clone(), p.partition_index));
            partitions.collect::<Vec<_>>()
        };
        response.topics.iter().flat_map(partition).collect()
    }

    #[test]
    fn only_what_moves_is_listed() {
        let payments = vec![("payments".to_owned(), 1)];
        assert_eq!(told(None), payments);
        assert_eq!(
            told(Some(&[("payments", &[0, 1, 9, -1]), ("none", &[0]), ("orders", &[0])])),
            payments
        );
        assert_eq!(told(Some(&[("payments", &[0, 2])])), []);
        assert_eq!(told(Some(&[])), []);
    }

    #[test]
    fn the_replicas_are_told_as_the_image_has_them() {
        let response = answer(
            &moving(),
            &ListPartitionReassignmentsRequest::default().with_topics(None),
        );
        let partition = &response.topics[0].partitions[0];
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(ids(&partition.replicas), [4, 1, 2, 3]);
        assert_eq!(ids(&partition.adding_replicas), [4]);
        assert_eq!(ids(&partition.removing_replicas), [3]);
    }
}
