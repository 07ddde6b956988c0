use super::json_record::JsonRecord;
use super::{Common, Format};
use crate::client::{Cluster, Outgoing, Producer};
use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::io::IsTerminal;
use std::time::SystemTime;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Lines taken together when more input is waiting.
const LINES_MAX: usize = 5_000;
/// Bytes taken together.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Example: echo hello | ottla produce greetings\n\
    Example: ottla consume orders --from-beginning --max 10 --format json | ottla produce copy --input-format json")]
pub struct Produce {
    /// Topic; created if it does not exist and the cluster allows that
    topic: String,
    /// What a line of standard input is: a value, or a JSON object with key, value, headers, timestamp, partition
    #[arg(long, value_enum, default_value_t = InputFormat::Lines)]
    input_format: InputFormat,
    /// Write to this partition; otherwise the key decides, as in Kafka's own producer
    #[arg(long, short)]
    partition: Option<i32>,
    /// Split each line into key and value at the first occurrence of this text
    #[arg(long)]
    key_separator: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    Lines,
    Json,
}

impl Produce {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut cluster = Cluster::new(&self.common.bootstrap);
        let mut producer = Producer::new(&mut cluster, &self.topic).await?;
        if std::io::stdin().is_terminal() && self.common.format == Format::Text {
            eprintln!("Type a record a line; end with Ctrl-D.");
        }
        let mut input = BufReader::with_capacity(
            1 << 20,
            tokio::fs::File::open("/dev/stdin").await.context("standard input")?,
        );
        let (mut line_number, mut acknowledged) = (0u64, 0u64);
        loop {
            let mut records = Vec::new();
            let mut bytes = 0;
            let mut line = Vec::new();
            let mut ended = false;
            // The first line is waited for; further ones are taken while they are there already.
            while records.len() < LINES_MAX && bytes < BYTES_MAX {
                if !records.is_empty() && !input.buffer().contains(&b'\n') {
                    break;
                }
                line.clear();
                if input
                    .read_until(b'\n', &mut line)
                    .await
                    .context("reading standard input")?
                    == 0
                {
                    ended = true;
                    break;
                }
                line_number += 1;
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                bytes += line.len();
                if let Some(record) = self
                    .record(&line)
                    .map_err(|problem| anyhow::anyhow!("line {line_number}: {problem}"))?
                {
                    records.push(record);
                }
            }
            if !records.is_empty() {
                let count = records.len() as u64;
                producer
                    .send(&mut cluster, &records)
                    .await
                    .with_context(|| format!("{acknowledged} records were acknowledged before this"))?;
                acknowledged += count;
            }
            if ended {
                break;
            }
        }
        match self.common.format {
            Format::Text => eprintln!("{acknowledged} records acknowledged"),
            Format::Json => println!("{}", json!({"topic": self.topic, "acknowledged": acknowledged})),
        }
        if line_number == 0 {
            bail!("standard input was empty");
        }
        Ok(())
    }

    fn record(&self, line: &[u8]) -> Result<Option<Outgoing>, String> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        if self.input_format == InputFormat::Json {
            let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
            if text.trim().is_empty() {
                return Ok(None);
            }
            let record = JsonRecord::parse(text)?;
            return Ok(Some(Outgoing {
                partition: self.partition.or(record.partition),
                timestamp: record.timestamp.unwrap_or(now),
                key: record.key,
                value: record.value,
                headers: record.headers,
            }));
        }
        let separator = self
            .key_separator
            .as_deref()
            .filter(|separator| !separator.is_empty())
            .map(str::as_bytes);
        let at = separator.and_then(|s| {
            line.windows(s.len())
                .position(|window| window == s)
                .map(|at| (at, at + s.len()))
        });
        let (key, value) = match at {
            Some((end, start)) => (Some(Bytes::copy_from_slice(&line[..end])), &line[start..]),
            None => (None, line),
        };
        let value = Some(Bytes::copy_from_slice(value));
        Ok(Some(Outgoing {
            partition: self.partition,
            timestamp: now,
            key,
            value,
            headers: Vec::new(),
        }))
    }
}
