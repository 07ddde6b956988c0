use serde_json::Value;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use types::NodeId;

/// Fields that hold numbers, however they were written down.
const NUMBERS: &[&str] = &[
    "node_id",
    "node",
    "leader",
    "follower",
    "partition",
    "leader_epoch",
    "partition_epoch",
    "broker_epoch",
    "offset",
    "log_end",
    "high_watermark",
    "api_key",
    "correlation_id",
];
/// Written on every line before the event's own fields.
const FIXED: &[&str] = &["timestamp", "level", "target", "node_id", "message"];

/// One JSON object a line: `timestamp`, `level`, `target`, `node_id`, `message`, then the event's fields.
pub(super) struct JsonLines {
    node_id: NodeId,
}

impl JsonLines {
    pub fn new(node_id: NodeId) -> Self {
        Self { node_id }
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_else(|| Value::from(""));
        let metadata = event.metadata();
        write!(
            line,
            "{{\"timestamp\":{},\"level\":\"{}\",\"target\":{},\"node_id\":{},\"message\":{message}",
            Value::from(time),
            metadata.level(),
            Value::from(metadata.target()),
            self.node_id
        )?;
        for (name, value) in &fields.0 {
            if !FIXED.contains(&name.as_str()) {
                write!(line, ",{}:{value}", Value::from(name.as_str()))?;
            }
        }
        writeln!(line, "}}")
    }
}

#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.push((field.name().to_owned(), value));
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Whoever cannot show itself leaves what it has shown.
        let _ = write!(text, "{value:?}");
        let number = NUMBERS
            .contains(&field.name())
            .then(|| text.parse::<i64>().ok())
            .flatten();
        self.add(field, number.map_or_else(|| Value::from(text), Value::from));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}
