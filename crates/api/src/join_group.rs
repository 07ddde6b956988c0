//! JoinGroup (key 11).

use crate::Services;
use crate::dispatch::Origin;
use bytes::Bytes;
use group::{JoinGroup, Joined, JoinedMember, Protocol};
use std::net::IpAddr;
use types::{ErrorCode, limits};
use wire::StrBytes;
use wire::messages::join_group_request::JoinGroupRequest;
use wire::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};

/// First version whose new members are told their id before they join (KIP-394).
const KNOWN_MEMBER_ID: i16 = 4;
/// First version whose leader may be told not to assign (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// Waits, for minutes maybe, and holds nothing of the request's frame while it does.
pub(crate) async fn answer(
    services: &Services,
    request: JoinGroupRequest,
    version: i16,
    origin: Origin,
) -> JoinGroupResponse {
    let joined = if request.group_id.is_empty() {
        Joined::failed(ErrorCode::InvalidGroupId, request.member_id.as_str())
    } else {
        services.groups.join(asked(request, version, origin)).await
    };
    JoinGroupResponse::default()
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation_id)
        .with_protocol_type(joined.protocol_type.map(StrBytes::from))
        .with_protocol_name(joined.protocol_name.map(StrBytes::from))
        .with_leader(joined.leader.into())
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(joined.member_id.into())
        .with_members(joined.members.into_iter().map(member).collect())
}

fn asked(request: JoinGroupRequest, version: i16, origin: Origin) -> JoinGroup {
    let session_timeout_ms = request.session_timeout_ms;
    let protocol = |protocol: &wire::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
        name: protocol.name.to_string(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    JoinGroup {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: origin.client_id.unwrap_or_default(),
        client_host: origin.address.map(as_java_prints).unwrap_or_default(),
        session_timeout_ms,
        rebalance_timeout_ms: if version == 0 {
            session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.to_string(),
        // One too many is refused as many are.
        protocols: request
            .protocols
            .iter()
            .take(limits::GROUP_PROTOCOLS_MAX + 1)
            .map(protocol)
            .collect(),
        requires_known_member_id: version >= KNOWN_MEMBER_ID,
        supports_skipping_assignment: version >= SKIP_ASSIGNMENT,
        reason: request
            .reason
            .map(|why| why[..why.floor_char_boundary(limits::GROUP_REASON_MAX)].to_owned()),
    }
}

fn member(member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember::default()
        .with_member_id(member.member_id.into())
        .with_group_instance_id(member.group_instance_id.map(StrBytes::from))
        .with_metadata(member.metadata)
}

/// `InetAddress.toString` of an address that was not looked up: a slash, and IPv6 without `::`.
fn as_java_prints(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address.segments().iter().map(|group| format!("{group:x}")).collect();
            format!("/{}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use std::net::{Ipv4Addr, Ipv6Addr};
    use wire::messages::join_group_request::JoinGroupRequestProtocol;

    fn request(group: &'static str, metadata: &Bytes) -> JoinGroupRequest {
        let text = StrBytes::from_static_str;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(metadata.clone());
        JoinGroupRequest::default()
            .with_group_id(text(group).into())
            .with_member_id(text("m1"))
            .with_group_instance_id(Some(text("i1")))
            .with_session_timeout_ms(10)
            .with_rebalance_timeout_ms(20)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
            .with_reason(Some("ü".repeat(1_000).into()))
    }

    fn origin() -> Origin {
        Origin {
            client_id: Some("app".to_owned()),
            address: Some(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()),
        }
    }

    #[test]
    fn what_versions_differ_in_is_resolved() {
        let metadata = Bytes::from_static(&[1, 2]);
        for (version, rebalance, known, skip) in [
            (0, 10, false, false),
            (3, 20, false, false),
            (4, 20, true, false),
            (9, 20, true, true),
        ] {
            let node = TestNode::new(cluster());
            run(answer(&node.services, request("g", &metadata), version, origin()));
            let joins = node.groups.joins.borrow();
            let asked = &joins[0];
            assert_eq!(
                (
                    asked.rebalance_timeout_ms,
                    asked.requires_known_member_id,
                    asked.supports_skipping_assignment
                ),
                (rebalance, known, skip),
                "v{version}"
            );
            let texts = (
                asked.client_id.as_str(),
                asked.client_host.as_str(),
                asked.group_instance_id.as_deref(),
            );
            assert_eq!(texts, ("app", "/127.0.0.1", Some("i1")));
            assert!(
                asked
                    .reason
                    .as_ref()
                    .is_some_and(|why| why.len() <= limits::GROUP_REASON_MAX)
            );
        }
    }

    /// A member waits for minutes and stays for days.
    #[test]
    fn what_a_coordinator_keeps_does_not_hold_the_frame() {
        let frame = Bytes::from(vec![7; 1_000_000]);
        let node = TestNode::new(cluster());
        run(answer(&node.services, request("g", &frame.slice(..9)), 9, origin()));
        assert!(frame.is_unique(), "a slice of the frame is kept");
        assert_eq!(node.groups.joins.borrow()[0].protocols[0].metadata, [7; 9][..]);
    }

    #[test]
    fn an_empty_group_id_is_refused() {
        let node = TestNode::new(cluster());
        let response = run(answer(&node.services, request("", &Bytes::new()), 9, origin()));
        assert_eq!((response.error_code, response.member_id.as_str()), (24, "m1"));
        assert!(node.groups.joins.borrow().is_empty());
    }

    #[test]
    fn addresses_are_written_as_java_does() {
        let table: [(IpAddr, &str); 3] = [
            (Ipv4Addr::new(10, 0, 0, 7).into(), "/10.0.0.7"),
            (Ipv6Addr::LOCALHOST.into(), "/0:0:0:0:0:0:0:1"),
            (Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), "/127.0.0.1"),
        ];
        for (address, expected) in table {
            assert_eq!(as_java_prints(address), expected);
        }
    }
}
