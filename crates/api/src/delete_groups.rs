//! DeleteGroups (key 42).

use crate::Services;
use futures::StreamExt;
use std::collections::BTreeSet;
use types::limits;
use wire::messages::delete_groups_request::DeleteGroupsRequest;
use wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};

/// One answer for a group, however often it is named.
pub(crate) async fn answer(services: &Services, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut named = BTreeSet::new();
    let once = request.groups_names.iter().filter(|group| named.insert(group.as_str()));
    let calls = once.map(|id| async move {
        let deleted = services.groups.delete(id.to_string()).await;
        DeletableGroupResult::default()
            .with_group_id(id.clone())
            .with_error_code(deleted.code())
    });
    let results = futures::stream::iter(calls).buffered(limits::GROUP_CALLS_MAX);
    DeleteGroupsResponse::default().with_results(results.collect().await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe_groups::tests::{of, two_groups};
    use crate::test_node::run;
    use types::ErrorCode;

    #[test]
    fn each_group_is_deleted_once() {
        let node = two_groups();
        node.groups.error.set(Some(ErrorCode::NonEmptyGroup));
        let request = DeleteGroupsRequest::default().with_groups_names(of(&["b", "a", "b"]));
        let response = run(answer(&node.services, request));
        let told: Vec<_> = response
            .results
            .iter()
            .map(|r| (r.group_id.as_str(), r.error_code))
            .collect();
        assert_eq!(told, [("b", 68), ("a", 68)]);
        assert_eq!(*node.groups.deletions.borrow(), ["b", "a"]);
    }
}
