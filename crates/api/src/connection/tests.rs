use super::*;
use crate::test_image::cluster;
use crate::test_node::{TestNode, run};
use tokio::io::{AsyncReadExt, DuplexStream};

/// Length prefix and the first two bytes of a frame.
fn announced(length: u32, api_key: i16) -> Vec<u8> {
    [&length.to_be_bytes()[..], &api_key.to_be_bytes()].concat()
}

/// An ApiVersions request of version 0 with this correlation id.
fn api_versions(correlation: u8) -> Vec<u8> {
    vec![0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, correlation, 0xff, 0xff]
}

/// Serves a connection over which `client` speaks; why it ended, and what of the memory is left.
fn served<F: Future<Output = ()>>(client: impl FnOnce(DuplexStream) -> F) -> (Closed, TestNode) {
    let node = TestNode::new(cluster());
    let services = Rc::clone(&node.services);
    let closed = run(async move {
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut who = Client::default();
        let (closed, ()) = tokio::join!(serve(&services, near, &mut who), client(far));
        closed
    });
    (closed, node)
}

#[test]
fn only_a_produce_may_be_long() {
    let max = limits::CONTROL_REQUEST_BYTES_MAX;
    for key in [ApiKey::Fetch, ApiKey::Metadata, ApiKey::CreateTopics] {
        let (closed, node) = served(|mut far| async move {
            let length = u32::try_from(max + 1).unwrap();
            far.write_all(&announced(length, key as i16)).await.unwrap();
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        });
        assert!(
            matches!(closed, Closed::TooLarge { api_key, length, .. } if api_key == key as i16 && length == max + 1),
            "{closed}"
        );
        let all = node.services.budget.draw(key as i16, usize::MAX).now_or_never();
        assert!(all.is_some(), "no memory was drawn");
    }
    let (closed, _) = served(|mut far| async move {
        let length = u32::try_from(max + 1).unwrap();
        far.write_all(&announced(length, ApiKey::Produce as i16)).await.unwrap();
        drop(far);
    });
    assert!(matches!(closed, Closed::Request(WireError::Truncated)), "{closed}");
}

/// Memory is drawn by what a frame announces; a body that does not come gives it back soon.
#[test]
fn a_body_that_does_not_come_holds_no_memory() {
    let (closed, node) = served(|mut far| async move {
        far.write_all(&announced(90 << 20, ApiKey::Produce as i16))
            .await
            .unwrap();
        let begin = Instant::now();
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(begin.elapsed(), limits::REQUEST_BODY_WINDOW);
    });
    assert!(matches!(closed, Closed::SlowBody { received: 6, .. }), "{closed}");
    let all = node
        .services
        .budget
        .draw(ApiKey::Produce as i16, usize::MAX)
        .now_or_never();
    assert!(all.is_some(), "the memory came back");
}

/// A slow link is served as long as it brings enough, and no longer.
#[test]
fn a_slow_body_must_keep_coming() {
    let (closed, _) = served(|mut far| async move {
        far.write_all(&announced(90 << 20, ApiKey::Produce as i16))
            .await
            .unwrap();
        let begin = Instant::now();
        for _ in 0..6 {
            tokio::time::sleep(limits::REQUEST_BODY_WINDOW / 2).await;
            far.write_all(&vec![0; limits::REQUEST_BODY_BYTES_PER_WINDOW_MIN])
                .await
                .unwrap();
        }
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(begin.elapsed() >= limits::REQUEST_BODY_WINDOW * 4);
    });
    assert!(matches!(closed, Closed::SlowBody { .. }), "{closed}");
}

/// What was asked before something unreadable is answered before the connection closes.
#[test]
fn unreadable_input_drops_no_answer() {
    let short_header = vec![0, 0, 0, 3, 0, 3, 0];
    let too_large = announced(50 << 20, ApiKey::Metadata as i16);
    let oversize = announced(u32::MAX >> 1, ApiKey::Produce as i16);
    let unserved = vec![0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 9, 0xff, 0xff];
    for bad in [short_header, too_large, oversize, unserved] {
        let (closed, _) = served(|mut far| async move {
            far.write_all(&[api_versions(1), bad].concat()).await.unwrap();
            let mut answer = Vec::new();
            far.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.get(4..8), Some(&[0, 0, 0, 1][..]));
        });
        assert!(
            matches!(closed, Closed::Request(_) | Closed::TooLarge { .. }),
            "{closed}"
        );
    }
}

/// A waiting fetch gives back what its frame drew, so that idle consumers leave the class to others.
#[test]
fn a_waiting_fetch_holds_no_request_memory() {
    let node = TestNode::new(cluster());
    node.data.stall_fetches.set(true);
    let services = Rc::clone(&node.services);
    let (near, mut far) = tokio::io::duplex(1 << 20);
    run(async move {
        let mut who = Client::default();
        let serving = serve(&services, near, &mut who);
        tokio::pin!(serving);
        far.write_all(&fetch_request()).await.unwrap();
        while node.data.plans.borrow().is_empty() {
            assert!(
                tokio::time::timeout(std::time::Duration::from_millis(1), &mut serving)
                    .await
                    .is_err()
            );
        }
        let all = services.budget.draw(ApiKey::Fetch as i16, usize::MAX).now_or_never();
        assert!(all.is_some());
    });
}

/// A JoinGroup with so many bytes of metadata.
fn join_request(bytes: usize) -> Bytes {
    use wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
    let protocol = JoinGroupRequestProtocol::default().with_metadata(vec![7; bytes].into());
    let request = JoinGroupRequest::default()
        .with_group_id(wire::StrBytes::from_static_str("g").into())
        .with_protocols(vec![protocol]);
    let request = wire::messages::RequestKind::JoinGroup(request);
    wire::client::encode_request(ApiKey::JoinGroup, 9, 1, "tester", &request).unwrap()
}

/// Members wait for each other for minutes: with the memory of a few large requests nobody else would be served.
#[test]
fn a_waiting_member_holds_no_request_memory() {
    let node = TestNode::new(cluster());
    node.groups.joined.take();
    let services = Rc::clone(&node.services);
    let (near, mut far) = tokio::io::duplex(8 << 20);
    run(async move {
        let mut who = Client::default();
        let serving = serve(&services, near, &mut who);
        tokio::pin!(serving);
        far.write_all(&join_request(4 << 20)).await.unwrap();
        while node.groups.joins.borrow().is_empty() {
            let step = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(step, &mut serving).await.is_err());
        }
        let all = services
            .budget
            .draw(ApiKey::JoinGroup as i16, usize::MAX)
            .now_or_never();
        assert!(all.is_some());
    });
}

/// Its place among the connections is free at once, whatever the rebalance timeout says.
#[test]
fn a_client_that_is_gone_waits_for_no_group() {
    let node = TestNode::new(cluster());
    node.groups.joined.take();
    let closed = served_by(&node, 1 << 20, |mut far| async move {
        far.write_all(&join_request(9)).await.unwrap();
    });
    // Without the rule it would be idle first.
    assert!(matches!(closed, Closed::ByClient), "{closed}");
    assert_eq!(node.groups.joins.borrow().len(), 1);
}

/// One that ends its half only is answered where the answer is there.
#[test]
fn a_client_that_asks_no_more_reads_its_answer() {
    let node = TestNode::new(cluster());
    let closed = served_by(&node, 1 << 20, |mut far| async move {
        far.write_all(&join_request(9)).await.unwrap();
        far.shutdown().await.unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.get(4..8), Some(&[0, 0, 0, 1][..]));
    });
    assert!(matches!(closed, Closed::ByClient), "{closed}");
}

fn fetch_request() -> Bytes {
    use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
    let topic = FetchTopic::default()
        .with_topic(wire::StrBytes::from_static_str("orders").into())
        .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1_000)]);
    let request = FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(1_000)
        .with_max_wait_ms(60_000)
        .with_topics(vec![topic]);
    let request = wire::messages::RequestKind::Fetch(request);
    wire::client::encode_request(ApiKey::Fetch, 11, 1, "tester", &request).unwrap()
}

/// A node whose fetches give so many bytes, and that many as one answer.
fn with_records(bytes: usize) -> TestNode {
    let node = TestNode::new(cluster());
    node.data.records.replace(vec![7; bytes].into());
    node
}

/// Serves `node` over a connection that holds `buffer` bytes on their way.
fn served_by<F: Future<Output = ()>>(node: &TestNode, buffer: usize, client: impl FnOnce(DuplexStream) -> F) -> Closed {
    let services = Rc::clone(&node.services);
    run(async move {
        let (near, far) = tokio::io::duplex(buffer);
        let mut who = Client::default();
        let (closed, ()) = tokio::join!(serve(&services, near, &mut who), client(far));
        closed
    })
}

fn large_fetch_request() -> Bytes {
    use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
    let partition = FetchPartition::default().with_partition_max_bytes(64 << 20);
    let topic = FetchTopic::default()
        .with_topic(wire::StrBytes::from_static_str("orders").into())
        .with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(64 << 20)
        .with_topics(vec![topic]);
    let request = wire::messages::RequestKind::Fetch(request);
    wire::client::encode_request(ApiKey::Fetch, 11, 1, "tester", &request).unwrap()
}

/// Long before `connections.max.idle.ms`: others want the memory.
#[test]
fn who_does_not_read_holds_no_memory_for_long() {
    let node = with_records(4 << 20);
    let closed = served_by(&node, 64 * 1024, |mut far| async move {
        far.write_all(&large_fetch_request()).await.unwrap();
        let begin = Instant::now();
        while !far_is_closed(&mut far).await {}
        assert!(begin.elapsed() <= limits::ANSWER_WINDOW + std::time::Duration::from_secs(1));
    });
    assert!(
        matches!(closed, Closed::NotReading { unread } if unread > 4_000_000),
        "{closed}"
    );
    assert_eq!(
        node.services.budget.fetch().reserve(usize::MAX),
        limits::FETCH_MEMORY_BYTES,
        "it came back"
    );
}

/// Without reading: whether the other end has gone.
async fn far_is_closed(far: &mut DuplexStream) -> bool {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    far.write_all(&[0]).await.is_err()
}

#[test]
fn who_reads_slowly_gets_everything_if_he_keeps_reading() {
    let node = with_records(4 << 20);
    let closed = served_by(&node, 64 * 1024, |mut far| async move {
        far.write_all(&large_fetch_request()).await.unwrap();
        let begin = Instant::now();
        let mut read = 0;
        let mut some = vec![0; limits::ANSWER_BYTES_PER_WINDOW_MIN];
        while read < 4 << 20 {
            tokio::time::sleep(limits::ANSWER_WINDOW / 2).await;
            far.read_exact(&mut some).await.unwrap();
            read += some.len();
        }
        assert!(begin.elapsed() > limits::ANSWER_WINDOW * 7);
    });
    assert!(matches!(closed, Closed::ByClient | Closed::Io(_)), "{closed}");
}

/// Answers that hold no records have a budget too, once their clients do not take them.
#[test]
fn unread_answers_have_a_limit_of_the_node() {
    for used in [0, limits::UNSENT_MEMORY_BYTES - 10] {
        let node = TestNode::new(cluster());
        let _others = node.services.budget.unsent(used).unwrap();
        let closed = served_by(&node, 64, |mut far| async move {
            far.write_all(&api_versions(1)).await.unwrap();
            while !far_is_closed(&mut far).await {}
        });
        match used {
            0 => assert!(matches!(closed, Closed::NotReading { .. }), "{closed}"),
            _ => assert!(matches!(closed, Closed::UnreadMemory), "{closed}"),
        }
        assert!(
            node.services
                .budget
                .unsent(limits::UNSENT_MEMORY_BYTES - used)
                .is_some(),
            "it came back"
        );
    }
}

/// A large Fetch keeps its memory while it waits, and so does not wait for long.
#[test]
fn a_large_fetch_holds_its_memory_and_waits_briefly() {
    use wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
    let node = TestNode::new(cluster());
    node.data.stall_fetches.set(true);
    let services = Rc::clone(&node.services);
    let topic = FetchTopic::default()
        .with_topic(wire::StrBytes::from_static_str("orders").into())
        .with_partitions(
            (0..1_000)
                .map(|index| FetchPartition::default().with_partition(index))
                .collect(),
        );
    let request = FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_wait_ms(i32::MAX)
        .with_topics(vec![topic]);
    let request = wire::messages::RequestKind::Fetch(request);
    let bytes = wire::client::encode_request(ApiKey::Fetch, 11, 1, "tester", &request).unwrap();
    assert!(bytes.len() > limits::FETCH_UNHELD_BYTES);
    let (near, mut far) = tokio::io::duplex(1 << 20);
    run(async move {
        let mut who = Client::default();
        let serving = serve(&services, near, &mut who);
        tokio::pin!(serving);
        far.write_all(&bytes).await.unwrap();
        while node.data.plans.borrow().is_empty() {
            let turn = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(turn, &mut serving).await.is_err());
        }
        assert_eq!(node.data.plans.borrow()[0].max_wait, limits::LARGE_FETCH_WAIT);
        let all = services.budget.draw(ApiKey::Fetch as i16, usize::MAX).now_or_never();
        assert!(all.is_none(), "its memory is held");
    });
}

/// ◆ What is only announced keeps nobody waiting: a few frames of 100 MiB that never come would else take all that
/// producers may have.
#[test]
fn announced_bodies_take_no_memory_from_others() {
    let node = TestNode::new(cluster());
    let services = Rc::clone(&node.services);
    run(async move {
        let announcing = (0..50).map(|_| {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let services = Rc::clone(&services);
            tokio::task::spawn_local(async move {
                let mut who = Client::default();
                let client = async {
                    far.write_all(&announced(100 << 20, ApiKey::Produce as i16))
                        .await
                        .unwrap();
                    far.write_all(&[0; 1_000]).await.unwrap();
                    std::future::pending::<()>().await
                };
                tokio::select! { _ = serve(&services, near, &mut who) => {}, () = client => {} }
            })
        });
        let announcing: Vec<_> = announcing.collect();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let most = limits::PRODUCE_MEMORY_BYTES - 50 * 2 * limits::REQUEST_STEP_BYTES_MIN;
        let others = services.budget.draw(ApiKey::Produce as i16, most).now_or_never();
        assert!(others.is_some() && announcing.iter().all(|task| !task.is_finished()));
    });
}

/// A long body is read to its end, step by step, though it is larger than what the class has.
#[test]
fn a_body_larger_than_its_memory_is_read() {
    let budget = crate::MemoryBudget::new(1 << 20, 1 << 20, 1 << 20);
    let node = TestNode::with(cluster(), crate::ApiSettings::default(), budget);
    let closed = served_by(&node, 64 * 1024, |mut far| async move {
        // A Produce of version 3 without topics, and 4 MiB of what nobody asked for behind it.
        let mut body = [
            0, 0, 0, 3, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9, 0, 0, 0, 0,
        ]
        .to_vec();
        body.resize(4 << 20, 0);
        far.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
            .await
            .unwrap();
        far.write_all(&body).await.unwrap();
        let mut answer = [0; 8];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[4..], [0, 0, 0, 9]);
    });
    assert!(matches!(closed, Closed::ByClient | Closed::Io(_)), "{closed}");
    let all = node
        .services
        .budget
        .draw(ApiKey::Produce as i16, usize::MAX)
        .now_or_never();
    assert!(all.is_some(), "it came back");
}

/// A pipeline of requests that are all here already leaves every other connection its turn.
#[test]
fn a_pipeline_does_not_keep_others_waiting() {
    let node = with_records(100);
    let services = Rc::clone(&node.services);
    run(async move {
        let connect = || {
            let (near, far) = tokio::io::duplex(1 << 20);
            let services = Rc::clone(&services);
            let serving = tokio::task::spawn_local(async move {
                let mut who = Client::default();
                serve(&services, near, &mut who).await
            });
            (far, serving)
        };
        let (mut deep, _deep) = connect();
        let (mut other, _other) = connect();
        deep.write_all(&fetch_request().repeat(500)).await.unwrap();
        other.write_all(&api_versions(1)).await.unwrap();
        other.read_exact(&mut [0; 8]).await.unwrap();
        let before = node.data.plans.borrow().len();
        assert!(before < 20, "{before} requests of one connection came first");
        while node.data.plans.borrow().len() < 500 {
            tokio::task::yield_now().await;
        }
    });
}

/// As broker 1 sees it.
fn broker_2_goes_silent(services: &Services) {
    let mut image = cluster();
    let broker = Arc::make_mut(image.brokers.get_mut(&types::NodeId(2)).unwrap());
    (broker.fenced, broker.silent) = (true, true);
    services.silence.look(&image, types::NodeId(1), Instant::now());
}

/// ◆ What was asked is answered, what comes later is not begun: the client may send it elsewhere.
#[test]
fn when_a_broker_goes_silent_connections_end_between_two_requests() {
    let node = TestNode::new(cluster());
    let (services, node_services) = (Rc::clone(&node.services), Rc::clone(&node.services));
    let closed = run(async move {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut who = Client::default();
        let client = async move {
            far.write_all(&api_versions(1)).await.unwrap();
            let length = far.read_u32().await.unwrap() as usize;
            far.read_exact(&mut vec![0; length]).await.unwrap();
            broker_2_goes_silent(&services);
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "nothing more is answered");
            // What the client has sent meanwhile resets nothing.
            far.write_all(&api_versions(2)).await.unwrap();
        };
        let (closed, ()) = tokio::join!(serve(&node_services, near, &mut who), client);
        (closed, who.requests)
    });
    assert!(matches!(closed, (Closed::BrokerSilent, 1)), "{closed:?}");
}

/// ◆ A client that comes again and asks nobody who leads may wait for the silent broker's answer.
#[test]
fn who_comes_again_is_sent_off_again_until_it_has_asked() {
    let node = TestNode::new(cluster());
    let services = Rc::clone(&node.services);
    let metadata = vec![0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0, 0, 0, 0];
    run(async move {
        let connected = |request: Vec<u8>| {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let services = Rc::clone(&services);
            tokio::task::spawn_local(async move {
                let _ = serve(&services, near, &mut Client::default()).await;
            });
            async move {
                far.write_all(&request).await.unwrap();
                let length = far.read_u32().await.unwrap() as usize;
                far.read_exact(&mut vec![0; length]).await.unwrap();
                let mut more = [0; 8];
                let end = timeout(limits::SILENCE_STAGGER * 10, far.read(&mut more)).await;
                end.map(|read| assert_eq!(read.unwrap(), 0))
            }
        };
        let begin = Instant::now();
        broker_2_goes_silent(&services);
        let asks = tokio::task::spawn_local(connected(metadata));
        for round in 0..limits::SILENCE_ROUNDS {
            connected(api_versions(1)).await.expect("sent off");
            // It is the only one left.
            let late = begin.elapsed().checked_sub(limits::SILENCE_STAGGER * round);
            assert!(
                late.is_some_and(|late| late <= limits::SILENCE_SPREAD),
                "round {round}: {late:?}"
            );
        }
        connected(api_versions(1)).await.expect_err("there is an end to it");
        asks.await.unwrap().expect_err("it has asked");
    });
}
