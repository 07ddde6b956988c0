//! A control plane that has founded its cluster while the other founders have not joined yet.

mod support;

use async_trait::async_trait;
use controller::{ControlPlane, CreateTopics, NewTopic};
use host::{HostRef, RealHost};
use raft::pb::{call_reply, call_request, controller_reply, controller_request};
use raft::{FramedTransport, Handler, Session, SimStore, Transport, pb};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{PATIENCE, answer, asked, free, local, options};
use types::{ErrorCode, NodeId};

/// A founder that is empty, says so, and does nothing else ever after.
struct Empty;

#[async_trait]
impl Handler for Empty {
    async fn call(&self, _: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        let Some(controller_request::Request::Probe(_)) = asked(request) else {
            return Err("not in a cluster".to_owned());
        };
        Ok(answer(controller_reply::Reply::Probe(pb::ProbeReply {
            node_id: 2,
            empty: true,
            ..pb::ProbeReply::default()
        })))
    }

    async fn session(&self, _: SocketAddr, _: pb::SessionMessage, _: Session) {}
}

fn one_topic() -> CreateTopics {
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        replication_factor: 1,
        ..NewTopic::default()
    };
    CreateTopics {
        topics: vec![topic],
        validate_only: false,
    }
}

/// ◆ No topic is created before min(3, founders) voters are durable: on the founder's disk alone, it would be lost
/// with that disk, acknowledged records and all. Fails without the look at the voters.
#[tokio::test]
async fn no_topic_before_the_quorum_is_complete() {
    let host: HostRef = Arc::new(RealHost::new());
    let transport: Arc<dyn Transport> = Arc::new(FramedTransport::new(host.clone()));
    let me = free();
    let mut founders = vec![me.clone()];
    let mut others = Vec::new();
    for _ in 0..2 {
        let serving = transport
            .serve(("127.0.0.1".to_owned(), 0), Arc::new(Empty))
            .await
            .unwrap();
        founders.push(local(serving.port));
        others.push(serving);
    }
    let directory = tempfile::tempdir().unwrap();
    let options = options(NodeId(1), me.clone(), founders, directory.path());
    let store = SimStore::new(1).reopen();
    let (control, _failure) = ControlPlane::start(host, options, store, transport.clone())
        .await
        .unwrap();
    let mut image = control.image();
    let ready = image.wait_for(|image| image.broker(NodeId(1)).is_some_and(|broker| !broker.fenced));
    let cluster_id = tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("founds and registers")
        .unwrap()
        .cluster_id
        .clone()
        .unwrap();

    // The controller says why it does not, once asked directly …
    let create = pb::CreateTopicsRequest::default();
    let call = pb::CallRequest {
        envelope: Some(pb::Envelope {
            cluster_id,
            sender_node: 1,
            ..pb::Envelope::default()
        }),
        call: Some(call_request::Call::Controller(pb::ControllerRequest {
            request: Some(controller_request::Request::CreateTopics(create)),
        })),
    };
    let reply = transport.call(&me, call, PATIENCE).await.unwrap();
    let Some(call_reply::Reply::Controller(pb::ControllerReply {
        reply: Some(controller_reply::Reply::NotController(busy)),
    })) = reply.reply
    else {
        panic!("{reply:?}");
    };
    assert!(busy.busy && busy.reason.contains("quorum"), "{busy:?}");
    // … and a client of the handle waits for it, and times out.
    let patient = control.within(Duration::from_millis(300));
    match tokio::time::timeout(Duration::from_secs(5), patient.create_topics(one_topic())).await {
        Ok(Err(ErrorCode::RequestTimedOut)) => {}
        other => panic!("{other:?}"),
    }
    assert!(control.image().borrow().topics.is_empty());
    control.stop().await;
}
