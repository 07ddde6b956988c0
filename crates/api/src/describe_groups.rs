//! DescribeGroups (key 15).

use crate::{Services, operations};
use futures::StreamExt;
use group::{GroupDescription, GroupState, MemberDescription};
use std::collections::BTreeSet;
use types::{ErrorCode, limits};
use wire::StrBytes;
use wire::messages::GroupId;
use wire::messages::describe_groups_request::DescribeGroupsRequest;
use wire::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

/// First version that is told that there is no such group (KIP-1043); others see a dead one.
const NOT_FOUND: i16 = 6;

/// One answer for a group, however often it is named: a name is short, and its members are not.
pub(crate) async fn answer(
    services: &Services,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let operations = operations::of_group(request.include_authorized_operations);
    let mut named = BTreeSet::new();
    let once = request.groups.iter().filter(|group| named.insert(group.as_str()));
    let calls = once.map(|id| async move {
        let described = match services.groups.describe(id.to_string()).await {
            Ok(group) => found(group),
            Err(code) => failed(code, id, version),
        };
        let described = described.with_group_id(id.clone());
        if described.error_code == 0 {
            described.with_authorized_operations(operations)
        } else {
            described
        }
    });
    let groups = futures::stream::iter(calls).buffered(limits::GROUP_CALLS_MAX);
    DescribeGroupsResponse::default().with_groups(groups.collect().await)
}

fn found(group: GroupDescription) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(group.protocol_type.into())
        .with_protocol_data(group.protocol_name.into())
        .with_members(group.members.into_iter().map(member).collect())
}

fn member(member: MemberDescription) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(member.member_id.into())
        .with_group_instance_id(member.group_instance_id.map(StrBytes::from))
        .with_client_id(member.client_id.into())
        .with_client_host(member.client_host.into())
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

fn failed(code: ErrorCode, id: &GroupId, version: i16) -> DescribedGroup {
    let dead = StrBytes::from_static_str(GroupState::Dead.name());
    match code {
        ErrorCode::GroupIdNotFound if version < NOT_FOUND => DescribedGroup::default().with_group_state(dead),
        ErrorCode::GroupIdNotFound => {
            // The message too has to fit into a string of the protocol.
            let name = &id[..id.floor_char_boundary(limits::LOGGED_CLIENT_ID_MAX)];
            DescribedGroup::default()
                .with_error_code(code.code())
                .with_error_message(Some(format!("Group {name} not found.").into()))
                .with_group_state(dead)
        }
        _ => DescribedGroup::default().with_error_code(code.code()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use bytes::Bytes;

    pub(crate) fn of<T: From<StrBytes>>(names: &[&'static str]) -> Vec<T> {
        names
            .iter()
            .map(|name| StrBytes::from_static_str(name).into())
            .collect()
    }

    /// `work` is stable with one member, `idle` has none.
    pub(crate) fn two_groups() -> TestNode {
        let node = TestNode::new(cluster());
        let member = MemberDescription {
            member_id: "m1".into(),
            group_instance_id: Some("i1".into()),
            client_id: "app".into(),
            client_host: "/127.0.0.1".into(),
            metadata: Bytes::from_static(&[1]),
            assignment: Bytes::from_static(&[2]),
        };
        for (name, state, members) in [
            ("work", GroupState::Stable, vec![member]),
            ("idle", GroupState::Empty, vec![]),
        ] {
            let group = GroupDescription {
                group_id: name.into(),
                state,
                protocol_type: "consumer".into(),
                protocol_name: "range".into(),
                members,
            };
            node.groups.groups.borrow_mut().insert(name.into(), group);
        }
        node
    }

    #[test]
    fn a_group_is_told_once_and_one_that_is_not_there_by_version() {
        let node = two_groups();
        let request = || {
            DescribeGroupsRequest::default()
                .with_groups(of(&["work", "none", "work"]))
                .with_include_authorized_operations(true)
        };
        for (version, code, message) in [(5, 0, None), (6, 69, Some("Group none not found."))] {
            let response = run(answer(&node.services, request(), version));
            let [work, none] = &response.groups[..] else {
                panic!("{response:?}")
            };
            let member = &work.members[0];
            assert_eq!(
                (
                    work.group_id.as_str(),
                    work.group_state.as_str(),
                    work.protocol_data.as_str()
                ),
                ("work", "Stable", "range")
            );
            assert_eq!(
                (member.client_host.as_str(), &member.member_assignment[..]),
                ("/127.0.0.1", &[2][..])
            );
            assert_eq!((none.group_id.as_str(), none.group_state.as_str()), ("none", "Dead"));
            assert_eq!((none.error_code, none.error_message.as_deref()), (code, message));
            // As Kafka's recorded answers: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
            let operations = 0b1101_0100_1000;
            assert_eq!(work.authorized_operations, operations);
            assert_eq!(
                none.authorized_operations,
                if code == 0 { operations } else { i32::MIN }
            );
        }
    }

    #[test]
    fn an_error_is_the_groups() {
        let node = two_groups();
        node.groups.error.set(Some(ErrorCode::NotCoordinator));
        let request = DescribeGroupsRequest::default().with_groups(of(&["work"]));
        let group = run(answer(&node.services, request, 6)).groups.remove(0);
        assert_eq!(
            (
                group.error_code,
                group.group_state.as_str(),
                group.authorized_operations
            ),
            (16, "", i32::MIN)
        );
    }
}
