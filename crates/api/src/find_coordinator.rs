//! FindCoordinator (key 10).

use crate::partition_state::reachable_leader;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::{Services, offsets_topic};
use metadata::{BrokerRegistration, Image};
use std::rc::Rc;
use types::{ErrorCode, NodeId};
use wire::StrBytes;
use wire::messages::find_coordinator_request::FindCoordinatorRequest;
use wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// First version with several keys (KIP-699).
const KEYS: i16 = 4;

/// One answer per key; before version 4 the codec takes the only one.
pub(crate) async fn answer(
    services: &Rc<Services>,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let image = match request.key_type {
        GROUP => offsets_topic::image_with_topic(services).await,
        _ => services.image(),
    };
    let keys = if version < KEYS {
        vec![request.key]
    } else {
        request.coordinator_keys
    };
    // What Kafka says where nothing is wrong.
    let well = StrBytes::from_static_str(if version < KEYS { "NONE" } else { "" });
    let coordinator = |key: StrBytes| {
        let found = match request.key_type {
            GROUP => of_group(&image, &key),
            TRANSACTION => Err((ErrorCode::CoordinatorNotAvailable, "There is no coordinator yet")),
            // Share groups (2, KIP-932) are not served.
            _ => Err((ErrorCode::InvalidRequest, "Unknown coordinator type")),
        };
        let answer = Coordinator::default().with_key(key);
        match found {
            Ok(broker) => answer
                .with_node_id(broker.node_id.0.into())
                .with_host(StrBytes::from(broker.kafka.host.clone()))
                .with_port(i32::from(broker.kafka.port))
                .with_error_message(Some(well.clone())),
            Err((code, message)) => answer
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_static_str(message))),
        }
    };
    FindCoordinatorResponse::default().with_coordinators(keys.into_iter().map(coordinator).collect())
}

/// The broker that leads the group's partition of `__consumer_offsets`.
fn of_group<'a>(image: &'a Image, group_id: &str) -> Result<&'a BrokerRegistration, (ErrorCode, &'static str)> {
    let topic = image.topic(CONSUMER_OFFSETS).ok_or((
        ErrorCode::CoordinatorNotAvailable,
        "__consumer_offsets is being created",
    ))?;
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let number = usize::try_from(group::partition_of(group_id, partitions)).unwrap_or(0);
    let leader = topic
        .partitions
        .get(number)
        .map(|partition| reachable_leader(image, partition));
    let broker = leader.and_then(|(leader, _)| image.broker(NodeId(leader.0)));
    let none = "The group's partition of __consumer_offsets has no leader";
    broker
        .map(AsRef::as_ref)
        .ok_or((ErrorCode::CoordinatorNotAvailable, none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::{cluster, topic_id};
    use crate::test_node::{TestNode, run};
    use std::sync::Arc;

    /// `orders`, led by 1 and the fenced 3, as the topic of groups.
    fn with_groups() -> Image {
        let mut image = cluster();
        let mut topic = (**image.topic("orders").unwrap()).clone();
        (topic.id, topic.name, topic.internal) = (topic_id(50), CONSUMER_OFFSETS.to_owned(), true);
        image.names.insert(topic.name.clone(), topic.id);
        image.topics.insert(topic.id, Arc::new(topic));
        image
    }

    fn request(kind: i8, keys: &[&str]) -> FindCoordinatorRequest {
        let key = |key: &&str| StrBytes::from((*key).to_owned());
        FindCoordinatorRequest::default()
            .with_key(key(&keys[0]))
            .with_key_type(kind)
            .with_coordinator_keys(keys.iter().map(key).collect())
    }

    fn told(response: &FindCoordinatorResponse) -> Vec<(i16, i32, i32)> {
        let coordinators = response.coordinators.iter();
        coordinators.map(|c| (c.error_code, c.node_id.0, c.port)).collect()
    }

    #[test]
    fn a_group_belongs_to_the_leader_of_its_partition_if_that_lives() {
        let node = TestNode::new(with_groups());
        // Java: 'b' and 'd' are even, and their partition is led by 1.
        let response = run(answer(&node.services, request(GROUP, &["a", "b", "c", "d"]), 6));
        assert_eq!(
            told(&response),
            [(15, -1, -1), (0, 1, 9091), (15, -1, -1), (0, 1, 9091)]
        );
        assert_eq!(response.coordinators[1].key.as_str(), "b");
        assert_eq!(response.coordinators[1].error_message.as_deref(), Some(""));
        let old = run(answer(&node.services, request(GROUP, &["b"]), 3));
        assert_eq!(old.coordinators[0].error_message.as_deref(), Some("NONE"));
        assert!(node.control.creations.borrow().is_empty());
    }

    #[test]
    fn other_kinds_have_none() {
        let node = TestNode::new(with_groups());
        for (kind, code) in [(TRANSACTION, 15), (2, 42), (9, 42)] {
            let response = run(answer(&node.services, request(kind, &["a", "b", "c"]), 6));
            assert_eq!(told(&response), [(code, -1, -1); 3], "{kind}");
        }
        assert!(
            node.control.creations.borrow().is_empty(),
            "only groups need their topic"
        );
    }

    #[test]
    fn the_topic_is_created_once_and_waited_for() {
        let node = TestNode::new(cluster());
        node.control.next_image.replace(Some(Arc::new(with_groups())));
        let ask = || answer(&node.services, request(GROUP, &["b"]), 6);
        let (first, second) = run(futures::future::join(ask(), ask()));
        for response in [first, second] {
            assert_eq!(told(&response), [(0, 1, 9091)]);
        }
        let creations = node.control.creations.borrow();
        assert_eq!(creations.len(), 1, "{creations:?}");
        let topic = &creations[0].0[0];
        assert_eq!(
            (topic.name.as_str(), topic.partitions, topic.replication_factor),
            (CONSUMER_OFFSETS, 50, 3)
        );
        let config = |name: &str| topic.configs[name].as_deref().unwrap_or_default().to_owned();
        assert_eq!(
            [
                config("cleanup.policy"),
                config("compression.type"),
                config("segment.bytes")
            ],
            ["compact", "producer", "104857600"]
        );
    }

    #[test]
    fn a_topic_that_does_not_come_is_not_waited_for_long() {
        let mut image = cluster();
        image.brokers.remove(&NodeId(3));
        let node = TestNode::new(image);
        let (response, waited) = run(async {
            let begun = tokio::time::Instant::now();
            (answer(&node.services, request(GROUP, &["b"]), 6).await, begun.elapsed())
        });
        assert_eq!(told(&response), [(15, -1, -1)]);
        assert!(waited >= types::limits::COORDINATOR_WAIT && waited < 2 * types::limits::COORDINATOR_WAIT);
        let factor = node.control.creations.borrow()[0].0[0].replication_factor;
        assert_eq!(factor, 2, "no more replicas than brokers");
    }
}
