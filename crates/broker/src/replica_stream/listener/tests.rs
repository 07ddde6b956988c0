use super::*;
use metadata::BrokerRegistration;
use std::sync::Arc;
use types::RaftId;

fn image() -> Image {
    let registration = |node: i32, epoch: u64| BrokerRegistration {
        node_id: NodeId(node),
        broker_epoch: BrokerEpoch(epoch),
        incarnation: 1,
        raft_id: RaftId(1),
        rack: None,
        kafka: Default::default(),
        replica: Default::default(),
        control: Default::default(),
        shards: 2,
        directories: Vec::new(),
        fenced: false,
        shutting_down: false,
        silent: false,
    };
    let mut image = Image {
        cluster_id: Some("ours".into()),
        ..Image::default()
    };
    image.brokers.insert(NodeId(1), Arc::new(registration(1, 10)));
    image.brokers.insert(NodeId(2), Arc::new(registration(2, 20)));
    image
}

fn hello() -> StreamHello {
    StreamHello {
        versions: (1, 1),
        cluster_id: "ours".into(),
        from: NodeId(2),
        to: NodeId(1),
        broker_epoch: BrokerEpoch(20),
        stream_id: 7,
        follower_shards: 4,
        follower_shard: 3,
        leader_shards: 2,
        leader_shard: 1,
        directories: Vec::new(),
    }
}

/// ◆ Whoever acknowledges can commit.
#[test]
fn who_may_open_a_stream() {
    let rows: Vec<(&str, StreamHello, ErrorCode)> = vec![
        ("the follower", hello(), ErrorCode::None),
        (
            "ahead of our image",
            StreamHello {
                broker_epoch: BrokerEpoch(21),
                ..hello()
            },
            ErrorCode::None,
        ),
        (
            "its dead self",
            StreamHello {
                broker_epoch: BrokerEpoch(19),
                ..hello()
            },
            ErrorCode::StaleBrokerEpoch,
        ),
        (
            "another cluster",
            StreamHello {
                cluster_id: "theirs".into(),
                ..hello()
            },
            ErrorCode::InconsistentClusterId,
        ),
        (
            "another node's address",
            StreamHello {
                to: NodeId(3),
                ..hello()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "ourselves",
            StreamHello {
                from: NodeId(1),
                ..hello()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "a stranger",
            StreamHello {
                from: NodeId(9),
                ..hello()
            },
            ErrorCode::BrokerIdNotRegistered,
        ),
        (
            "another shard count",
            StreamHello {
                leader_shards: 3,
                ..hello()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "no such shard",
            StreamHello {
                leader_shard: 2,
                ..hello()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "a future version",
            StreamHello {
                versions: (2, 3),
                ..hello()
            },
            ErrorCode::UnsupportedVersion,
        ),
    ];
    for (who, hello, expected) in rows {
        let verdict = judge(&hello, NodeId(1), Some(BrokerEpoch(10)), 2, &image());
        assert_eq!(
            verdict.err().map_or(ErrorCode::None, |(code, _)| code),
            expected,
            "{who}"
        );
    }
    let verdict = judge(&hello(), NodeId(1), None, 2, &image());
    assert!(verdict.is_err(), "nothing before our own registration");
}
