use super::*;
use crate::test_image::cluster;
use crate::test_node::{TestNode, run};
use wire::messages::alter_configs_request::{self, AlterableConfig};
use wire::messages::incremental_alter_configs_request::{self as incremental, AlterConfigsResource as Incremental};

type Config = (&'static str, i8, Option<&'static str>);

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn resource(kind: i8, name: &'static str, configs: &[Config]) -> Incremental {
    let config = |(name, operation, value): &Config| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    Incremental::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.iter().map(config).collect())
}

fn ask(node: &TestNode, resources: Vec<Incremental>) -> Vec<(String, i16, Option<String>)> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    let response = run(answer_incremental(&node.services, request));
    let told = |r: &incremental_alter_configs_response::AlterConfigsResourceResponse| {
        let message = r.error_message.as_ref().map(ToString::to_string);
        (r.resource_name.to_string(), r.error_code, message)
    };
    response.responses.iter().map(told).collect()
}

/// Kafka's codes and words (`ConfigAdminManager.preprocess`).
#[test]
fn what_needs_no_planner_is_refused_in_kafkas_words() {
    let cases: [(Incremental, i16, &str); 7] = [
        (
            resource(
                TOPIC,
                "orders",
                &[("retention.ms", SET, None), ("segment.ms", APPEND, None)],
            ),
            42,
            "Null value not supported for : retention.ms, segment.ms",
        ),
        (
            resource(
                TOPIC,
                "orders",
                &[("segment.ms", SET, Some("1")), ("segment.ms", DELETE, None)],
            ),
            42,
            "Error due to duplicate config keys",
        ),
        (
            resource(BROKER, "2", &[]),
            42,
            "Unexpected broker id, expected 1, but received 2",
        ),
        (
            resource(BROKER, "x", &[]),
            42,
            "Node id must be an integer, but it is: x",
        ),
        (resource(0, "x", &[]), 42, "Unknown resource type 0"),
        (resource(99, "x", &[]), 42, "Unknown resource type 99"),
        (
            resource(TOPIC, "orders", &[("segment.ms", 4, Some("1"))]),
            42,
            "Unknown operations type 4",
        ),
    ];
    for (asked, code, message) in cases {
        let node = TestNode::new(cluster());
        let told = ask(&node, vec![asked.clone()]);
        assert_eq!(told[0].1, code, "{asked:?}");
        assert_eq!(told[0].2.as_deref(), Some(message), "{asked:?}");
        assert!(node.control.alterations.borrow().is_empty(), "{asked:?}");
    }
}

#[test]
fn what_is_named_once_is_forwarded_and_answers_stand_in_their_order() {
    let node = TestNode::new(cluster());
    node.control.outcomes.borrow_mut().extend([
        Ok(()),
        Err(PlanError {
            code: ErrorCode::InvalidConfig,
            message: "Unknown topic config name: nope".into(),
        }),
    ]);
    let set = |name: &'static str| resource(TOPIC, name, &[("segment.ms", SET, Some("1"))]);
    let told = ask(
        &node,
        vec![
            set("twice"),
            resource(BROKER, "1", &[("log.roll.ms", DELETE, Some("ignored"))]),
            set("twice"),
            resource(
                TOPIC,
                "orders",
                &[("nope", APPEND, Some("a")), ("more", SUBTRACT, Some("b"))],
            ),
        ],
    );
    let twice = || {
        (
            "twice".to_owned(),
            42,
            Some("Each resource must appear at most once.".to_owned()),
        )
    };
    let unknown = Some("Unknown topic config name: nope".to_owned());
    assert_eq!(
        told,
        [
            twice(),
            ("1".to_owned(), 0, None),
            twice(),
            ("orders".to_owned(), 40, unknown)
        ]
    );
    let change = |name: &str, change| (name.to_owned(), change);
    let expected = AlterConfigs {
        resources: vec![
            AlterConfigsResource {
                resource: ConfigResource::Broker(Some(NodeId(1))),
                changes: vec![change("log.roll.ms", ConfigChange::Delete)],
                replace: false,
            },
            AlterConfigsResource {
                resource: ConfigResource::Topic("orders".into()),
                changes: vec![
                    change("nope", ConfigChange::Append("a".into())),
                    change("more", ConfigChange::Subtract("b".into())),
                ],
                replace: false,
            },
        ],
        validate_only: false,
    };
    assert_eq!(*node.control.alterations.borrow(), [expected]);
}

/// KIP-133: what AlterConfigs does not name is removed.
#[test]
fn the_old_request_replaces() {
    let node = TestNode::new(cluster());
    let config = |value| {
        AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(value)
    };
    let resource = |name, value| {
        alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(vec![config(value)])
    };
    let request = AlterConfigsRequest::default()
        .with_validate_only(true)
        .with_resources(vec![resource("orders", Some(text("1"))), resource("payments", None)]);
    let response = run(answer(&node.services, request));
    let codes: Vec<i16> = response.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, 42]);
    let alterations = node.control.alterations.borrow();
    assert!(alterations[0].validate_only && alterations[0].resources[0].replace);
    let changes = vec![("segment.ms".to_owned(), ConfigChange::Set("1".into()))];
    assert_eq!(alterations[0].resources[0].changes, changes);
}

#[test]
fn a_failure_of_the_call_is_each_resources() {
    let node = TestNode::new(cluster());
    node.control.error.set(Some(ErrorCode::RequestTimedOut));
    let told = ask(&node, vec![resource(TOPIC, "orders", &[]), resource(BROKER, "", &[])]);
    assert!(told.iter().all(|(_, code, _)| *code == 7), "{told:?}");
}
