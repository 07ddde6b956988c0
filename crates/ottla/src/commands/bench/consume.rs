use super::client::Client;
use super::progress::Progress;
use super::reading::Reading;
use super::report::Report;
use super::target::Target;
use crate::client::Cluster;
use clap::Args;
use std::time::Instant;

#[derive(Debug, Args)]
#[command(
    after_help = "With --client librdkafka each consumer is assigned all partitions. Set are group.id, \
    enable.auto.commit=false and enable.partition.eof=true; everything else is librdkafka's default.\n\n\
    Example: ottla bench consume --topic ottla-bench"
)]
pub(super) struct Consume {
    /// The topic: everything that it holds now is read
    #[arg(long, default_value = "ottla-bench")]
    topic: String,
    /// Who reads
    #[arg(long, value_enum, default_value_t = Client::Bare)]
    client: Client,
    /// Consumers, each of which reads everything
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consumers: u32,
}

impl Consume {
    pub async fn run(self, bootstrap: &str, progress: Progress) -> anyhow::Result<Report> {
        self.client.check()?;
        let mut cluster = Cluster::new(bootstrap);
        let target = Target {
            topic: self.topic,
            partitions: 0,
            replication_factor: None,
            config: Vec::new(),
        };
        let leaders = target.found(&mut cluster).await?;
        let starts = Reading::positions(&mut cluster, &target.topic, false).await?;
        let ends = Reading::positions(&mut cluster, &target.topic, true).await?;
        #[cfg(feature = "librdkafka")]
        if self.client == Client::Librdkafka {
            let span = super::librdkafka::Span { starts, ends };
            return super::librdkafka::consume(self.consumers, bootstrap, target.topic, span, progress).await;
        }
        let (telling, started) = (progress.clone(), Instant::now());
        let told = tokio::task::spawn_local(async move { telling.tell().await });
        let mut readings = Vec::new();
        for _ in 0..self.consumers {
            for (address, partitions) in &leaders {
                let positions = partitions
                    .iter()
                    .filter_map(|index| Some((*index, *starts.get(index)?)));
                let mut reading = Reading::open(address, &target.topic, positions.collect()).await?;
                let (ends, progress) = (ends.clone(), progress.clone());
                readings.push(async move {
                    let (mut records, mut bytes) = (0, 0);
                    while !reading.has_reached(&ends) {
                        let before = (records, bytes);
                        let count = |batch: &records::Batch| {
                            records += u64::try_from(batch.header.record_count).unwrap_or(0);
                            bytes += batch.bytes.len() as u64;
                        };
                        reading.fetch(count).await?;
                        progress.add(records - before.0, bytes - before.1);
                    }
                    Ok::<_, crate::client::ClientError>((records, bytes))
                });
            }
        }
        let read = futures::future::try_join_all(readings).await?;
        told.abort();
        let (records, bytes) = read.iter().fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        Ok(Report::new("consume", records, bytes, started.elapsed()))
    }
}
