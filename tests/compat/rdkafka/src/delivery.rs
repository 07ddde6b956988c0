//! A producer whose acknowledgements are kept in the order in which the records were given.

use std::sync::Mutex;

use rdkafka::ClientContext;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use serde_json::{Value, json};

use crate::refusal::Refusal;

#[derive(Default)]
pub struct Deliveries {
    acks: Mutex<Vec<Value>>,
}

impl Deliveries {
    pub fn expect(&self, records: usize) {
        *self.lock() = vec![Value::Null; records];
    }

    pub fn set(&self, index: usize, ack: Value) {
        if let Some(slot) = self.lock().get_mut(index) {
            *slot = ack;
        }
    }

    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.acks.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let ack = match result {
            Ok(message) => {
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                json!({"partition": message.partition(), "offset": offset})
            }
            Err((error, _)) => Refusal::from(error.clone()).answer(),
        };
        self.set(*index, ack);
    }
}
