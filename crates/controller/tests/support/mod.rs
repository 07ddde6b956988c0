use controller::{ControlOptions, LogDirectory};
use metadata::{DirectoryReport, Endpoint};
use raft::pb;
use raft::pb::{call_reply, call_request, controller_reply, controller_request};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use types::{DirectoryId, NodeId, Timings};
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn local(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// A port of this machine that nobody listens on.
pub fn free() -> Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    local(listener.local_addr().unwrap().port())
}

/// Of a node with one empty log directory.
pub fn options(node_id: NodeId, me: Endpoint, founders: Vec<Endpoint>, directory: &Path) -> ControlOptions {
    ControlOptions {
        node_id,
        rack: None,
        kafka_advertised: local(1),
        replica: local(2),
        control_listen: me.clone(),
        control_advertised: me,
        founders,
        found_alone: false,
        directories: vec![LogDirectory {
            path: directory.to_owned(),
            new: true,
            sequence: 0,
            report: DirectoryReport {
                id: DirectoryId(Uuid::from_u128(1)),
                ..DirectoryReport::default()
            },
            damaged: Vec::new(),
        }],
        cluster_id: None,
        shards: 1,
        metadata_dir: directory.join("raft"),
        timings: Timings::LAN,
        defaults: BTreeMap::new(),
        leader_balance: None,
    }
}

/// What the controller is asked for.
pub fn asked(call: pb::CallRequest) -> Option<controller_request::Request> {
    match call.call? {
        call_request::Call::Controller(request) => request.request,
        _ => None,
    }
}

pub fn answer(reply: controller_reply::Reply) -> pb::CallReply {
    pb::CallReply {
        reply: Some(call_reply::Reply::Controller(pb::ControllerReply {
            reply: Some(reply),
        })),
    }
}
