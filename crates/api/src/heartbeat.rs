//! Heartbeat (key 12).

use crate::Services;
use group::Heartbeat;
use types::ErrorCode;
use wire::messages::heartbeat_request::HeartbeatRequest;
use wire::messages::heartbeat_response::HeartbeatResponse;

pub(crate) async fn answer(services: &Services, request: HeartbeatRequest) -> HeartbeatResponse {
    let error = if request.group_id.is_empty() {
        ErrorCode::InvalidGroupId
    } else {
        services.groups.heartbeat(asked(request)).await
    };
    let error = match error {
        // Whether there is such a member is not known yet. It has the benefit of the doubt, as in Kafka.
        ErrorCode::CoordinatorLoadInProgress => ErrorCode::None,
        error => error,
    };
    HeartbeatResponse::default().with_error_code(error.code())
}

fn asked(request: HeartbeatRequest) -> Heartbeat {
    Heartbeat {
        group_id: request.group_id.to_string(),
        generation_id: request.generation_id,
        member_id: request.member_id.to_string(),
        group_instance_id: request.group_instance_id.map(|id| id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;

    #[test]
    fn errors() {
        for (group, error, expected) in [
            ("", None, 24),
            ("g", None, 0),
            ("g", Some(ErrorCode::RebalanceInProgress), 27),
            ("g", Some(ErrorCode::CoordinatorLoadInProgress), 0),
        ] {
            let node = TestNode::new(cluster());
            node.groups.error.set(error);
            let request = HeartbeatRequest::default().with_group_id(StrBytes::from_static_str(group).into());
            let response = run(answer(&node.services, request));
            assert_eq!(response.error_code, expected, "{group:?} {error:?}");
        }
    }
}
