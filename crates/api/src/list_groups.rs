//! ListGroups (key 16).

use crate::Services;
use group::ListedGroup;
use std::collections::BTreeSet;
use wire::StrBytes;
use wire::messages::list_groups_request::ListGroupsRequest;
use wire::messages::list_groups_response::{self, ListGroupsResponse};

/// What groups with the classic protocol are (KIP-848).
const CLASSIC: &str = "classic";

/// Filters are read as Kafka reads them: in any case, and a word that is nobody's state or type finds nothing.
pub(crate) async fn answer(services: &Services, request: ListGroupsRequest) -> ListGroupsResponse {
    let listed = match services.groups.list().await {
        Ok(listed) => listed,
        Err(code) => return ListGroupsResponse::default().with_error_code(code.code()),
    };
    let words =
        |filter: &[StrBytes]| -> BTreeSet<String> { filter.iter().map(|word| word.trim().to_lowercase()).collect() };
    let (states, types) = (words(&request.states_filter), words(&request.types_filter));
    let wanted = |group: &ListedGroup| {
        (states.is_empty() || states.contains(&group.state.name().to_lowercase()))
            && (types.is_empty() || types.contains(CLASSIC))
    };
    let groups = listed.into_iter().filter(wanted).map(|group| {
        list_groups_response::ListedGroup::default()
            .with_group_id(StrBytes::from(group.group_id).into())
            .with_protocol_type(group.protocol_type.into())
            .with_group_state(StrBytes::from_static_str(group.state.name()))
            .with_group_type(StrBytes::from_static_str(CLASSIC))
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe_groups::tests::{of, two_groups};
    use crate::test_node::run;
    use types::ErrorCode;

    #[test]
    fn filters_are_read_as_kafka_reads_them() {
        let node = two_groups();
        let table: &[(&[&'static str], &[&'static str], &[&str])] = &[
            (&[], &[], &["idle", "work"]),
            (&[" STABLE "], &[], &["work"]),
            (&["stable", "Empty"], &["Classic"], &["idle", "work"]),
            (&["no such state"], &[], &[]),
            (&[], &["consumer"], &[]),
            (&[], &["no such type", "classic"], &["idle", "work"]),
        ];
        for (states, types, expected) in table {
            let request = ListGroupsRequest::default()
                .with_states_filter(of(states))
                .with_types_filter(of(types));
            let response = run(answer(&node.services, request));
            let found: Vec<&str> = response.groups.iter().map(|group| group.group_id.as_str()).collect();
            assert_eq!(found, *expected, "{states:?} {types:?}");
        }
        let response = run(answer(&node.services, ListGroupsRequest::default()));
        let work = &response.groups[1];
        let said = (
            work.protocol_type.as_str(),
            work.group_state.as_str(),
            work.group_type.as_str(),
        );
        assert_eq!(said, ("consumer", "Stable", "classic"));
    }

    #[test]
    fn an_error_lists_nothing() {
        let node = two_groups();
        node.groups.error.set(Some(ErrorCode::CoordinatorLoadInProgress));
        let response = run(answer(&node.services, ListGroupsRequest::default()));
        assert_eq!((response.error_code, response.groups.len()), (14, 0));
    }
}
