use crate::commands::Format;
use crate::commands::json_record::JsonRecord;
use records::Record;
use std::io::{BufWriter, ErrorKind, Stdout, Write};

/// Prints records, a line each, until there were enough.
pub(super) struct Printer {
    format: Format,
    topic: String,
    left: u64,
    output: BufWriter<Stdout>,
}

impl Printer {
    /// At most `max` records.
    pub(super) fn new(format: Format, topic: &str, max: Option<u64>) -> Self {
        Self {
            format,
            topic: topic.to_owned(),
            left: max.unwrap_or(u64::MAX),
            output: BufWriter::new(std::io::stdout()),
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.left > 0
    }

    /// Whether the record is printed with the next [`Self::flush`]: not once there were enough.
    pub(super) fn print(&mut self, partition: i32, record: Record) -> std::io::Result<bool> {
        if !self.wants_more() {
            return Ok(false);
        }
        let offset = record.offset.0;
        let written = match self.format {
            Format::Text => {
                let value = record.value.as_deref().unwrap_or(b"null");
                self.output.write_all(value).and_then(|()| self.output.write_all(b"\n"))
            }
            Format::Json => {
                let json = JsonRecord {
                    partition: Some(partition),
                    timestamp: Some(record.timestamp),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                };
                writeln!(self.output, "{}", json.to_json(&self.topic, partition, offset))
            }
        };
        self.left -= 1;
        self.taken(written)
    }

    /// Whether somebody still takes what is printed.
    pub(super) fn flush(&mut self) -> std::io::Result<bool> {
        let flushed = self.output.flush();
        self.taken(flushed)
    }

    /// `| head` has seen enough.
    fn taken(&mut self, written: std::io::Result<()>) -> std::io::Result<bool> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.left = 0;
                Ok(false)
            }
            written => written.map(|()| true),
        }
    }
}
