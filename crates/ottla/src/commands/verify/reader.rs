use super::random::Random;
use super::run::Load;
use super::value;
use crate::client::{ClientError, Cluster, Consumer, EARLIEST, Fetched};
use history::{Body, Read};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;
use types::ErrorCode;

pub const POLL: Duration = Duration::from_millis(200);
const BACKOFF: Duration = Duration::from_millis(200);
/// The second reader begins from the start again so often, in milliseconds.
const AGAIN_MS: std::ops::Range<u64> = 10_000..60_000;

/// Reads all partitions, alone, to the end of the run. What is read once must be read again, so with `again` it begins from
/// the start now and then.
pub async fn read(load: Rc<Load>, number: u16, again: bool) {
    let worker = format!("c{number}");
    let mut random = Random::new(load.seed, 2000 + u64::from(number));
    let mut cluster = Cluster::new(&load.bootstrap);
    let mut next: BTreeMap<i32, i64> = (0..load.partitions).map(|partition| (partition, EARLIEST)).collect();
    load.assign(&worker, next.keys().copied(), None);
    while !load.is_over() {
        let topic = cluster.topic(&load.topic, false).await;
        let consumer = match topic {
            Ok(topic) => Consumer::starting(&mut cluster, topic, next.clone()).await,
            Err(error) => Err(error),
        };
        let until = Instant::now() + Duration::from_millis(random.within(AGAIN_MS));
        let outcome = match consumer {
            Ok(mut consumer) => {
                let until = until.max(Instant::now());
                read_on(
                    &load,
                    &worker,
                    &mut cluster,
                    &mut consumer,
                    &mut next,
                    again.then_some(until),
                )
                .await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Ended::Run) => return,
            Ok(Ended::Turn) => {}
            Err(error) => {
                load.trouble(&error);
                tokio::time::sleep(BACKOFF).await;
                // It goes on where it was, unless that is gone.
                if !error.is(ErrorCode::OffsetOutOfRange) {
                    continue;
                }
            }
        }
        next.values_mut().for_each(|position| *position = EARLIEST);
        load.assign(&worker, next.keys().copied(), None);
    }
}

enum Ended {
    Run,
    Turn,
}

async fn read_on(
    load: &Load,
    worker: &str,
    cluster: &mut Cluster,
    consumer: &mut Consumer,
    next: &mut BTreeMap<i32, i64>,
    until: Option<Instant>,
) -> Result<Ended, ClientError> {
    loop {
        if load.is_over() || load.ends().is_some_and(|ends| consumer.has_reached(&ends)) {
            return Ok(Ended::Run);
        }
        if load.is_loading() && until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Ended::Turn);
        }
        let fetched = consumer.poll(cluster, POLL).await?;
        tell(load, worker, fetched, next);
    }
}

/// Writes down what a poll has brought, and how far each partition was read.
pub fn tell(load: &Load, worker: &str, fetched: Vec<Fetched>, next: &mut BTreeMap<i32, i64>) {
    for (partition, records) in by_partition(fetched) {
        if let Some(last) = records.last() {
            next.insert(partition, last.offset + 1);
        }
        let partition = load.partition_name(partition).into();
        load.recorder.tell(worker, Body::Poll { partition, records });
    }
}

/// In the order in which they came.
pub fn by_partition(fetched: Vec<Fetched>) -> BTreeMap<i32, Vec<Read>> {
    let mut by_partition: BTreeMap<i32, Vec<Read>> = BTreeMap::new();
    for one in fetched {
        by_partition.entry(one.partition).or_default().push(Read {
            offset: one.record.offset.0,
            value: value::decode(one.record.value.as_deref()),
            leader_epoch: Some(one.leader_epoch),
        });
    }
    by_partition
}
