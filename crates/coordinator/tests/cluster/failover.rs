use crate::support::{Cluster, NODES, Node, TP};
use bytes::Bytes;
use coordinator::{Coordinators, GroupMetrics, Groups, OFFSETS_TOPIC};
use futures::future::LocalBoxFuture;
use group::{
    CommitOffsets, CommitPartition, FetchOffsets, GroupConfig, GroupState, Heartbeat, JoinGroup, Joined, Protocol,
    SyncGroup, Synced,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use types::ErrorCode;

/// A cluster whose one topic is that of the groups, with one partition.
fn cluster() -> Cluster {
    let cluster = Cluster::new(2, &[]);
    cluster.script.change(|image| {
        let mut topic = (*image.topics[&TP.topic]).clone();
        image.names.remove(&topic.name);
        topic.name = OFFSETS_TOPIC.into();
        image.names.insert(topic.name.clone(), topic.id);
        image.topics.insert(topic.id, Arc::new(topic));
    });
    cluster
}

/// Coordinates on every shard of the node.
async fn coordinate(node: &Node) {
    let config = GroupConfig {
        group_initial_rebalance_delay: Duration::ZERO,
        ..GroupConfig::default()
    };
    // Connections go to the shards in turn.
    for _ in 0..2 {
        node.run(move |shard| {
            Coordinators::start(&shard, config, &GroupMetrics::default());
            Box::pin(async {})
        })
        .await;
    }
}

async fn ask<T: Send + 'static>(
    node: &Node,
    question: impl FnOnce(Groups) -> LocalBoxFuture<'static, T> + Send + 'static,
) -> T {
    let answer = node.run(|shard| question(Groups::new(shard)));
    tokio::time::timeout(Duration::from_secs(20), answer)
        .await
        .expect("a hang")
}

/// Asks until the coordinator has read its log.
async fn fetch(node: &Node) -> Result<i64, ErrorCode> {
    let asked = async {
        loop {
            match fetch_now(node).await {
                Err(ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked)
        .await
        .expect("it never coordinates")
}

async fn fetch_now(node: &Node) -> Result<i64, ErrorCode> {
    let request = FetchOffsets {
        group_id: "g".into(),
        topics: Some(vec![("t".into(), vec![0])]),
        ..FetchOffsets::default()
    };
    let fetched = ask(node, |groups| Box::pin(async move { groups.fetch(request).await })).await;
    fetched.map(|topics| topics[0].1[0].offset)
}

fn commit(member_id: &str, generation_id: i32, offset: i64) -> CommitOffsets {
    let partition = CommitPartition {
        partition: 0,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    };
    CommitOffsets {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        retention_time_ms: -1,
        topics: vec![("t".into(), vec![partition])],
        ..CommitOffsets::default()
    }
}

async fn committed(node: &Node, request: CommitOffsets) -> ErrorCode {
    let answer = ask(node, |groups| Box::pin(async move { groups.commit(request).await })).await;
    answer.map_or_else(|error| error, |topics| topics[0].1[0].1)
}

fn join_request(member_id: &str) -> JoinGroup {
    JoinGroup {
        group_id: "g".into(),
        member_id: member_id.into(),
        client_id: "c".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
        }],
        ..JoinGroup::default()
    }
}

/// Under way when this returns.
async fn join_later(node: &Node, request: JoinGroup) -> oneshot::Receiver<Joined> {
    let (reply, answer) = oneshot::channel();
    ask(node, |groups| {
        Box::pin(async move {
            tokio::task::spawn_local(async move {
                let _ = reply.send(groups.join(request).await);
            });
            tokio::task::yield_now().await;
        })
    })
    .await;
    answer
}

/// A member that has its assignment, in generation 1.
async fn member(node: &Node) -> String {
    let joined = join_later(node, join_request("")).await.await.unwrap();
    assert_eq!((joined.error, joined.generation_id), (ErrorCode::None, 1));
    let request = SyncGroup {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        assignments: BTreeMap::from([(joined.member_id.clone(), Bytes::from_static(b"mine"))]),
        ..SyncGroup::default()
    };
    let synced: Synced = ask(node, |groups| Box::pin(async move { groups.sync(request).await })).await;
    assert_eq!((synced.error, &synced.assignment[..]), (ErrorCode::None, &b"mine"[..]));
    joined.member_id
}

async fn beat(node: &Node, member_id: &str) -> ErrorCode {
    let request = Heartbeat {
        group_id: "g".into(),
        generation_id: 1,
        member_id: member_id.into(),
        group_instance_id: None,
    };
    ask(node, |groups| Box::pin(async move { groups.heartbeat(request).await })).await
}

#[tokio::test]
async fn the_next_coordinator_goes_on_where_the_last_one_was() {
    let cluster = cluster();
    let mut nodes = Vec::new();
    for id in NODES {
        let node = cluster.start(id).await;
        coordinate(&node).await;
        nodes.push(node);
    }
    assert_eq!(fetch(&nodes[0]).await, Ok(-1));
    assert_eq!(fetch_now(&nodes[1]).await, Err(ErrorCode::NotCoordinator));
    let member_id = member(&nodes[0]).await;
    for offset in 1..=50 {
        assert_eq!(
            committed(&nodes[0], commit(&member_id, 1, offset)).await,
            ErrorCode::None
        );
    }
    let waiting = join_later(&nodes[0], join_request("")).await;

    cluster.script.elect(Some(2), &[1, 2, 3]);
    assert_eq!(waiting.await.unwrap().error, ErrorCode::NotCoordinator);
    assert_eq!(fetch(&nodes[1]).await, Ok(50));
    assert_eq!(fetch_now(&nodes[0]).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(beat(&nodes[0], &member_id).await, ErrorCode::NotCoordinator);
    assert_eq!(beat(&nodes[1], &member_id).await, ErrorCode::None);
    assert_eq!(committed(&nodes[1], commit(&member_id, 1, 51)).await, ErrorCode::None);

    // And back, in a later epoch: what the first one knew is read anew.
    cluster.script.elect(Some(1), &[1, 2, 3]);
    assert_eq!(fetch(&nodes[0]).await, Ok(51));
    let described = ask(&nodes[0], |groups| {
        Box::pin(async move { groups.describe("g".into()).await })
    })
    .await;
    let described = described.unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Stable, 1));
    assert_eq!(described.members[0].assignment, Bytes::from_static(b"mine"));
    for (node, groups) in nodes.iter().zip([1, 0, 0]) {
        let listed = ask(node, |groups| Box::pin(async move { groups.list().await })).await;
        assert_eq!(listed.unwrap().len(), groups);
    }
    for node in nodes {
        node.broker.shutdown().await;
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_committed_nor_read_before_that_is_known() {
    let mut cluster = cluster();
    let first = cluster.start(NODES[0]).await;
    let second = cluster.start(NODES[1]).await;
    let (third, gate) = cluster.start_gated(NODES[2]).await;
    for node in [&first, &second, &third] {
        coordinate(node).await;
    }
    assert_eq!(fetch(&first).await, Ok(-1));
    assert_eq!(committed(&first, commit("", -1, 1)).await, ErrorCode::None);
    gate.close();
    // A member of the ISR does not sync: the commit waits, and is not seen.
    let late = committed(&first, commit("", -1, 2)).await;
    assert_eq!((late, fetch(&first).await), (ErrorCode::CoordinatorNotAvailable, Ok(1)));

    // The next leader has it in its log, and does not know yet whether it counts.
    cluster.script.elect(Some(2), &[1, 2, 3]);
    let mut loading = Err(ErrorCode::NotCoordinator);
    while loading == Err(ErrorCode::NotCoordinator) {
        loading = fetch_now(&second).await;
    }
    assert_eq!(loading, Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(
        beat(&second, "anyone").await,
        ErrorCode::None,
        "nobody is sent away meanwhile"
    );
    gate.open();
    assert_eq!(fetch(&second).await, Ok(2));
    for node in [first, second, third] {
        node.broker.shutdown().await;
    }
}

#[tokio::test]
async fn offsets_of_a_topic_that_is_deleted_are_forgotten() {
    let cluster = cluster();
    cluster.script.change(|image| {
        let mut topic = (*image.topics[&TP.topic]).clone();
        (topic.id, topic.name, topic.partitions) = (types::TopicId(uuid::Uuid::from_u128(9)), "t".into(), Vec::new());
        image.names.insert(topic.name.clone(), topic.id);
        image.topics.insert(topic.id, Arc::new(topic));
    });
    let mut nodes = Vec::new();
    for id in NODES {
        nodes.push(cluster.start(id).await);
    }
    coordinate(&nodes[0]).await;
    assert_eq!(fetch(&nodes[0]).await, Ok(-1));
    assert_eq!(committed(&nodes[0], commit("", -1, 7)).await, ErrorCode::None);
    assert_eq!(fetch(&nodes[0]).await, Ok(7));
    cluster.script.change(|image| {
        let id = image.names.remove("t").unwrap();
        image.topics.remove(&id);
    });
    let forgotten = async {
        while fetch(&nodes[0]).await != Ok(-1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten)
        .await
        .expect("it is still there");
    for node in nodes {
        node.broker.shutdown().await;
    }
}
