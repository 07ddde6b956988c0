//! ElectLeaders (key 43).

use crate::{Services, control};
use metadata::plan::{ElectLeaders, PlanError};
use types::{ErrorCode, limits};
use wire::StrBytes;
use wire::messages::elect_leaders_request::ElectLeadersRequest;
use wire::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

/// Kafka's numbers for kinds of elections (`ElectionType`).
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn answer(services: &Services, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let kind = request.election_type;
    let topics = request.topic_partitions.map(|topics| {
        let topic = topics
            .into_iter()
            .map(|topic| (topic.topic.0.to_string(), topic.partitions));
        topic.collect::<Vec<_>>()
    });
    let named = topics
        .iter()
        .flatten()
        .map(|(_, partitions)| partitions.len())
        .sum::<usize>();
    if named > limits::REQUEST_PARTITIONS_MAX {
        return ElectLeadersResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    if !matches!(kind, PREFERRED | UNCLEAN) {
        let message = format!("Unknown election type {kind}");
        return refused(topics.as_deref(), ErrorCode::InvalidRequest, Some(&message));
    }
    let command = ElectLeaders {
        unclean: kind == UNCLEAN,
        topics: topics.clone(),
    };
    let timeout = control::timeout(request.timeout_ms);
    let elections = match services.control.elect_leaders(command, timeout).await {
        Ok(elections) => elections,
        Err(code) => return refused(topics.as_deref(), code, None),
    };
    let partition = |(number, outcome): (i32, Result<(), PlanError>)| {
        let (code, message) = outcome
            .err()
            .map_or((ErrorCode::None, String::new()), |error| (error.code, error.message));
        PartitionResult::default()
            .with_partition_id(number)
            .with_error_code(code.code())
            .with_error_message((!message.is_empty()).then(|| StrBytes::from(message)))
    };
    let topic = |(name, partitions): (String, Vec<_>)| {
        ReplicaElectionResult::default()
            .with_topic(StrBytes::from(name).into())
            .with_partition_result(partitions.into_iter().map(partition).collect())
    };
    ElectLeadersResponse::default().with_replica_election_results(elections.into_iter().map(topic).collect())
}

/// The whole request failed, and so each of its partitions, as older versions say it.
fn refused(topics: Option<&[(String, Vec<i32>)]>, code: ErrorCode, message: Option<&str>) -> ElectLeadersResponse {
    let partition = |number: &i32| {
        PartitionResult::default()
            .with_partition_id(*number)
            .with_error_code(code.code())
            .with_error_message(message.map(|message| StrBytes::from(message.to_owned())))
    };
    let topic = |(name, partitions): &(String, Vec<i32>)| {
        ReplicaElectionResult::default()
            .with_topic(StrBytes::from(name.clone()).into())
            .with_partition_result(partitions.iter().map(partition).collect())
    };
    ElectLeadersResponse::default()
        .with_error_code(code.code())
        .with_replica_election_results(topics.unwrap_or_default().iter().map(topic).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::messages::elect_leaders_request::TopicPartitions;

    fn request(kind: i8, topics: Option<&[(&'static str, &[i32])]>) -> ElectLeadersRequest {
        let topic = |(name, partitions): &(&'static str, &[i32])| {
            TopicPartitions::default()
                .with_topic(StrBytes::from_static_str(name).into())
                .with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_election_type(kind)
            .with_topic_partitions(topics.map(|topics| topics.iter().map(topic).collect()))
    }

    type Told<'a> = Vec<(&'a str, i32, i16, Option<&'a str>)>;

    fn told(response: &ElectLeadersResponse) -> (i16, Told<'_>) {
        let mut told = Vec::new();
        for topic in &response.replica_election_results {
            let results = topic.partition_result.iter();
            told.extend(results.map(|p| {
                (
                    &*topic.topic.0,
                    p.partition_id,
                    p.error_code,
                    p.error_message.as_deref(),
                )
            }));
        }
        (response.error_code, told)
    }

    #[test]
    fn what_is_asked_is_forwarded_and_each_partition_is_answered() {
        let node = TestNode::new(cluster());
        let refused = PlanError {
            code: ErrorCode::PreferredLeaderNotAvailable,
            message: "The preferred leader was not available.".into(),
        };
        node.control.outcomes.borrow_mut().extend([Ok(()), Err(refused)]);
        let asked: [(&'static str, &[i32]); 2] = [("orders", &[1, 0]), ("none", &[7])];
        let response = run(answer(&node.services, request(0, Some(&asked))));
        let expected = vec![
            ("orders", 1, 0, None),
            ("orders", 0, 80, Some("The preferred leader was not available.")),
            ("none", 7, 0, None),
        ];
        assert_eq!(told(&response), (0, expected));
        run(answer(&node.services, request(1, None)));
        let elections = node.control.elections.borrow();
        let topics = vec![("orders".to_owned(), vec![1, 0]), ("none".to_owned(), vec![7])];
        let expected = [
            ElectLeaders {
                unclean: false,
                topics: Some(topics),
            },
            ElectLeaders {
                unclean: true,
                topics: None,
            },
        ];
        assert_eq!(*elections, expected);
    }

    #[test]
    fn what_fails_as_a_whole_fails_for_each_partition() {
        let node = TestNode::new(cluster());
        let asked: [(&'static str, &[i32]); 1] = [("orders", &[0, 1])];
        let response = run(answer(&node.services, request(9, Some(&asked))));
        let why = Some("Unknown election type 9");
        assert_eq!(
            told(&response),
            (42, vec![("orders", 0, 42, why), ("orders", 1, 42, why)])
        );
        assert!(node.control.elections.borrow().is_empty());
        node.control.error.set(Some(ErrorCode::RequestTimedOut));
        let response = run(answer(&node.services, request(0, Some(&asked))));
        assert_eq!(
            told(&response),
            (7, vec![("orders", 0, 7, None), ("orders", 1, 7, None)])
        );
        let many = vec![0; limits::REQUEST_PARTITIONS_MAX + 1];
        let asked: [(&'static str, &[i32]); 1] = [("orders", &many)];
        assert_eq!(
            told(&run(answer(&node.services, request(0, Some(&asked))))),
            (42, vec![])
        );
    }
}
