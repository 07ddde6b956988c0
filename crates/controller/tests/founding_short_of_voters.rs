//! A control plane that has founded its cluster while the other founders have not joined yet.

use async_trait::async_trait;
use controller::{ControlOptions, ControlPlane, CreateTopics, LogDirectory, NewTopic};
use host::{HostRef, RealHost};
use metadata::{DirectoryReport, Endpoint};
use raft::pb::{call_reply, call_request, controller_reply, controller_request};
use raft::{FramedTransport, Handler, Session, SimStore, Transport, pb};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use types::{DirectoryId, ErrorCode, NodeId, Timings};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

/// A founder that is empty, says so, and does nothing else ever after.
struct Empty;

#[async_trait]
impl Handler for Empty {
    async fn call(&self, _: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        let Some(call_request::Call::Controller(pb::ControllerRequest {
            request: Some(controller_request::Request::Probe(_)),
        })) = request.call
        else {
            return Err("not in a cluster".to_owned());
        };
        let probed = pb::ProbeReply {
            node_id: 2,
            empty: true,
            ..pb::ProbeReply::default()
        };
        Ok(pb::CallReply {
            reply: Some(call_reply::Reply::Controller(pb::ControllerReply {
                reply: Some(controller_reply::Reply::Probe(probed)),
            })),
        })
    }

    async fn session(&self, _: SocketAddr, _: pb::SessionMessage, _: Session) {}
}

fn local(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
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
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let me = local(free.local_addr().unwrap().port());
    drop(free);
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
    let options = ControlOptions {
        node_id: NodeId(1),
        rack: None,
        kafka_advertised: local(1),
        replica: local(2),
        control_listen: me.clone(),
        control_advertised: me.clone(),
        founders,
        found_alone: false,
        directories: vec![LogDirectory {
            path: directory.path().to_owned(),
            new: true,
            report: DirectoryReport {
                id: DirectoryId(Uuid::from_u128(1)),
                ..DirectoryReport::default()
            },
            damaged: Vec::new(),
        }],
        cluster_id: None,
        shards: 1,
        metadata_dir: directory.path().join("raft"),
        timings: Timings::LAN,
        defaults: BTreeMap::new(),
        leader_balance: None,
    };
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
