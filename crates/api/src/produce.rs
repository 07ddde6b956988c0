//! Produce (key 0).

mod batch_work;
mod topic_rules;

use crate::data::{Appended, DataError};
use crate::{Services, leader_hint};
use batch_work::BatchWork;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use host::PoolExt;
use metadata::{Image, TopicImage, is_internal};
use records::{Allowance, BatchHeader, Rejected};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use topic_rules::KnownRules;
use types::{ErrorCode, LeaderEpoch, NodeId, TopicId, TopicPartition, limits};
use wire::StrBytes;
use wire::messages::produce_request::{ProduceRequest, TopicProduceData};
use wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};

/// What became of a Produce request.
#[derive(Debug)]
pub enum Produced {
    Answer(ProduceResponse),
    /// acks=0 and all went well: nothing is answered.
    Silent,
    /// What cannot be answered: something failed with acks=0, or an answer would cost more than the request.
    Close(ErrorCode),
}

/// A topic of the answer: what echoes it, and its partitions in the order of the request.
type StartedTopic = (TopicProduceResponse, Vec<(i32, Option<TopicPartition>, Started)>);
/// A partition that was refused before the append, or whose append is under way.
enum Started {
    Refused(Rejected),
    Appending(LocalBoxFuture<'static, Result<Appended, DataError>>),
}

/// Checks every partition and starts its append, in order, before this is over; the future that it gives waits for
/// `acks`.
pub(crate) async fn start(
    services: &Rc<Services>,
    request: ProduceRequest,
    version: i16,
    client_id: Option<&str>,
) -> LocalBoxFuture<'static, Produced> {
    let named: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
    if named > limits::REQUEST_PARTITIONS_MAX {
        return Box::pin(std::future::ready(Produced::Close(ErrorCode::InvalidRequest)));
    }
    let image = services.image();
    let acks = request.acks;
    let mut topics: Vec<StartedTopic> = Vec::new();
    let mut allowance = Allowance::REQUEST;
    let mut bytes_since_turn = 0;
    for data in request.topic_data {
        let found = find_topic(&image, &data, version, client_id);
        let echo = TopicProduceResponse::default()
            .with_name(data.name.clone())
            .with_topic_id(data.topic_id);
        let mut partitions = Vec::new();
        for partition in data.partition_data {
            let tp = found.as_ref().ok().map(|t| TopicPartition {
                topic: t.id,
                partition: partition.index,
            });
            let started = match (&found, tp) {
                _ if !matches!(acks, -1..=1) => Started::Refused(refused(ErrorCode::InvalidRequiredAcks, "")),
                (Ok(topic), Some(tp)) => {
                    let records = partition.records.unwrap_or_default();
                    bytes_since_turn += records.len();
                    if bytes_since_turn > limits::BATCH_BYTES_ON_SHARD {
                        bytes_since_turn = 0;
                        tokio::task::yield_now().await;
                    }
                    match checked(services, &image, topic, tp, records, version, &mut allowance).await {
                        Ok((batch, header)) => Started::Appending(services.data.append(tp, batch, header, acks)),
                        Err(rejected) => Started::Refused(rejected),
                    }
                }
                (Err(code), _) => Started::Refused(refused(*code, "")),
                (Ok(_), None) => Started::Refused(refused(ErrorCode::UnknownTopicOrPartition, "")),
            };
            partitions.push((partition.index, tp, started));
        }
        topics.push((echo, partitions));
    }
    let services = Rc::clone(services);
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    Box::pin(async move {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut response = ProduceResponse::default();
        let mut leaders = BTreeSet::new();
        let mut failed = None;
        for (mut echo, partitions) in topics {
            for (index, tp, started) in partitions {
                let outcome = match started {
                    Started::Refused(rejected) => Err((rejected, None)),
                    // What the leader alone acknowledges waits for nobody else, and has no deadline.
                    Started::Appending(future) if acks != -1 => {
                        future.await.map_err(|e| (refused(e.code, ""), e.leader))
                    }
                    Started::Appending(future) => match tokio::time::timeout_at(deadline, future).await {
                        Ok(outcome) => outcome.map_err(|e| (refused(e.code, ""), e.leader)),
                        Err(_) => Err((refused(ErrorCode::RequestTimedOut, ""), None)),
                    },
                };
                if let Err((rejected, _)) = &outcome {
                    failed.get_or_insert(rejected.error);
                }
                let image = services.image();
                echo.partition_responses
                    .push(partition_answer(&image, index, tp, outcome, &mut leaders));
            }
            response.responses.push(echo);
        }
        match (acks, failed) {
            (0, None) => Produced::Silent,
            (0, Some(code)) => Produced::Close(code),
            _ => {
                let endpoint = |(node, host, port, rack): (NodeId, String, i32, Option<String>)| {
                    NodeEndpoint::default()
                        .with_node_id(node.0.into())
                        .with_host(host.into())
                        .with_port(port)
                        .with_rack(rack.map(StrBytes::from))
                };
                let named = leader_hint::endpoints(&services.image(), &leaders);
                Produced::Answer(response.with_node_endpoints(named.into_iter().map(endpoint).collect()))
            }
        }
    })
}

fn refused(error: ErrorCode, message: impl Into<String>) -> Rejected {
    Rejected {
        error,
        message: message.into(),
        record_errors: Vec::new(),
    }
}

/// The topic, by id from version 13; internal topics are for admin clients only.
fn find_topic<'a>(
    image: &'a Image,
    data: &TopicProduceData,
    version: i16,
    client_id: Option<&str>,
) -> Result<&'a TopicImage, ErrorCode> {
    let topic = if version >= 13 {
        image
            .topic_by_id(TopicId(data.topic_id))
            .ok_or(ErrorCode::UnknownTopicId)?
    } else {
        image.topic(&data.name.0).ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    if (topic.internal || is_internal(&topic.name)) && client_id != Some("__admin_client") {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(topic)
}

/// The batch to append. Checking and re-encoding is done here where it is little, else on a pool, while the shard
/// serves others, and where it is more than an honest batch makes, on another; this connection waits in any case, for its
/// appends start in order.
async fn checked(
    services: &Services,
    image: &Arc<Image>,
    topic: &TopicImage,
    tp: TopicPartition,
    records: Bytes,
    version: i16,
    allowance: &mut Allowance,
) -> Result<(Bytes, BatchHeader), Rejected> {
    if image.partition(tp).is_none() {
        return Err(refused(ErrorCode::UnknownTopicOrPartition, ""));
    }
    let rules = services.rules.borrow_mut().of(image, services.local(), topic);
    let work = BatchWork {
        rules: rules.at(services.host.wall_ms()),
        codec: rules.codec,
        segment_bytes: rules.segment_bytes,
        records,
        version,
    };
    if let Some(done) = work.run_here(allowance) {
        return done;
    }
    let gone = |error: io::Error| refused(ErrorCode::UnknownServerError, error.to_string());
    let (mut left, pooled) = (*allowance, work.clone());
    let most = limits::DECOMPRESSED_BYTES_ON_POOL;
    let done = services
        .batch_pool()
        .run(move || (pooled.run_within(&mut left, most), left));
    if let (Some(done), left) = done.await.map_err(gone)? {
        *allowance = left;
        return done;
    }
    let done = services.outsized_pool().run(move || (work.run(&mut left), left));
    let (done, left) = done.await.map_err(gone)?;
    *allowance = left;
    done
}

fn partition_answer(
    image: &Image,
    index: i32,
    tp: Option<TopicPartition>,
    outcome: Result<Appended, (Rejected, Option<(NodeId, LeaderEpoch)>)>,
    leaders: &mut BTreeSet<NodeId>,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => answer
            .with_base_offset(appended.base_offset.0)
            .with_log_append_time_ms(appended.log_append_time)
            .with_log_start_offset(appended.log_start.0),
        Err((rejected, known)) => {
            let leader = match (rejected.error, tp) {
                (ErrorCode::NotLeaderOrFollower, Some(tp)) => leader_hint::leader_for(image, tp, rejected.error, known),
                _ => None,
            };
            let mut answer = answer
                .with_error_code(rejected.error.code())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(-1)
                .with_error_message(Some(rejected.message).filter(|m| !m.is_empty()).map(StrBytes::from));
            answer.record_errors = rejected.record_errors.into_iter().map(record_error).collect();
            if let Some((node, epoch)) = leader {
                leaders.insert(node);
                answer.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(node.0.into())
                    .with_leader_epoch(epoch.0);
            }
            answer
        }
    }
}

fn record_error((index, message): (i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(index)
        .with_batch_index_error_message(Some(message.into()))
}

#[cfg(test)]
mod effects;
#[cfg(test)]
mod tests;
