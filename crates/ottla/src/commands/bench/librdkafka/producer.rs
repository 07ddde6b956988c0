use super::POLL;
use super::deliveries::Deliveries;
use super::round_robin::RoundRobin;
use crate::commands::bench::load::{LAST_ANSWERS, Tally};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Until a full queue is looked at again.
const FULL: Duration = Duration::from_millis(1);
/// For the reports of what is given up.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// A librdkafka producer.
pub(super) struct Producer(Arc<BaseProducer<Deliveries>>);

/// A record for `partition`, or one that librdkafka chooses.
pub(super) struct Outgoing<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub value: &'a [u8],
    pub due: Instant,
}

impl Producer {
    pub fn create(config: &ClientConfig, deliveries: Deliveries) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(config.create_with_context(deliveries)?)))
    }

    pub fn deliveries(&self) -> &Deliveries {
        self.0.context()
    }

    /// Hands a record over, as soon as there is room in librdkafka's queue, `until` then; breaks with the error counted.
    pub fn send(&self, record: &Outgoing<'_>, until: Instant) -> ControlFlow<()> {
        loop {
            let error = match self.try_send(record) {
                Ok(()) => return ControlFlow::Continue(()),
                Err(error) => error,
            };
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            if !full || Instant::now() >= until {
                self.deliveries().tally().fail(error.to_string());
                return ControlFlow::Break(());
            }
            thread::sleep(FULL);
        }
    }

    fn try_send(&self, record: &Outgoing<'_>) -> Result<(), KafkaError> {
        let opaque = self.deliveries().hold(record.due);
        let sent = self.0.send(BaseRecord::<(), [u8], usize> {
            partition: record.partition,
            payload: Some(record.value),
            ..BaseRecord::with_opaque_to(record.topic, opaque)
        });
        sent.map_err(|(error, _)| {
            self.deliveries().release();
            error
        })
    }

    /// A record at a time: the next when the last was reported, until then.
    ///
    /// It is sent by the thread that has the report, as a program in C would. rdkafka's poll does not return with a report,
    /// and to wake another thread would be a part of what is measured.
    pub fn send_one_at_a_time(&self, records: RoundRobin, until: Instant) {
        let records = Arc::new(records);
        let (next, producer) = (records.clone(), Arc::downgrade(&self.0));
        self.deliveries().after_each(Box::new(move || {
            let now = Instant::now();
            if let Some(producer) = producer.upgrade().filter(|_| now < until) {
                let _ = next.send(&Self(producer), now, now);
            }
        }));
        let now = Instant::now();
        let _ = records.send(self, now, now);
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// Runs `send` while another thread polls for reports, until all have come or are given up: counted as failures then.
    pub fn run(self, send: impl FnOnce(&Self)) -> Tally {
        let sent = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.poll(&sent));
            send(&self);
            sent.store(true, SeqCst);
        });
        if self.deliveries().held() > 0 {
            self.0.purge(PurgeConfig::default().queue().inflight());
            let _ = self.0.flush(GIVEN_UP);
        }
        let mut tally = self.deliveries().tally();
        let window = tally.window;
        std::mem::replace(&mut *tally, Tally::new(window))
    }

    fn poll(&self, sent: &AtomicBool) {
        let mut until = None;
        loop {
            self.0.poll(POLL);
            if sent.load(SeqCst) {
                let until = *until.get_or_insert_with(|| Instant::now() + LAST_ANSWERS);
                if self.deliveries().held() == 0 || Instant::now() > until {
                    return;
                }
            }
        }
    }
}
