//! CreatePartitions (key 37).

use crate::{Services, control};
use metadata::plan::{CreatePartitions, MorePartitions, PlanError};
use std::collections::{BTreeMap, BTreeSet};
use types::{ErrorCode, NodeId, limits};
use wire::StrBytes;
use wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use wire::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

pub(crate) async fn answer(services: &Services, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.0.as_str()).or_default() += 1;
    }
    let too_many = request.topics.len() > limits::ADMIN_RESOURCES_MAX;
    let once = |topic: &&CreatePartitionsTopic| named.get(topic.name.0.as_str()) == Some(&1);
    let asked = request.topics.iter().filter(once).count();
    let outcomes = if too_many {
        Err(ErrorCode::InvalidRequest)
    } else if asked == 0 {
        Ok(Vec::new())
    } else {
        let planned = request.topics.iter().filter(once).map(more).collect();
        let command = CreatePartitions {
            topics: planned,
            validate_only: request.validate_only,
        };
        services
            .control
            .create_partitions(command, control::timeout(request.timeout_ms))
            .await
    };
    let mut outcomes = outcomes
        .unwrap_or_else(|code| vec![Err(without_message(code)); asked])
        .into_iter();
    let mut told = BTreeSet::new();
    // One answer for a topic, however often it is named.
    let topics = request.topics.iter().filter(|topic| told.insert(topic.name.0.as_str()));
    let results = topics.map(|topic| {
        let outcome = if once(&topic) {
            outcomes
                .next()
                .unwrap_or_else(|| Err(without_message(ErrorCode::UnknownServerError)))
        } else {
            Err(PlanError {
                code: ErrorCode::InvalidRequest,
                message: "Duplicate topic name.".to_owned(),
            })
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        match outcome {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(error.code.code())
                .with_error_message((!error.message.is_empty()).then(|| StrBytes::from(error.message))),
        }
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn more(topic: &CreatePartitionsTopic) -> MorePartitions {
    let replicas = |chosen: &CreatePartitionsAssignment| chosen.broker_ids.iter().map(|id| NodeId(id.0)).collect();
    MorePartitions {
        name: topic.name.0.to_string(),
        count: topic.count,
        assignments: topic
            .assignments
            .as_ref()
            .map(|chosen| chosen.iter().map(replicas).collect()),
    }
}

fn without_message(code: ErrorCode) -> PlanError {
    PlanError {
        code,
        message: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};

    fn topic(name: &'static str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
        let chosen = |nodes: &&[i32]| {
            CreatePartitionsAssignment::default().with_broker_ids(nodes.iter().map(|node| (*node).into()).collect())
        };
        CreatePartitionsTopic::default()
            .with_name(StrBytes::from_static_str(name).into())
            .with_count(count)
            .with_assignments(assignments.map(|all| all.iter().map(chosen).collect()))
    }

    fn told(response: &CreatePartitionsResponse) -> Vec<(&str, i16, Option<&str>)> {
        let results = response.results.iter();
        results
            .map(|r| (r.name.as_str(), r.error_code, r.error_message.as_deref()))
            .collect()
    }

    #[test]
    fn topics_named_once_are_forwarded_and_answers_stand_in_their_order() {
        let node = TestNode::new(cluster());
        node.control.outcomes.borrow_mut().extend([
            Err(PlanError {
                code: ErrorCode::InvalidPartitions,
                message: "Topic already has 3 partition(s).".into(),
            }),
            Err(without_message(ErrorCode::UnknownTopicOrPartition)),
            Ok(()),
        ]);
        let request = CreatePartitionsRequest::default()
            .with_validate_only(true)
            .with_topics(vec![
                topic("twice", 9, None),
                topic("payments", 3, None),
                topic("none", 3, None),
                topic("twice", 9, None),
                topic("orders", 4, Some(&[&[1, 2], &[2, 3]])),
            ]);
        let response = run(answer(&node.services, request));
        assert_eq!(
            told(&response),
            [
                ("twice", 42, Some("Duplicate topic name.")),
                ("payments", 37, Some("Topic already has 3 partition(s).")),
                ("none", 3, None),
                ("orders", 0, None)
            ]
        );
        let growths = node.control.growths.borrow();
        assert!(growths.len() == 1 && growths[0].validate_only);
        let asked: Vec<_> = growths[0].topics.iter().map(|t| (t.name.as_str(), t.count)).collect();
        assert_eq!(asked, [("payments", 3), ("none", 3), ("orders", 4)]);
        let chosen = vec![vec![NodeId(1), NodeId(2)], vec![NodeId(2), NodeId(3)]];
        assert_eq!(growths[0].topics[2].assignments, Some(chosen));
    }

    #[test]
    fn a_failure_of_the_call_is_each_topics() {
        let node = TestNode::new(cluster());
        node.control.error.set(Some(ErrorCode::RequestTimedOut));
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic("orders", 9, None), topic("none", 9, None)]);
        let response = run(answer(&node.services, request));
        assert_eq!(told(&response), [("orders", 7, None), ("none", 7, None)]);
    }
}
