use super::random::Random;
use super::run::Load;
use super::value;
use crate::client::{Cluster, Outgoing, Producer, partition_of_key};
use bytes::Bytes;
use history::{Body, Outcome};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys of each partition.
const KEYS: usize = 8;
/// A batch has fewer records.
const BATCH_RECORDS: u64 = 8;
const AVERAGE: f64 = 4.0;
const BACKOFF: Duration = Duration::from_millis(200);
/// A producer that has fallen behind its rate by more than this does not make up for it.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Sends batches of keyed records, one at a time, until the load ends. After a send whose outcome nobody knows it is another
/// producer: what it sends next can never pass for what it had sent before.
pub async fn produce(load: Rc<Load>, number: u16) {
    let mut random = Random::new(load.seed, 1000 + u64::from(number));
    let keys = keys_by_partition(load.partitions);
    let mut cluster = Cluster::new(&load.bootstrap);
    let pause = Duration::from_secs_f64(f64::from(load.producers) * AVERAGE / f64::from(load.rate));
    let mut next = Instant::now();
    let mut generation = 0;
    while load.is_loading() {
        let mut producer = match Producer::new(&mut cluster, &load.topic).await {
            Ok(producer) => producer,
            Err(error) => {
                load.trouble(&error);
                tokio::time::sleep(BACKOFF).await;
                continue;
            }
        };
        let worker = if generation == 0 {
            format!("p{number}")
        } else {
            format!("p{number}.{generation}")
        };
        generation += 1;
        while load.is_loading() {
            next = (next + pause).max(Instant::now().checked_sub(BEHIND_MAX).unwrap_or(next));
            tokio::time::sleep_until(next).await;
            if !send(&load, &worker, &mut producer, &mut cluster, &mut random, &keys).await {
                break;
            }
        }
    }
}

/// False if nobody knows what became of it.
async fn send(
    load: &Load,
    worker: &str,
    producer: &mut Producer,
    cluster: &mut Cluster,
    random: &mut Random,
    keys: &[Vec<Bytes>],
) -> bool {
    let partition = usize::try_from(random.within(0..keys.len() as u64)).unwrap_or(0);
    let operations: Vec<u64> = (0..random.within(1..BATCH_RECORDS))
        .map(|_| load.recorder.operation())
        .collect();
    let name = load.partition_name(i32::try_from(partition).unwrap_or(0));
    let mut records = Vec::with_capacity(operations.len());
    for operation in operations.iter().copied() {
        let body = Body::Send {
            operation,
            partition: Some(name.as_str().into()),
            value: operation,
        };
        load.recorder.tell(worker, body);
        records.push(Outgoing {
            partition: None,
            timestamp: wall_clock_ms(),
            key: random.pick(&keys[partition]).cloned(),
            value: Some(value::encode(operation)),
            headers: Vec::new(),
        });
    }
    load.recorder.flush();
    let outcome = producer.send(cluster, &records).await;
    // The records of one call to one partition are one batch: they are small.
    match outcome.map(|written| written.first().copied()) {
        Ok(Some((_, base_offset))) => {
            for (operation, index) in operations.into_iter().zip(0..) {
                let body = Body::Sent {
                    operation,
                    partition: None,
                    offset: (base_offset >= 0).then_some(base_offset + index),
                    leader_epoch: None,
                };
                load.recorder.tell(worker, body);
            }
            true
        }
        other => {
            let error = other.err().map_or("no answer".to_owned(), |error| error.to_string());
            for operation in operations {
                let body = Body::NotSent {
                    operation,
                    outcome: Outcome::Info,
                    error: error.as_str().into(),
                };
                load.recorder.tell(worker, body);
            }
            load.trouble(&error);
            false
        }
    }
}

/// Some keys that Kafka's partitioner puts into each partition.
fn keys_by_partition(partitions: i32) -> Vec<Vec<Bytes>> {
    let mut keys = vec![Vec::new(); usize::try_from(partitions).unwrap_or(0)];
    let mut number = 0;
    while keys.iter().any(|keys| keys.len() < KEYS) {
        let key = Bytes::from(format!("key-{number}"));
        number += 1;
        let of_partition = usize::try_from(partition_of_key(&key, partitions)).unwrap_or(0);
        if keys[of_partition].len() < KEYS {
            keys[of_partition].push(key);
        }
    }
    keys
}

/// Of the wall clock, in milliseconds since 1970.
fn wall_clock_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_keys_of_its_own() {
        for partitions in [1, 12, 100] {
            for (keys, partition) in keys_by_partition(partitions).iter().zip(0..) {
                assert_eq!(keys.len(), KEYS);
                assert!(keys.iter().all(|key| partition_of_key(key, partitions) == partition));
            }
        }
    }
}
