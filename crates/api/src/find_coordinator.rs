//! FindCoordinator (key 10). There is no coordinator yet, and clients are told to ask again.

use types::ErrorCode;
use wire::StrBytes;
use wire::messages::find_coordinator_request::FindCoordinatorRequest;
use wire::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};

/// One answer per key; before version 4 the codec takes the only one.
pub(crate) fn answer(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let keys = if version < 4 {
        vec![request.key.clone()]
    } else {
        request.coordinator_keys.clone()
    };
    let (code, message) = match request.key_type {
        0 | 1 => (ErrorCode::CoordinatorNotAvailable, "There is no coordinator yet"),
        // Share groups (2, KIP-932) are not served.
        _ => (ErrorCode::InvalidRequest, "Unknown coordinator type"),
    };
    let coordinator = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_node_id((-1).into())
            .with_port(-1)
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    FindCoordinatorResponse::default().with_coordinators(keys.into_iter().map(coordinator).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_per_key() {
        let key = StrBytes::from_static_str;
        let old = FindCoordinatorRequest::default().with_key(key("g"));
        let new = FindCoordinatorRequest::default()
            .with_coordinator_keys(vec![key("a"), key("b")])
            .with_key_type(9);
        assert_eq!(
            answer(&old, 3)
                .coordinators
                .iter()
                .map(|c| c.error_code)
                .collect::<Vec<_>>(),
            [15]
        );
        assert_eq!(
            answer(&new, 4)
                .coordinators
                .iter()
                .map(|c| c.error_code)
                .collect::<Vec<_>>(),
            [42, 42]
        );
    }
}
