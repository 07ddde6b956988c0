//! DescribeCluster (key 60), KIP-700 and KIP-919.

use crate::operations;
use crate::partition_state::any_live_broker;
use metadata::Image;
use types::ErrorCode;
use wire::StrBytes;
use wire::messages::describe_cluster_request::DescribeClusterRequest;
use wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn answer(image: &Image, request: &DescribeClusterRequest, random: u64) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default().with_endpoint_type(request.endpoint_type);
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of the wrong type.";
            return response
                .with_error_code(ErrorCode::MismatchedEndpointType.code())
                .with_error_message(Some(StrBytes::from_static_str(message)));
        }
        other => {
            return response
                .with_error_code(ErrorCode::UnsupportedEndpointType.code())
                .with_error_message(Some(format!("Unsupported endpoint type {other}").into()));
        }
    }
    let shown = image
        .brokers
        .values()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = shown.map(|broker| {
        DescribeClusterBroker::default()
            .with_broker_id(broker.node_id.0.into())
            .with_host(broker.kafka.host.clone().into())
            .with_port(i32::from(broker.kafka.port))
            .with_rack(broker.rack.clone().map(StrBytes::from))
            .with_is_fenced(broker.fenced)
    });
    response
        .with_cluster_id(image.cluster_id.clone().unwrap_or_default().into())
        .with_controller_id(any_live_broker(image, random))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(operations::of_cluster(request.include_cluster_authorized_operations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;

    #[test]
    fn endpoint_types_and_fenced_brokers() {
        let request = |kind, fenced| {
            DescribeClusterRequest::default()
                .with_endpoint_type(kind)
                .with_include_fenced_brokers(fenced)
        };
        for (kind, fenced, error, brokers) in [
            (1, false, 0, 2),
            (1, true, 0, 3),
            (2, false, 114, 0),
            (7, false, 115, 0),
        ] {
            let response = answer(&cluster(), &request(kind, fenced), 1);
            assert_eq!(
                (response.error_code, response.brokers.len()),
                (error, brokers),
                "type {kind}"
            );
        }
        assert_eq!(
            answer(&cluster(), &request(1, false), 0).cluster_authorized_operations,
            i32::MIN
        );
    }
}
