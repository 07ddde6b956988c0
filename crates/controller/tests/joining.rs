//! A node that joins a cluster of which it knows a founder only.

mod support;

use async_trait::async_trait;
use controller::ControlPlane;
use host::{HostRef, RealHost};
use metadata::Endpoint;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{FramedTransport, Handler, Session, SimStore, Transport, pb};
use std::net::SocketAddr;
use std::sync::Arc;
use support::{PATIENCE, answer, asked, free, options};
use tokio::sync::watch;
use types::NodeId;

const CLUSTER: &str = "DadXq6RYRBaRgi0yR72n2Q";
const RAFT_ID: u64 = 5;

/// A founder, which follows, where `leader` is another; or whoever leads.
struct Member {
    leader: Option<Endpoint>,
    admitted: watch::Sender<bool>,
}

#[async_trait]
impl Handler for Member {
    async fn call(&self, _: SocketAddr, request: pb::CallRequest) -> Result<pb::CallReply, String> {
        let request = asked(request).ok_or("asked for something else")?;
        let reply = match (request, &self.leader) {
            (Request::Probe(_), _) => Reply::Probe(pb::ProbeReply {
                cluster_id: CLUSTER.to_owned(),
                ..pb::ProbeReply::default()
            }),
            (_, Some(leader)) => Reply::NotController(pb::NotController {
                leader: Some(pb::Address {
                    host: leader.host.clone(),
                    port: leader.port.into(),
                }),
                ..pb::NotController::default()
            }),
            (Request::Join(_), None) => Reply::Join(pb::JoinReply {
                cluster_id: CLUSTER.to_owned(),
                raft_id: RAFT_ID,
            }),
            (Request::Admit(admit), None) if admit.raft_id == RAFT_ID => {
                self.admitted.send_replace(true);
                Reply::Admit(pb::AdmitReply {})
            }
            (other, None) => return Err(format!("{other:?}")),
        };
        Ok(answer(reply))
    }

    async fn session(&self, _: SocketAddr, _: pb::SessionMessage, _: Session) {}
}

/// ◆ Whoever leads the metadata may be none of the founders. Fails if the founders alone are asked to send the log: the
/// node is then never part of the group, and registers for ever.
#[tokio::test]
async fn a_node_joins_while_none_of_the_founders_leads() {
    let host: HostRef = Arc::new(RealHost::new());
    let transport: Arc<dyn Transport> = Arc::new(FramedTransport::new(host.clone()));
    let (admitted, mut seen) = watch::channel(false);
    let mut served = Vec::new();
    let mut leader = None;
    for _ in 0..2 {
        let member = Member {
            leader: leader.take(),
            admitted: admitted.clone(),
        };
        let serving = transport.serve(("127.0.0.1".to_owned(), 0), Arc::new(member)).await;
        served.push(serving.unwrap());
        leader = served.last().map(|serving| support::local(serving.port));
    }
    let founders = vec![leader.unwrap()];
    let directory = tempfile::tempdir().unwrap();
    let options = options(NodeId(2), free(), founders, directory.path());
    let store = SimStore::new(1).reopen();
    let (control, _failure) = ControlPlane::start(host, options, store, transport).await.unwrap();
    tokio::time::timeout(PATIENCE, seen.wait_for(|admitted| *admitted))
        .await
        .expect("the leader is asked to send the log")
        .unwrap();
    control.stop().await;
}
