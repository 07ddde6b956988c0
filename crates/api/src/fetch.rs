//! Fetch (key 1), for consumers: replicas have streams of their own.

use crate::data::{FetchPartition, FetchPlan, FetchedPartition};
use crate::fetch_session::{Context, PartitionKey, TopicKey, Wanted};
use crate::memory_budget::Fetched;
use crate::{Services, leader_hint};
use bytes::Bytes;
use metadata::Image;
use std::collections::BTreeSet;
use std::time::Duration;
use types::{ErrorCode, NodeId, TopicPartition, limits};
use wire::StrBytes;
use wire::messages::fetch_request::FetchRequest;
use wire::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};

/// What of a request is needed while and after it waits. The request itself would keep its whole frame.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// The broker that asks, or −1.
    replica: i32,
    read_committed: bool,
    max_bytes: usize,
    min_bytes: usize,
    max_wait: Duration,
}

impl Terms {
    fn of(request: &FetchRequest, version: i16, fetch_max_bytes: usize) -> Self {
        let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(fetch_max_bytes);
        Self {
            replica: if version >= 15 {
                request.replica_state.replica_id.0
            } else {
                request.replica_id.0
            },
            read_committed: request.isolation_level == 1,
            max_bytes,
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        }
    }
}

/// Answers a fetch; the memory of its records is held until it is written.
pub(crate) async fn answer(
    services: &Services,
    request: FetchRequest,
    version: i16,
) -> (FetchResponse, Option<Fetched>) {
    let failed = |code: ErrorCode| (FetchResponse::default().with_error_code(code.code()), None);
    let named: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if named > limits::REQUEST_PARTITIONS_MAX {
        return failed(ErrorCode::InvalidRequest);
    }
    let opened = services
        .sessions
        .borrow_mut()
        .open(&request, version >= 13, services.host.now());
    let Context { kind, partitions } = match opened {
        Ok(context) => context,
        Err(code) => return failed(code),
    };
    let terms = Terms::of(&request, version, services.settings.fetch_max_bytes);
    drop(request);
    let image = services.image();
    let resolved: Vec<Result<TopicPartition, ErrorCode>> = partitions
        .iter()
        .map(|(key, _)| {
            if terms.replica >= 0 {
                Err(ErrorCode::TopicAuthorizationFailed)
            } else {
                resolve(&image, key)
            }
        })
        .collect();
    drop(image);
    let known = partitions.iter().zip(&resolved);
    let plan = plan(
        terms,
        known.filter_map(|((_, wanted), tp)| Some(partition_plan(wanted, tp.as_ref().ok()?))),
    );
    let memory = services.budget.fetch();
    // Nothing to read of any partition: Kafka answers at once. Else one that failed is told with the others, so that
    // a topic that is gone makes nobody ask without pause.
    let (fetched, memory) = if plan.partitions.is_empty() {
        (Vec::new(), memory)
    } else {
        services.data.fetch(plan, memory).await
    };
    let image = services.image();

    let mut leaders = BTreeSet::new();
    let mut fetched = fetched.into_iter();
    let mut answers = Vec::with_capacity(partitions.len());
    for ((key, wanted), tp) in partitions.into_iter().zip(resolved) {
        let data = match tp {
            Ok(tp) => match fetched.next().filter(|f| f.tp == tp) {
                Some(f) => partition_answer(&image, key.1, f, terms.read_committed, &mut leaders),
                None => error_answer(key.1, ErrorCode::UnknownServerError),
            },
            // With an empty list of aborted transactions: so Kafka answers what it did not get to read.
            Err(code) => error_answer(key.1, code).with_aborted_transactions(Some(Vec::new())),
        };
        answers.push((key, wanted, data));
    }
    let fresh = services.host.random_u64();
    let (session_id, included) = services
        .sessions
        .borrow_mut()
        .answered(kind, &answers, fresh, services.host.now());
    let kept = answers.into_iter().zip(included).filter(|(_, included)| *included);
    let response = FetchResponse::default()
        .with_session_id(session_id)
        .with_responses(by_topic(&image, kept.map(|((key, _, data), _)| (key, data))))
        .with_node_endpoints(
            leader_hint::endpoints(&image, &leaders)
                .into_iter()
                .map(endpoint)
                .collect(),
        );
    (response, Some(memory))
}

fn resolve(image: &Image, (topic, partition): &PartitionKey) -> Result<TopicPartition, ErrorCode> {
    let topic = match topic {
        TopicKey::Id(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId)?.id,
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?.id,
    };
    let tp = TopicPartition {
        topic,
        partition: *partition,
    };
    image
        .partition(tp)
        .map(|_| tp)
        .ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn partition_plan(wanted: &Wanted, tp: &TopicPartition) -> FetchPartition {
    FetchPartition {
        tp: *tp,
        fetch_offset: wanted.fetch_offset,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
        max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0),
    }
}

fn plan(terms: Terms, partitions: impl Iterator<Item = FetchPartition>) -> FetchPlan {
    FetchPlan {
        partitions: partitions.collect(),
        max_bytes: terms.max_bytes,
        min_bytes: terms.min_bytes,
        max_wait: terms.max_wait,
        read_committed: terms.read_committed,
    }
}

fn error_answer(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(code.code())
        .with_high_watermark(-1)
        .with_aborted_transactions(None)
        .with_records(Some(Bytes::new()))
}

fn partition_answer(
    image: &Image,
    index: i32,
    f: FetchedPartition,
    read_committed: bool,
    leaders: &mut BTreeSet<NodeId>,
) -> PartitionData {
    let leader = leader_hint::leader_for(image, f.tp, f.error, f.current_leader);
    let mut data = if f.error.is_none() {
        PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(f.high_watermark.0)
            .with_last_stable_offset(f.last_stable_offset.0)
            .with_log_start_offset(f.log_start.0)
            // There are no transactions yet, so none was aborted.
            .with_aborted_transactions(read_committed.then(Vec::new))
            .with_records(Some(f.records))
    } else {
        error_answer(index, f.error)
    };
    if let Some((epoch, end)) = f.diverging {
        data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0);
    }
    if let Some((node, epoch)) = leader {
        leaders.insert(node);
        data.current_leader = LeaderIdAndEpoch::default()
            .with_leader_id(node.0.into())
            .with_leader_epoch(epoch.0);
    }
    data
}

/// Groups neighbours of one topic, keeping the order.
fn by_topic(
    image: &Image,
    answers: impl Iterator<Item = (PartitionKey, PartitionData)>,
) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<(TopicKey, FetchableTopicResponse)> = Vec::new();
    for ((topic, _), data) in answers {
        if topics.last().is_none_or(|(last, _)| *last != topic) {
            let mut answer = FetchableTopicResponse::default();
            match &topic {
                TopicKey::Name(name) => {
                    answer.topic = StrBytes::from(name.to_string()).into();
                    answer.topic_id = image.topic(name).map_or(uuid::Uuid::nil(), |t| t.id.0);
                }
                TopicKey::Id(id) => answer.topic_id = id.0,
            }
            topics.push((topic, answer));
        }
        if let Some((_, last)) = topics.last_mut() {
            last.partitions.push(data);
        }
    }
    topics.into_iter().map(|(_, answer)| answer).collect()
}

fn endpoint((node, host, port, rack): (NodeId, String, i32, Option<String>)) -> NodeEndpoint {
    NodeEndpoint::default()
        .with_node_id(node.0.into())
        .with_host(host.into())
        .with_port(port)
        .with_rack(rack.map(StrBytes::from))
}

#[cfg(test)]
mod tests;
