//! `ottla bench`: load for any Kafka cluster, and what it took.
//!
//! Its client is a bare one: batches are encoded beforehand, answers are looked at for errors only, so that the brokers are
//! what is measured. A real client costs as much again; what it sees is another figure: that of `--client librdkafka`, in a
//! build of its own.

mod client;
mod consume;
mod failover;
mod latency;
#[cfg(feature = "librdkafka")]
mod librdkafka;
mod link;
mod load;
mod pace;
mod produce;
mod progress;
mod reading;
mod report;
mod target;

use super::{Common, Format};
use clap::{Args, Subcommand};
use report::Report;

#[derive(Debug, Args)]
#[command(
    after_help = "Writes into the cluster that --bootstrap names: a topic of its own (--topic), made if it is not there.\n\n\
    Example: ottla bench produce --producers 3 --batch-size 65536 --duration 10s\n\
    Example: ottla bench latency --rate 5000 --format json"
)]
pub struct Bench {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write: as fast as it is acknowledged, or at a rate
    Produce(produce::Produce),
    /// Read what a topic holds, as fast as it comes
    Consume(consume::Consume),
    /// Write at a rate and read at the tail: how long after it was to be sent is a record there?
    Latency(latency::Latency),
    /// Write to each partition while a broker ends: for how long is nothing acknowledged?
    Failover(failover::Failover),
}

impl Bench {
    pub async fn run(self) -> anyhow::Result<()> {
        let (bootstrap, progress) = (&self.common.bootstrap, progress::Progress::new(self.common.format));
        let report: Report = match self.action {
            Action::Produce(produce) => produce.run(bootstrap, progress).await?,
            Action::Consume(consume) => consume.run(bootstrap, progress).await?,
            Action::Latency(latency) => latency.run(bootstrap, progress).await?,
            Action::Failover(failover) => failover.run(bootstrap, progress).await?,
        };
        match self.common.format {
            Format::Text => print!("{}", report.text()),
            Format::Json => println!("{}", serde_json::to_string(&report)?),
        }
        Ok(())
    }
}
