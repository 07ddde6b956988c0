use super::*;
use crate::ApiSettings;
use crate::memory_budget::MemoryBudget;
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};

/// Name, id, code, message.
type Told = (Option<String>, u128, i16, Option<String>);

fn told(response: &DeleteTopicsResponse) -> Vec<Told> {
    let one = |r: &DeletableTopicResult| {
        (
            r.name.as_ref().map(|name| name.0.to_string()),
            r.topic_id.as_u128(),
            r.error_code,
            r.error_message.as_ref().map(ToString::to_string),
        )
    };
    response.responses.iter().map(one).collect()
}

fn by_name(names: &[&str]) -> DeleteTopicsRequest {
    let name = |name: &&str| StrBytes::from((*name).to_owned()).into();
    DeleteTopicsRequest::default().with_topic_names(names.iter().map(name).collect())
}

fn state(name: Option<&'static str>, id: u128) -> DeleteTopicState {
    DeleteTopicState::default()
        .with_name(name.map(|name| StrBytes::from_static_str(name).into()))
        .with_topic_id(topic_id(id).0)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// As the recorded answers: name and id of what was known, the id or name that was asked for else.
#[test]
fn names_and_ids_are_echoed() {
    let node = TestNode::new(cluster());
    let unknown = "This server does not host this topic-partition.";
    let response = run(answer(&node.services, by_name(&["orders", "none"]), 5));
    assert_eq!(
        told(&response),
        [(text("orders"), 1, 0, None), (text("none"), 0, 3, text(unknown))]
    );
    let request = DeleteTopicsRequest::default().with_topics(vec![
        state(None, 2),
        state(Some("orders"), 0),
        state(None, 99),
        state(Some("orders"), 1),
        state(None, 0),
    ]);
    let response = run(answer(&node.services, request, 6));
    assert_eq!(
        told(&response),
        [
            (text("payments"), 2, 0, None),
            (text("orders"), 1, 0, None),
            (None, 99, 100, text("This server does not host this topic ID.")),
            (
                text("orders"),
                1,
                42,
                text("You may not specify both topic name and topic id.")
            ),
            (None, 0, 42, text("Neither topic name nor id were specified.")),
        ]
    );
}

#[test]
fn what_is_named_twice_is_not_deleted() {
    let node = TestNode::new(cluster());
    let response = run(answer(&node.services, by_name(&["orders", "payments", "orders"]), 4));
    let codes: Vec<i16> = response.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [42, 0, 42]);
    assert_eq!(
        *node.control.deletions.borrow(),
        [vec![TopicRef::Name("payments".into())]]
    );
}

#[test]
fn a_failure_of_the_call_is_each_topics() {
    let node = TestNode::new(cluster());
    node.control.error.set(Some(ErrorCode::RequestTimedOut));
    let response = run(answer(&node.services, by_name(&["orders", "none"]), 4));
    let told = told(&response);
    assert!(
        told.iter()
            .all(|(_, _, code, _)| *code == ErrorCode::RequestTimedOut.code()),
        "{told:?}"
    );
    assert_eq!(
        (told[0].0.as_deref(), told[0].1),
        (Some("orders"), 0),
        "nothing was deleted"
    );
}

#[test]
fn deletion_can_be_switched_off() {
    let settings = ApiSettings {
        delete_topic_enable: false,
        ..ApiSettings::default()
    };
    let node = TestNode::with(cluster(), settings, MemoryBudget::default());
    for (version, code) in [(1, ErrorCode::InvalidRequest), (3, ErrorCode::TopicDeletionDisabled)] {
        let response = run(answer(&node.services, by_name(&["orders"]), version));
        assert_eq!(response.responses[0].error_code, code.code(), "v{version}");
    }
    assert!(node.control.deletions.borrow().is_empty());
}
