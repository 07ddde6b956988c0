//! SyncGroup (key 14).

use crate::Services;
use bytes::Bytes;
use group::{SyncGroup, Synced};
use types::{ErrorCode, limits};
use wire::StrBytes;
use wire::messages::sync_group_request::SyncGroupRequest;
use wire::messages::sync_group_response::SyncGroupResponse;

/// First version that must name protocol type and protocol (KIP-559).
const NAMES_PROTOCOL: i16 = 5;

/// Waits for the leader, and holds nothing of the request's frame while it does.
pub(crate) async fn answer(services: &Services, request: SyncGroupRequest, version: i16) -> SyncGroupResponse {
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    let synced = if version >= NAMES_PROTOCOL && unnamed {
        Synced::failed(ErrorCode::InconsistentGroupProtocol)
    } else if request.group_id.is_empty() {
        Synced::failed(ErrorCode::InvalidGroupId)
    } else {
        services.groups.sync(asked(request)).await
    };
    SyncGroupResponse::default()
        .with_error_code(synced.error.code())
        .with_protocol_type(synced.protocol_type.map(StrBytes::from))
        .with_protocol_name(synced.protocol_name.map(StrBytes::from))
        .with_assignment(synced.assignment)
}

fn asked(request: SyncGroupRequest) -> SyncGroup {
    let text = |text: StrBytes| text.to_string();
    // Who is no member gets nothing, and there are no more members.
    let assignments = request.assignments.iter().take(limits::GROUP_SIZE_MAX);
    SyncGroup {
        group_id: request.group_id.to_string(),
        generation_id: request.generation_id,
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.map(text),
        protocol_type: request.protocol_type.map(text),
        protocol_name: request.protocol_name.map(text),
        assignments: assignments
            .map(|one| (one.member_id.to_string(), Bytes::copy_from_slice(&one.assignment)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::messages::sync_group_request::SyncGroupRequestAssignment;

    #[test]
    fn who_may_ask() {
        let text = StrBytes::from_static_str;
        let some = Some("consumer");
        for (group, version, kind, name, expected) in [
            ("g", 4, None, None, 0),
            ("g", 5, some, some, 0),
            ("g", 5, None, some, 23),
            ("g", 5, some, None, 23),
            ("", 4, None, None, 24),
        ] {
            let node = TestNode::new(cluster());
            let request = SyncGroupRequest::default()
                .with_group_id(text(group).into())
                .with_protocol_type(kind.map(text))
                .with_protocol_name(name.map(text));
            let response = run(answer(&node.services, request, version));
            assert_eq!(response.error_code, expected, "{group:?} v{version} {kind:?} {name:?}");
            assert_eq!(node.groups.syncs.borrow().len(), usize::from(expected == 0));
        }
    }

    #[test]
    fn assignments_are_copied() {
        let frame = Bytes::from(vec![7; 1_000_000]);
        let node = TestNode::new(cluster());
        let one = |member: &'static str| {
            SyncGroupRequestAssignment::default()
                .with_member_id(StrBytes::from_static_str(member))
                .with_assignment(frame.slice(..9))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(StrBytes::from_static_str("g").into())
            .with_assignments(vec![one("a"), one("b")]);
        run(answer(&node.services, request, 4));
        assert!(frame.is_unique(), "a slice of the frame is kept");
        assert_eq!(node.groups.syncs.borrow()[0].assignments["b"], [7; 9][..]);
    }
}
