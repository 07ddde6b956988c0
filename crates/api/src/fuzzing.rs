//! The handlers on a scripted node, for the fuzz targets. What its log and its controller say is as short and as
//! right as can be; the requests are not.

use crate::dispatch::{self, Outcome};
use crate::test_image::{cluster, topic_id};
use crate::test_node::{TestNode, run};
use wire::{RequestFrame, WireError};

/// Names of topics of the scripted cluster, and what is like one.
pub const NAMES: &[&str] = &["orders", "payments", "", "retention.ms", "__consumer_offsets", "1"];

/// The scripted cluster's topic ids.
#[must_use]
pub fn ids() -> [[u8; 16]; 3] {
    [topic_id(1), topic_id(2), topic_id(9)].map(|id| *id.0.as_bytes())
}

/// Answers a request as node 1 of the scripted cluster: bytes of the answer, 0 where there is none.
///
/// # Errors
/// The connection would be closed for it.
pub fn answer(frame: &RequestFrame) -> Result<usize, WireError> {
    let node = TestNode::new(cluster());
    node.data.records.replace(bytes::Bytes::from_static(&[7; 400]));
    let answered = run(async { Ok::<_, WireError>(dispatch::start(&node.services, frame, None).await?.await) })?;
    match answered {
        Outcome::Answer(bytes, _) => Ok(bytes.len()),
        Outcome::Silent => Ok(0),
        Outcome::Close(why) => Err(WireError::Encode(why)),
    }
}
