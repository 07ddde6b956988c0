use crate::shared::Shared;
use metadata::Endpoint;
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use types::ErrorCode;

/// A controller request as a call of this node.
pub(crate) fn request(shared: &Shared, request: Request) -> pb::CallRequest {
    let (cluster_id, raft_id) = shared.membership();
    pb::CallRequest {
        envelope: Some(pb::Envelope {
            cluster_id,
            sender_node: shared.options.node_id.0,
            sender_raft_id: raft_id,
            target_raft_id: 0,
        }),
        call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
            request: Some(request),
        })),
    }
}

/// The controller's part of an answer.
pub(crate) fn reply(reply: pb::CallReply) -> Option<Reply> {
    match reply.reply {
        Some(pb::call_reply::Reply::Controller(reply)) => reply.reply,
        _ => None,
    }
}

pub(crate) fn wrap(reply: Reply) -> pb::CallReply {
    pb::CallReply {
        reply: Some(pb::call_reply::Reply::Controller(pb::ControllerReply {
            reply: Some(reply),
        })),
    }
}

pub(crate) fn endpoint(address: pb::Address) -> Option<Endpoint> {
    Some(Endpoint {
        host: address.host,
        port: u16::try_from(address.port).ok()?,
    })
}

pub(crate) fn address(endpoint: &Endpoint) -> pb::Address {
    pb::Address {
        host: endpoint.host.clone(),
        port: u32::from(endpoint.port),
    }
}

pub(crate) fn error_code(code: i32) -> ErrorCode {
    i16::try_from(code).map_or(ErrorCode::UnknownServerError, ErrorCode::from_code)
}

pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> Reply {
    Reply::Refusal(pb::Refusal {
        error_code: i32::from(code.code()),
        message: message.into(),
    })
}
