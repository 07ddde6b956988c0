//! UnregisterBroker (key 64), KIP-500.

use crate::Services;
use types::{ErrorCode, NodeId};
use wire::messages::unregister_broker_request::UnregisterBrokerRequest;
use wire::messages::unregister_broker_response::UnregisterBrokerResponse;

pub(crate) async fn answer(services: &Services, request: &UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let broker = NodeId(request.broker_id.0);
    let response = UnregisterBrokerResponse::default();
    match services.control.unregister_broker(broker).await {
        Ok(()) => response,
        Err(code) => {
            let message = match code {
                ErrorCode::BrokerIdNotRegistered => format!("Broker ID {broker} is not currently registered"),
                other => other.to_string(),
            };
            response
                .with_error_code(code.code())
                .with_error_message(Some(message.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};

    #[test]
    fn a_broker_that_is_not_registered_is_said_to_be_none() {
        let node = TestNode::new(cluster());
        let known = *node.services.image().brokers.keys().next().unwrap();
        for (broker, code) in [(known.0, 0), (77, ErrorCode::BrokerIdNotRegistered.code())] {
            let request = UnregisterBrokerRequest::default().with_broker_id(broker.into());
            assert_eq!(run(answer(&node.services, &request)).error_code, code, "{broker}");
        }
    }
}
