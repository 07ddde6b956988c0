use super::*;
use crate::ApiSettings;
use crate::memory_budget::MemoryBudget;
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use types::{LeaderEpoch, Offset};
use wire::messages::fetch_request::{FetchPartition as Asked, FetchTopic, ReplicaState};
use wire::messages::{RequestKind, TopicName};
use wire::{ApiKey, client, decode_request, parse_frame};

fn topic(name: &str, partitions: &[i32]) -> FetchTopic {
    let name: TopicName = StrBytes::from(name.to_owned()).into();
    let partition = |index: &i32| {
        Asked::default()
            .with_partition(*index)
            .with_partition_max_bytes(1 << 20)
    };
    FetchTopic::default()
        .with_topic(name)
        .with_partitions(partitions.iter().map(partition).collect())
}

/// Without a session.
fn request(topics: Vec<FetchTopic>) -> FetchRequest {
    FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(1 << 20)
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_topics(topics)
}

fn ask(node: &TestNode, request: FetchRequest, version: i16) -> FetchResponse {
    run(answer(&node.services, request, version)).0
}

/// Partition and error of each, in order.
fn codes(response: &FetchResponse) -> Vec<(i32, i16)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|p| (p.partition_index, p.error_code)).collect()
}

#[test]
fn what_cannot_be_fetched_and_why() {
    let long = "x".repeat(limits::TOPIC_NAME_MAX + 1);
    let by_id = |id| topic("", &[0]).with_topic_id(topic_id(id).0);
    let table = [
        (topic("orders", &[0, 1]), 11, vec![(0, 0), (1, 0)]),
        (topic("orders", &[2, -1]), 11, vec![(2, 3), (-1, 3)]),
        (topic("none", &[0]), 11, vec![(0, 3)]),
        (topic(&long, &[0]), 11, vec![(0, 3)]),
        (by_id(1), 13, vec![(0, 0)]),
        (by_id(99), 13, vec![(0, 100)]),
    ];
    for (asked, version, expected) in table {
        let node = TestNode::new(cluster());
        assert_eq!(
            codes(&ask(&node, request(vec![asked.clone()]), version)),
            expected,
            "{asked:?}"
        );
    }
}

/// Replicas have streams of their own; whoever poses as one is refused.
#[test]
fn replicas_are_refused() {
    let node = TestNode::new(cluster());
    let old = request(vec![topic("orders", &[0])]).with_replica_id(2.into());
    assert_eq!(
        codes(&ask(&node, old, 11)),
        [(0, ErrorCode::TopicAuthorizationFailed.code())]
    );
    let state = ReplicaState::default().with_replica_id(2.into());
    let new = request(vec![topic("", &[0]).with_topic_id(topic_id(1).0)]).with_replica_state(state);
    assert_eq!(
        codes(&ask(&node, new, 15)),
        [(0, ErrorCode::TopicAuthorizationFailed.code())]
    );
    assert!(node.data.plans.borrow().is_empty());
}

/// A topic that is gone is told with the others, and shortens nobody's wait.
#[test]
fn an_unknown_topic_does_not_end_the_wait() {
    let node = TestNode::new(cluster());
    let both = request(vec![topic("none", &[0]), topic("orders", &[1])]);
    assert_eq!(codes(&ask(&node, both, 11)), [(0, 3), (1, 0)]);
    let plans = node.data.plans.borrow();
    assert_eq!(plans.len(), 1);
    assert_eq!(
        (plans[0].partitions.len(), plans[0].max_wait),
        (1, Duration::from_millis(500))
    );
    drop(plans);
    ask(&node, request(vec![topic("none", &[0])]), 11);
    assert_eq!(node.data.plans.borrow().len(), 1, "nothing to wait for");
}

#[test]
fn the_plan_says_what_was_asked_within_the_brokers_limits() {
    let settings = ApiSettings {
        fetch_max_bytes: 5_000,
        ..ApiSettings::default()
    };
    let node = TestNode::with(cluster(), settings, MemoryBudget::default());
    let partition = Asked::default()
        .with_partition(1)
        .with_fetch_offset(6)
        .with_current_leader_epoch(4)
        .with_last_fetched_epoch(3)
        .with_partition_max_bytes(-5);
    let mut asked = request(vec![topic("orders", &[]).with_partitions(vec![partition])]);
    asked = asked.with_min_bytes(9_000).with_max_wait_ms(-1).with_isolation_level(1);
    let response = ask(&node, asked, 12);
    let expected = FetchPlan {
        partitions: vec![FetchPartition {
            tp: TopicPartition {
                topic: topic_id(1),
                partition: 1,
            },
            fetch_offset: Offset(6),
            current_leader_epoch: LeaderEpoch(4),
            last_fetched_epoch: LeaderEpoch(3),
            max_bytes: 0,
        }],
        max_bytes: 5_000,
        min_bytes: 5_000,
        max_wait: Duration::ZERO,
        read_committed: true,
    };
    assert_eq!(*node.data.plans.borrow(), [expected]);
    assert_eq!(response.responses[0].partitions[0].aborted_transactions, Some(vec![]));
}

#[test]
fn who_leads_instead_is_named_with_its_endpoint() {
    let node = TestNode::new(cluster());
    node.data.fetch_error.set(ErrorCode::NotLeaderOrFollower);
    node.data.leader.set(Some((NodeId(2), LeaderEpoch(9))));
    let response = ask(&node, request(vec![topic("orders", &[0])]), 12);
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(
        (partition.high_watermark, partition.aborted_transactions.as_ref()),
        (-1, None)
    );
    let leader = &partition.current_leader;
    assert_eq!((leader.leader_id.0, leader.leader_epoch), (2, 9));
    let named: Vec<_> = response.node_endpoints.iter().map(|e| (e.node_id.0, e.port)).collect();
    assert_eq!(named, [(2, 9092)]);
}

#[test]
fn neighbours_of_one_topic_share_an_entry() {
    let node = TestNode::new(cluster());
    let asked = request(vec![
        topic("payments", &[2, 0]),
        topic("orders", &[1]),
        topic("payments", &[1]),
    ]);
    let response = ask(&node, asked, 11);
    let entries: Vec<_> = response
        .responses
        .iter()
        .map(|t| (t.topic.0.to_string(), t.topic_id, t.partitions.len()))
        .collect();
    let [payments, orders] = [topic_id(2).0, topic_id(1).0];
    assert_eq!(
        entries,
        [
            ("payments".into(), payments, 2),
            ("orders".into(), orders, 1),
            ("payments".into(), payments, 1)
        ]
    );
}

#[test]
fn a_session_tells_only_what_changed() {
    let node = TestNode::new(cluster());
    let first = ask(&node, request(vec![topic("orders", &[0, 1])]).with_session_epoch(0), 11);
    assert!(first.session_id != 0 && codes(&first).len() == 2);
    let next = |epoch| {
        request(vec![])
            .with_session_id(first.session_id)
            .with_session_epoch(epoch)
    };
    let second = ask(&node, next(1), 11);
    assert_eq!((second.session_id, codes(&second)), (first.session_id, vec![]));
    *node.data.records.borrow_mut() = Bytes::from_static(b"records");
    assert_eq!(codes(&ask(&node, next(2), 11)), [(0, 0), (1, 0)]);
    let wrong = ask(&node, next(2), 11);
    assert_eq!(wrong.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    assert_eq!(wrong.session_id, 0);
}

#[test]
fn a_fetch_of_too_many_partitions_is_refused() {
    let node = TestNode::new(cluster());
    let many = vec![0; limits::REQUEST_PARTITIONS_MAX + 1];
    let response = ask(&node, request(vec![topic("orders", &many)]), 11);
    assert_eq!((response.error_code, response.responses.len()), (42, 0));
}

/// Memory is taken when something is read and held until the answer is dropped, that is: written.
#[test]
fn fetched_bytes_are_held_until_written() {
    let budget = MemoryBudget::new(1, 1, 1_000);
    let node = TestNode::with(cluster(), ApiSettings::default(), budget);
    *node.data.records.borrow_mut() = Bytes::from(vec![7; 400]);
    let fetch = || run(answer(&node.services, request(vec![topic("payments", &[0, 1, 2])]), 11));
    let bytes = |response: &FetchResponse| {
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|p| p.records.as_ref().map_or(0, Bytes::len))
            .sum::<usize>()
    };
    let (first, held) = fetch();
    assert_eq!(bytes(&first), 800, "as much as there is memory");
    let (second, _) = fetch();
    assert_eq!(bytes(&second), 400, "KIP-74: never nothing");
    drop(held);
    assert_eq!(bytes(&fetch().0), 800);
    assert_eq!(node.services.budget.fetch().reserve(5_000), 1_000, "all came back");
}

/// Neither a waiting fetch nor a session keeps a byte of the frame, whose memory is given back meanwhile.
#[test]
fn nothing_of_the_frame_is_kept() {
    let mut asked = request(vec![topic("orders", &[0, 1])]).with_session_epoch(0);
    let tag = |bytes: Vec<u8>| std::collections::BTreeMap::from([(99, Bytes::from(bytes))]);
    asked.topics[0].partitions[0].unknown_tagged_fields = tag(vec![1; 5_000]);
    asked.topics[0].unknown_tagged_fields = tag(vec![2; 5_000]);
    let bytes = client::encode_request(ApiKey::Fetch, 12, 1, "tester", &RequestKind::Fetch(asked)).unwrap();
    for stalled in [true, false] {
        let frame = Bytes::copy_from_slice(&bytes[4..]);
        let RequestKind::Fetch(request) = decode_request(&parse_frame(frame.clone()).unwrap()).unwrap() else {
            panic!("not a fetch")
        };
        assert!(!frame.is_unique());
        let node = TestNode::new(cluster());
        node.data.stall_fetches.set(stalled);
        run(async {
            let answering = answer(&node.services, request, 12);
            tokio::pin!(answering);
            let done = tokio::time::timeout(Duration::from_secs(1), &mut answering).await;
            assert_eq!(done.is_err(), stalled);
            assert!(frame.is_unique(), "stalled: {stalled}");
        });
    }
}
