use super::json_record::JsonRecord;
use super::{Common, Format};
use crate::client::{Cluster, Consumer, EARLIEST, LATEST};
use clap::Args;
use std::io::Write;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "Example: ottla consume orders --from-beginning --max 10\n\
    Example: ottla consume orders --partition 0 --offset 42 --format json")]
pub struct Consume {
    topic: String,
    /// Start with the oldest record; otherwise with what comes from now on
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Start at this offset
    #[arg(long, short)]
    offset: Option<i64>,
    /// Read this partition only
    #[arg(long, short)]
    partition: Option<i32>,
    /// Stop after this many records
    #[arg(long, short = 'n')]
    max: Option<u64>,
    /// Stop at the end of what is there now
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    common: Common,
}

impl Consume {
    pub async fn run(self) -> anyhow::Result<()> {
        let start = match (self.offset, self.from_beginning) {
            (Some(offset), _) if offset < 0 => anyhow::bail!("--offset {offset}: wants a number from 0"),
            (Some(offset), _) => offset,
            (None, true) => EARLIEST,
            (None, false) => LATEST,
        };
        let mut cluster = Cluster::new(&self.common.bootstrap);
        let mut consumer = Consumer::new(&mut cluster, &self.topic, self.partition, start).await?;
        let ends = if self.exit {
            Some(consumer.ends(&mut cluster).await?)
        } else {
            None
        };
        let mut left = self.max.unwrap_or(u64::MAX);
        let mut output = std::io::stdout().lock();
        while left > 0 {
            if let Some(ends) = &ends
                && ends
                    .iter()
                    .all(|(partition, end)| consumer.positions().get(partition).is_none_or(|at| at >= end))
            {
                break;
            }
            for (partition, record) in consumer.poll(&mut cluster, POLL).await? {
                if left == 0 {
                    break;
                }
                left -= 1;
                let written = match self.common.format {
                    Format::Text => output
                        .write_all(record.value.as_deref().unwrap_or(b"null"))
                        .and_then(|()| output.write_all(b"\n")),
                    Format::Json => {
                        let json = JsonRecord {
                            partition: Some(partition),
                            timestamp: Some(record.timestamp),
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                        };
                        writeln!(output, "{}", json.to_json(&self.topic, partition, record.offset.0))
                    }
                };
                if let Err(error) = written {
                    // `| head` has seen enough.
                    return if error.kind() == std::io::ErrorKind::BrokenPipe {
                        Ok(())
                    } else {
                        Err(error.into())
                    };
                }
            }
            output.flush()?;
        }
        Ok(())
    }
}
