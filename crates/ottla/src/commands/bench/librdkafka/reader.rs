use super::{POLL, Positions};
use crate::commands::bench::load::Window;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A librdkafka consumer that is assigned partitions, and is in no group: it needs a group's name all the same.
pub(super) struct Reader(BaseConsumer);

/// What was read at the tail.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Of values, within the window.
    pub bytes: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Reader {
    /// `to_ends`: whether [`Self::poll`] is told of a partition's end.
    pub fn open(bootstrap: &str, topic: &str, positions: &Positions, to_ends: bool) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "ottla-bench")
            .set("enable.auto.commit", "false");
        if to_ends {
            config.set("enable.partition.eof", "true");
        }
        let consumer: BaseConsumer = config.create()?;
        let mut assigned = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            assigned.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&assigned)?;
        Ok(Self(consumer))
    }

    pub fn poll(&self, wait: Duration) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        self.0.poll(wait)
    }

    pub fn read_at_the_tail(self, window: Window, stop: &AtomicBool) -> Tail {
        let mut tail = Tail::default();
        while !stop.load(SeqCst) {
            match self.poll(POLL) {
                Some(Ok(message)) if window.holds(Instant::now()) => tail.bytes += message.payload_len() as u64,
                Some(Err(error)) => *tail.errors.entry(format!("a consumer: {error}")).or_default() += 1,
                Some(Ok(_)) | None => {}
            }
        }
        tail
    }
}
