use metadata::{Image, TopicImage, broker_config};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use types::{LogIndex, Monotonic, NodeId, TopicPartition};

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// Keeps what a node sends to replicas that are throttled, and not in sync, below a rate (KIP-73). One for all shards.
///
/// The rate of a follower is kept by its leaders, each of them to an equal part: they know the rates of all brokers.
#[derive(Debug, Default)]
pub(crate) struct ReplicationThrottle {
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    /// Of which image the rates are.
    index: LogIndex,
    /// All that is sent as a throttled leader.
    leader: Option<Bucket>,
    /// What is sent to each throttled follower.
    followers: BTreeMap<NodeId, Bucket>,
}

/// A token bucket that may be overdrawn: a batch is sent as a whole.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Bytes a second.
    rate: u64,
    tokens: i64,
    at: Monotonic,
}

/// What may be sent of a partition now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    Unlimited,
    /// So many bytes, or the one batch that is longer.
    Bytes(usize),
    /// Nothing for so long.
    Wait(Duration),
}

impl Bucket {
    fn new(rate: u64, now: Monotonic) -> Self {
        Self {
            rate,
            tokens: i64::try_from(rate).unwrap_or(i64::MAX),
            at: now,
        }
    }

    /// What a second brings is what is saved at most.
    fn allowance(&mut self, now: Monotonic) -> Allowance {
        let rate = i64::try_from(self.rate.max(1)).unwrap_or(i64::MAX);
        let micros = i64::try_from(now.since(self.at).as_micros()).unwrap_or(i64::MAX);
        let new = i128::from(rate) * i128::from(micros) / 1_000_000;
        if new > 0 {
            let tokens = (i128::from(self.tokens) + new).min(i128::from(rate));
            self.tokens = i64::try_from(tokens).unwrap_or(rate);
            self.at = now;
        }
        match usize::try_from(self.tokens) {
            Ok(tokens) if tokens > 0 => Allowance::Bytes(tokens),
            _ => {
                let missing = self.tokens.unsigned_abs().saturating_add(1);
                let micros = u128::from(missing) * 1_000_000 / u128::from(self.rate.max(1));
                Allowance::Wait(
                    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).max(Duration::from_millis(1)),
                )
            }
        }
    }
}

impl ReplicationThrottle {
    /// What `me`, the leader, may send of this partition to a follower that is not in sync.
    pub fn allowance(&self, image: &Image, tp: TopicPartition, me: NodeId, to: NodeId, now: Monotonic) -> Allowance {
        let Some(topic) = image.topic_by_id(tp.topic) else {
            return Allowance::Unlimited;
        };
        let leader = names(topic, LEADER_REPLICAS, tp.partition, me);
        let follower = names(topic, FOLLOWER_REPLICAS, tp.partition, to);
        if !leader && !follower {
            return Allowance::Unlimited;
        }
        let mut buckets = self.lock();
        buckets.follow(image, me, now);
        let leader = buckets
            .leader
            .as_mut()
            .filter(|_| leader)
            .map(|bucket| bucket.allowance(now));
        let follower = buckets.followers.get_mut(&to).filter(|_| follower);
        let follower = follower.map(|bucket| bucket.allowance(now));
        [leader, follower]
            .into_iter()
            .flatten()
            .fold(Allowance::Unlimited, stricter)
    }

    /// So many bytes of this partition were sent.
    pub fn sent(&self, image: &Image, tp: TopicPartition, me: NodeId, to: NodeId, bytes: usize) {
        let Some(topic) = image.topic_by_id(tp.topic) else {
            return;
        };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut buckets = self.lock();
        if names(topic, LEADER_REPLICAS, tp.partition, me)
            && let Some(bucket) = &mut buckets.leader
        {
            bucket.tokens = bucket.tokens.saturating_sub(bytes);
        }
        if names(topic, FOLLOWER_REPLICAS, tp.partition, to)
            && let Some(bucket) = buckets.followers.get_mut(&to)
        {
            bucket.tokens = bucket.tokens.saturating_sub(bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Buckets {
    /// Takes the rates of a newer image over; who has the same rate as before keeps what is saved.
    fn follow(&mut self, image: &Image, me: NodeId, now: Monotonic) {
        if image.index <= self.index {
            return;
        }
        self.index = image.index;
        let bucket = |rate: Option<u64>, before: Option<Bucket>| {
            let rate = rate?;
            Some(
                before
                    .filter(|bucket| bucket.rate == rate)
                    .unwrap_or_else(|| Bucket::new(rate, now)),
            )
        };
        self.leader = bucket(broker_config::number(image, me, LEADER_RATE), self.leader);
        let before = std::mem::take(&mut self.followers);
        for node in image.brokers.keys() {
            let rate = broker_config::number(image, *node, FOLLOWER_RATE);
            let part = rate.map(|rate| rate / leaders_of(image, *node).max(1));
            if let Some(bucket) = bucket(part, before.get(node).copied()) {
                self.followers.insert(*node, bucket);
            }
        }
    }
}

/// How many brokers lead throttled partitions of which `node` is a replica that is not in sync.
fn leaders_of(image: &Image, node: NodeId) -> u64 {
    let lacking = image.partitions().filter(|(tp, topic, partition)| {
        partition.replicas.contains(&node)
            && !partition.isr.contains(&node)
            && names(topic, FOLLOWER_REPLICAS, tp.partition, node)
    });
    let leaders: BTreeSet<NodeId> = lacking.filter_map(|(_, _, partition)| partition.leader).collect();
    leaders.len() as u64
}

/// Whether a list of throttled replicas names the partition on `node`: `*`, or `partition:broker,…`.
fn names(topic: &TopicImage, config: &str, partition: i32, node: NodeId) -> bool {
    let Some(list) = topic.configs.get(config) else {
        return false;
    };
    let is_it = |entry: &str| {
        let pair = entry.split_once(':');
        pair.is_some_and(|(p, n)| p.trim().parse() == Ok(partition) && n.trim().parse() == Ok(node.0))
    };
    list.trim() == "*" || list.split(',').any(is_it)
}

fn stricter(a: Allowance, b: Allowance) -> Allowance {
    match (a, b) {
        (Allowance::Wait(a), Allowance::Wait(b)) => Allowance::Wait(a.max(b)),
        (Allowance::Wait(wait), _) | (_, Allowance::Wait(wait)) => Allowance::Wait(wait),
        (Allowance::Bytes(a), Allowance::Bytes(b)) => Allowance::Bytes(a.min(b)),
        (Allowance::Bytes(bytes), _) | (_, Allowance::Bytes(bytes)) => Allowance::Bytes(bytes),
        (Allowance::Unlimited, Allowance::Unlimited) => Allowance::Unlimited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::PartitionImage;
    use std::sync::Arc;

    const TP: TopicPartition = TopicPartition {
        topic: types::TopicId(uuid::Uuid::from_u128(1)),
        partition: 0,
    };
    const ME: NodeId = NodeId(1);
    const TO: NodeId = NodeId(2);

    fn at(millis: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(60) + Duration::from_millis(millis))
    }

    /// Partition 0 of one topic, led by 1, of which 2 lacks records.
    fn image(configs: &[(&str, &str)], rates: &[(Option<NodeId>, &str, &str)]) -> Image {
        let partition = PartitionImage {
            replicas: vec![ME, TO],
            isr: vec![ME],
            leader: Some(ME),
            ..PartitionImage::default()
        };
        let topic = TopicImage {
            id: TP.topic,
            name: "t".into(),
            internal: false,
            configs: configs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            partitions: vec![Arc::new(partition)],
            created_short: false,
        };
        let mut image = Image {
            index: LogIndex(5),
            ..Image::default()
        };
        image.topics.insert(TP.topic, Arc::new(topic));
        for (node, name, value) in rates {
            let of = image.broker_configs.entry(*node).or_default();
            of.insert((*name).to_owned(), (*value).to_owned());
        }
        for node in [ME, TO] {
            let broker = metadata::BrokerRegistration {
                node_id: node,
                broker_epoch: types::BrokerEpoch(1),
                incarnation: 1,
                raft_id: types::RaftId(1),
                rack: None,
                kafka: metadata::Endpoint::default(),
                replica: metadata::Endpoint::default(),
                control: metadata::Endpoint::default(),
                shards: 1,
                directories: Vec::new(),
                fenced: false,
                shutting_down: false,
                silent: false,
            };
            image.brokers.insert(node, Arc::new(broker));
        }
        image
    }

    #[test]
    fn only_replicas_that_are_named_at_a_broker_with_a_rate_are_throttled() {
        let leader_rate = (Some(ME), LEADER_RATE, "1000");
        let follower_rate = (Some(TO), FOLLOWER_RATE, "500");
        let everywhere = (None, LEADER_RATE, "700");
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a [(Option<NodeId>, &'a str, &'a str)],
            Allowance,
        );
        let cases: [Case<'_>; 9] = [
            (&[], &[leader_rate, follower_rate], Allowance::Unlimited),
            (&[(LEADER_REPLICAS, "*")], &[], Allowance::Unlimited),
            (&[(LEADER_REPLICAS, "*")], &[leader_rate], Allowance::Bytes(1000)),
            (&[(LEADER_REPLICAS, "*")], &[everywhere], Allowance::Bytes(700)),
            (&[(LEADER_REPLICAS, "1:1,0:1")], &[leader_rate], Allowance::Bytes(1000)),
            (&[(LEADER_REPLICAS, "1:1,0:2")], &[leader_rate], Allowance::Unlimited),
            (&[(LEADER_REPLICAS, "none")], &[leader_rate], Allowance::Unlimited),
            (
                &[(FOLLOWER_REPLICAS, "0:2")],
                &[leader_rate, follower_rate],
                Allowance::Bytes(500),
            ),
            (
                &[(LEADER_REPLICAS, "0:1"), (FOLLOWER_REPLICAS, "0:2")],
                &[leader_rate, follower_rate],
                Allowance::Bytes(500),
            ),
        ];
        for (configs, rates, expected) in cases {
            let throttle = ReplicationThrottle::default();
            let allowance = throttle.allowance(&image(configs, rates), TP, ME, TO, at(0));
            assert_eq!(allowance, expected, "{configs:?} {rates:?}");
        }
    }

    #[test]
    fn what_is_sent_stays_under_the_rate_whatever_the_size_of_batches() {
        let image = image(&[(LEADER_REPLICAS, "*")], &[(Some(ME), LEADER_RATE, "100000")]);
        for batch in [1_000, 70_000, 350_000] {
            let throttle = ReplicationThrottle::default();
            let mut sent = 0;
            let mut now = 0;
            while now < 60_000 {
                match throttle.allowance(&image, TP, ME, TO, at(now)) {
                    Allowance::Bytes(_) => {
                        throttle.sent(&image, TP, ME, TO, batch);
                        sent += batch;
                        now += 1;
                    }
                    Allowance::Wait(wait) => now += u64::try_from(wait.as_millis()).unwrap().max(1),
                    Allowance::Unlimited => panic!("unlimited"),
                }
            }
            // A second's worth at the start, and the batch that overdraws.
            let most = 61 * 100_000 + batch;
            assert!(
                sent <= most && sent > 59 * 100_000,
                "{sent} bytes in batches of {batch}"
            );
        }
    }

    #[test]
    fn another_rate_takes_effect_at_once() {
        let throttle = ReplicationThrottle::default();
        let mut slow = image(&[(LEADER_REPLICAS, "*")], &[(Some(ME), LEADER_RATE, "10")]);
        throttle.allowance(&slow, TP, ME, TO, at(0));
        throttle.sent(&slow, TP, ME, TO, 1_000_000);
        assert!(matches!(
            throttle.allowance(&slow, TP, ME, TO, at(1)),
            Allowance::Wait(_)
        ));
        slow.index = LogIndex(6);
        assert!(
            matches!(throttle.allowance(&slow, TP, ME, TO, at(2)), Allowance::Wait(_)),
            "the same rate"
        );
        let mut fast = image(&[(LEADER_REPLICAS, "*")], &[(Some(ME), LEADER_RATE, "9000000")]);
        fast.index = LogIndex(7);
        assert_eq!(
            throttle.allowance(&fast, TP, ME, TO, at(3)),
            Allowance::Bytes(9_000_000)
        );
    }
}
