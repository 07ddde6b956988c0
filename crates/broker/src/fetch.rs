//! Fetch: reads of all partitions, each on its owner, and the long poll around them.

use crate::data::{AppendError, FetchPartition, FetchPlan, FetchedPartition};
use crate::partition::{PollId, ReadRequest, ReadResult};
use crate::shard::ShardRef;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{LocalBoxFuture, join_all};
use futures::stream;
use logstore::{LogError, LogSlice};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use types::{ErrorCode, limits};

/// What all reads of one fetch share.
#[derive(Clone)]
struct Terms {
    max_bytes: usize,
    read_committed: bool,
    from_follower: bool,
    poll: PollId,
    /// Told when one of the partitions may have more.
    more: Arc<Notify>,
}

/// What there is for one partition, and where its records are.
type Found = (FetchedPartition, LogSlice);

/// Memory for what a fetch reads. It is asked anew for each round of a long poll: what was free when the poll began
/// may be taken when there is something to read.
pub trait FetchMemory {
    /// Takes memory for a round of `wanted` bytes, in place of what is held; answers how many may be read, at least 1.
    fn reserve(&mut self, wanted: usize) -> usize;
    /// Holds the bytes that were read, in place of what was reserved.
    fn keep(&mut self, bytes: usize);
}

/// For callers that have no budget.
struct Unlimited;

impl FetchMemory for Unlimited {
    fn reserve(&mut self, wanted: usize) -> usize {
        wanted
    }

    fn keep(&mut self, _: usize) {}
}

impl ShardRef {
    /// Reads; waits until `min_bytes` are there, something is wrong with a partition, or `max_wait` is over. One answer
    /// per partition, in order. Records are read once, when it is known that they go out.
    pub async fn fetch(&self, plan: FetchPlan) -> Vec<FetchedPartition> {
        self.fetch_within(plan, &mut Unlimited).await
    }

    /// [`ShardRef::fetch`] that reads no more in a round than `memory` has; it holds the answer's bytes afterwards.
    pub async fn fetch_within(&self, plan: FetchPlan, memory: &mut impl FetchMemory) -> Vec<FetchedPartition> {
        let more = Arc::new(Notify::new());
        let max_bytes = plan.max_bytes.min(limits::FETCH_BYTES_MAX);
        let mut terms = Terms {
            max_bytes,
            read_committed: plan.read_committed,
            from_follower: plan.from_follower,
            poll: self.next_poll(),
            more: more.clone(),
        };
        let deadline = tokio::time::Instant::now() + plan.max_wait;
        loop {
            terms.max_bytes = memory.reserve(max_bytes);
            let found = self.find_all(&plan.partitions, &terms).await;
            let bytes: usize = found.iter().map(|(_, slice)| slice.len()).sum();
            memory.keep(bytes);
            // Memory may be too short for what is enough to answer; then as much as there is memory for is enough.
            let answer_now = bytes >= plan.min_bytes.min(terms.max_bytes)
                || plan.partitions.is_empty()
                || found
                    .iter()
                    .any(|(answer, _)| answer.error != ErrorCode::None || answer.diverging.is_some());
            // Every look left `more` with its partition first, so nothing is missed in between.
            if answer_now || tokio::time::timeout_at(deadline, more.notified()).await.is_err() {
                let answers = self.load_all(found).await;
                // Of what was found on a disk only now is it known how much it is.
                let read = answers.iter().map(|answer| answer.records.len()).sum();
                if read != bytes {
                    memory.keep(read);
                }
                return answers;
            }
        }
    }

    /// One round: each owner looks at its partitions, and the budget is applied in the order of the request.
    async fn find_all(&self, partitions: &[FetchPartition], terms: &Terms) -> Vec<Found> {
        let mut by_owner: BTreeMap<u16, Vec<(usize, FetchPartition)>> = BTreeMap::new();
        for (index, partition) in partitions.iter().enumerate() {
            by_owner
                .entry(partition.tp.shard(self.shards()))
                .or_default()
                .push((index, *partition));
        }
        let rounds = by_owner.into_iter().map(|(owner, wanted)| {
            let (terms, asked) = (terms.clone(), wanted.clone());
            let work = move |shard: ShardRef| -> LocalBoxFuture<'static, Vec<Found>> {
                Box::pin(async move { shard.find_own(&wanted, &terms) })
            };
            async move {
                let answers = self.on_owner(owner, work).await.unwrap_or_else(|| {
                    let gone = |(_, partition): &(usize, FetchPartition)| {
                        let error = ErrorCode::NotLeaderOrFollower.into();
                        (FetchedPartition::failed(partition.tp, error), LogSlice::Empty)
                    };
                    asked.iter().map(gone).collect()
                });
                asked
                    .into_iter()
                    .map(|(index, _)| index)
                    .zip(answers)
                    .collect::<Vec<_>>()
            }
        });
        let mut answers: Vec<_> = join_all(rounds).await.into_iter().flatten().collect();
        answers.sort_by_key(|(index, _)| *index);
        let mut left = terms.max_bytes;
        let mut found: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
        let mut any = false;
        for (_, slice) in &mut found {
            // Owners look at the same time, each within the whole budget. KIP-74: the first that has something keeps it.
            if slice.len() > left && any {
                *slice = LogSlice::Empty;
            }
            any |= !slice.is_empty();
            left = left.saturating_sub(slice.len());
        }
        found
    }

    fn find_own(&self, wanted: &[(usize, FetchPartition)], terms: &Terms) -> Vec<Found> {
        let mut left = terms.max_bytes;
        let mut any = false;
        let mut answers = Vec::with_capacity(wanted.len());
        for (_, partition) in wanted {
            let request = ReadRequest {
                partition: *partition,
                max_bytes: left,
                at_least_one: !any,
                read_committed: terms.read_committed,
                from_follower: terms.from_follower,
            };
            let (answer, slice) = self
                .find_one(&request, terms)
                .unwrap_or_else(|error| (FetchedPartition::failed(partition.tp, error), LogSlice::Empty));
            any |= !slice.is_empty();
            left = left.saturating_sub(slice.len());
            answers.push((answer, slice));
        }
        answers
    }

    fn find_one(&self, request: &ReadRequest, terms: &Terms) -> Result<Found, AppendError> {
        let tp = request.partition.tp;
        let partition = self.partition(tp).ok_or_else(|| self.not_served(tp))?;
        let mut partition = partition.borrow_mut();
        partition.wait(terms.poll, &terms.more);
        let ReadResult {
            bounds,
            slice,
            diverging,
        } = partition.read(request)?;
        let answer = FetchedPartition {
            tp,
            error: ErrorCode::None,
            high_watermark: bounds.high_watermark,
            last_stable_offset: bounds.last_stable_offset(),
            log_start: bounds.log_start,
            diverging,
            records: Bytes::new(),
            // Only where the consumer asked the wrong replica (KIP-951).
            current_leader: partition.leader_hint().filter(|_| diverging.is_some()),
        };
        Ok((answer, slice))
    }

    /// Reads the records that were found, in order.
    async fn load_all(&self, found: Vec<Found>) -> Vec<FetchedPartition> {
        let mut read_here = 0;
        let loads = found.into_iter().map(|(answer, slice)| {
            read_here += slice.len();
            let here = read_here <= limits::READ_BYTES_ON_SHARD;
            async move {
                let records = match here.then(|| slice.bytes_now()).flatten() {
                    Some(read) => read,
                    None => slice.load(self.cold_pool()).await,
                };
                self.answer_with(answer, records)
            }
        });
        // More at the same time would keep other fetches from the pool.
        stream::iter(loads).buffered(limits::COLD_READS_AT_ONCE).collect().await
    }

    fn answer_with(&self, mut answer: FetchedPartition, records: Result<Bytes, LogError>) -> FetchedPartition {
        match records {
            Ok(records) => {
                self.links().stats.fetched_bytes.add(records.len() as u64);
                answer.records = records;
                answer
            }
            // Retriable for every client, which asks for the leader anew; CORRUPT_MESSAGE would end a Java consumer.
            Err(error) => {
                let mut code = ErrorCode::KafkaStorageError;
                match error {
                    LogError::Rot(rot) => self.suspect(answer.tp, rot),
                    // Retention, or a deletion, was faster than the read.
                    LogError::OffsetOutOfRange { .. } => code = ErrorCode::OffsetOutOfRange,
                    LogError::Gone => code = ErrorCode::NotLeaderOrFollower,
                    error => {
                        tracing::error!(topic_id = %answer.tp.topic, partition = answer.tp.partition, %error, "reading for a consumer")
                    }
                }
                FetchedPartition::failed(answer.tp, code.into())
            }
        }
    }
}
