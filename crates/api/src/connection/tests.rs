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
