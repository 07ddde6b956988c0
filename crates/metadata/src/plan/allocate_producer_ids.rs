use super::{Plan, PlanError, brokers};
use crate::{Image, Record};
use types::{BrokerEpoch, ErrorCode, NodeId};

/// Size of a block (KIP-730).
pub const PRODUCER_IDS_PER_BLOCK: i32 = 1_000;

/// A block of producer ids: `first .. first + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIds {
    pub first: i64,
    pub len: i32,
}

/// # Errors
/// `BROKER_ID_NOT_REGISTERED`, `STALE_BROKER_EPOCH`; `UNKNOWN_SERVER_ERROR` with the ids used up.
pub fn allocate_producer_ids(
    image: &Image,
    node: NodeId,
    broker_epoch: BrokerEpoch,
) -> Result<Plan<ProducerIds>, PlanError> {
    brokers::current(image, node, broker_epoch)?;
    let first = image.next_producer_id;
    let next = first
        .checked_add(i64::from(PRODUCER_IDS_PER_BLOCK))
        .ok_or_else(|| PlanError::new(ErrorCode::UnknownServerError, "Exhausted all producerIds"))?;
    let response = ProducerIds {
        first,
        len: PRODUCER_IDS_PER_BLOCK,
    };
    Ok(Plan {
        records: vec![Record::NextProducerId { next }],
        response,
    })
}
