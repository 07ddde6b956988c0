use super::PlanError;
use crate::{BrokerRegistration, Image};
use std::sync::Arc;
use types::{BrokerEpoch, ErrorCode, NodeId};

/// The registration of `node`, if `broker_epoch` is that of its present life.
pub(crate) fn current(
    image: &Image,
    node: NodeId,
    broker_epoch: BrokerEpoch,
) -> Result<&Arc<BrokerRegistration>, PlanError> {
    let broker = registered(image, node)?;
    if broker.broker_epoch == broker_epoch {
        return Ok(broker);
    }
    let recorded = broker.broker_epoch;
    let message = format!("Expected broker epoch {recorded}, but got broker epoch {broker_epoch}");
    Err(PlanError::new(ErrorCode::StaleBrokerEpoch, message))
}

pub(crate) fn registered(image: &Image, node: NodeId) -> Result<&Arc<BrokerRegistration>, PlanError> {
    let missing = || {
        PlanError::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {node} is not currently registered"),
        )
    };
    image.broker(node).ok_or_else(missing)
}
