//! LeaveGroup (key 13).

use crate::Services;
use group::{LeaveGroup, LeavingMember, Left};
use types::{ErrorCode, limits};
use wire::StrBytes;
use wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use wire::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

/// First version with several members (KIP-345).
const MEMBERS: i16 = 3;

pub(crate) async fn answer(services: &Services, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    if request.members.len() > limits::GROUP_SIZE_MAX {
        return LeaveGroupResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let members: Vec<LeavingMember> = if version < MEMBERS {
        vec![LeavingMember {
            member_id: request.member_id.to_string(),
            ..LeavingMember::default()
        }]
    } else {
        request.members.iter().map(leaving).collect()
    };
    let left = if request.group_id.is_empty() {
        Left {
            error: ErrorCode::InvalidGroupId,
            members: Vec::new(),
        }
    } else {
        let asked = LeaveGroup {
            group_id: request.group_id.to_string(),
            members: members.clone(),
        };
        services.groups.leave(asked).await
    };
    let told = members.into_iter().zip(left.members).map(|(member, error)| {
        MemberResponse::default()
            .with_member_id(member.member_id.into())
            .with_group_instance_id(member.group_instance_id.map(StrBytes::from))
            .with_error_code(error.code())
    });
    LeaveGroupResponse::default()
        .with_error_code(left.error.code())
        .with_members(told.collect())
}

fn leaving(member: &MemberIdentity) -> LeavingMember {
    LeavingMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        reason: member
            .reason
            .as_ref()
            .map(|why| why[..why.floor_char_boundary(limits::GROUP_REASON_MAX)].to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};

    fn request(group: &'static str, members: &[&'static str]) -> LeaveGroupRequest {
        let text = StrBytes::from_static_str;
        let member = |id: &&'static str| MemberIdentity::default().with_member_id(text(id));
        LeaveGroupRequest::default()
            .with_group_id(text(group).into())
            .with_member_id(text("single"))
            .with_members(members.iter().map(member).collect())
    }

    fn told(response: &LeaveGroupResponse) -> Vec<(&str, i16)> {
        let members = response.members.iter();
        members.map(|m| (m.member_id.as_str(), m.error_code)).collect()
    }

    #[test]
    fn each_member_has_its_answer() {
        let node = TestNode::new(cluster());
        node.groups.third.set(Some(ErrorCode::UnknownMemberId));
        let response = run(answer(&node.services, request("g", &["a", "b", "c"]), 5));
        assert_eq!(told(&response), [("a", 0), ("b", 0), ("c", 25)]);
        let single = run(answer(&node.services, request("g", &[]), 2));
        assert_eq!(told(&single), [("single", 0)]);
    }

    #[test]
    fn an_error_of_the_group_has_no_members() {
        let node = TestNode::new(cluster());
        node.groups.error.set(Some(ErrorCode::NotCoordinator));
        for (group, expected) in [("g", 16), ("", 24)] {
            let response = run(answer(&node.services, request(group, &["a"]), 5));
            assert_eq!(response.error_code, expected);
        }
        assert_eq!(
            node.groups.leaves.borrow().len(),
            1,
            "an empty group id is not asked about"
        );
    }
}
