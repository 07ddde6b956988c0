use super::producer::{Outgoing, Producer};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// One producer's records: a partition after the other, each with all the values in turn.
pub(super) struct RoundRobin {
    pub topic: String,
    pub partitions: Arc<Vec<i32>>,
    pub values: Arc<Vec<Vec<u8>>>,
    /// So many were sent, and where the first begins.
    pub at: AtomicUsize,
}

impl RoundRobin {
    /// The next, which is due then. See [`Producer::send`].
    pub fn send(&self, producer: &Producer, due: Instant, until: Instant) -> ControlFlow<()> {
        let at = self.at.fetch_add(1, Relaxed);
        let (partitions, values) = (&self.partitions, &self.values);
        let record = Outgoing {
            topic: &self.topic,
            partition: Some(partitions[at % partitions.len()]),
            value: &values[at / partitions.len() % values.len()],
            due,
        };
        producer.send(&record, until)
    }
}
