//! InitProducerId (key 22), without transactions.

use crate::Services;
use types::ErrorCode;
use wire::messages::init_producer_id_request::InitProducerIdRequest;
use wire::messages::init_producer_id_response::InitProducerIdResponse;

/// Producer ids of this shard that nobody has yet (KIP-730).
#[derive(Debug, Default)]
pub(crate) struct ProducerIdBlock {
    next: i64,
    end: i64,
}

impl ProducerIdBlock {
    fn take(&mut self) -> Option<i64> {
        let id = Some(self.next).filter(|next| *next < self.end)?;
        self.next += 1;
        Some(id)
    }
}

pub(crate) async fn answer(services: &Services, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let failed = |code: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id((-1).into())
            .with_producer_epoch(-1)
    };
    match &request.transactional_id {
        Some(id) if id.0.is_empty() => return failed(ErrorCode::InvalidRequest),
        Some(_) => return failed(ErrorCode::CoordinatorNotAvailable),
        None => {}
    }
    if (request.producer_id.0 < 0) != (request.producer_epoch < 0) {
        return failed(ErrorCode::InvalidRequest);
    }
    match next_id(services).await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(id.into())
            .with_producer_epoch(0),
        Err(error) => {
            tracing::debug!(%error, "no producer ids");
            // As Kafka does while it has no block: the client tries again.
            failed(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

async fn next_id(services: &Services) -> Result<i64, ErrorCode> {
    if let Some(id) = services.producer_ids.borrow_mut().take() {
        return Ok(id);
    }
    let (first, count) = services.control.allocate_producer_ids().await?;
    let mut block = services.producer_ids.borrow_mut();
    // Another request may have fetched a block meanwhile; what is left of it is given up.
    *block = ProducerIdBlock {
        next: first,
        end: first.saturating_add(i64::from(count)),
    };
    block.take().ok_or(ErrorCode::UnknownServerError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_image::cluster;
    use crate::test_node::{TestNode, run};
    use wire::StrBytes;

    #[test]
    fn what_is_refused() {
        let asked = |transactional: Option<&'static str>, id: i64, epoch| {
            InitProducerIdRequest::default()
                .with_transactional_id(transactional.map(|t| StrBytes::from_static_str(t).into()))
                .with_producer_id(id.into())
                .with_producer_epoch(epoch)
        };
        let table = [
            (asked(None, -1, -1), 0),
            (asked(None, 5, 0), 0),
            (asked(None, 5, -1), 42),
            (asked(None, -1, 0), 42),
            (asked(Some(""), -1, -1), 42),
            (asked(Some("t"), -1, -1), 15),
        ];
        for (request, code) in table {
            let node = TestNode::new(cluster());
            node.control.blocks.borrow_mut().push_back(Ok((100, 2)));
            let response = run(answer(&node.services, request.clone()));
            assert_eq!(response.error_code, code, "{request:?}");
            let expected = if code == 0 { (100, 0) } else { (-1, -1) };
            assert_eq!(
                (response.producer_id.0, response.producer_epoch),
                expected,
                "{request:?}"
            );
        }
    }

    #[test]
    fn blocks_are_used_up_before_the_next() {
        let node = TestNode::new(cluster());
        node.control
            .blocks
            .borrow_mut()
            .extend([Ok((100, 2)), Err(ErrorCode::RequestTimedOut), Ok((500, 1))]);
        let request = || {
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1)
        };
        let ids: Vec<_> = (0..4)
            .map(|_| run(answer(&node.services, request())))
            .map(|r| (r.producer_id.0, r.error_code))
            .collect();
        let loading = ErrorCode::CoordinatorLoadInProgress.code();
        assert_eq!(ids, [(100, 0), (101, 0), (-1, loading), (500, 0)]);
    }
}
