//! `ottla consume`.

mod in_group;
mod printer;

use super::Common;
use crate::client::{Cluster, Consumer, EARLIEST, LATEST};
use clap::Args;
use printer::Printer;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "Example: ottla consume orders --from-beginning --max 10\n\
    Example: ottla consume orders --partition 0 --offset 42 --format json\n\
    Example: ottla consume orders --group billing --from-beginning")]
pub struct Consume {
    topic: String,
    /// Read as a member of this consumer group, which remembers how far it has read
    #[arg(long, short, conflicts_with_all = ["offset", "partition"])]
    group: Option<String>,
    /// Start with the oldest record; otherwise with what comes from now on. In a group: where it has committed nothing
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
        let printer = Printer::new(self.common.format, &self.topic, self.max);
        match &self.group {
            Some(group) => in_group::consume(&self, group, start, printer).await,
            None => self.alone(start, printer).await,
        }
    }

    async fn alone(&self, start: i64, mut printer: Printer) -> anyhow::Result<()> {
        let mut cluster = Cluster::new(&self.common.bootstrap);
        let mut consumer = Consumer::new(&mut cluster, &self.topic, self.partition, start).await?;
        let ends = if self.exit {
            Some(consumer.ends(&mut cluster).await?)
        } else {
            None
        };
        while printer.wants_more() && !ends.as_ref().is_some_and(|ends| consumer.has_reached(ends)) {
            for fetched in consumer.poll(&mut cluster, POLL).await? {
                printer.print(fetched.partition, fetched.record)?;
            }
            printer.flush()?;
        }
        Ok(())
    }
}
