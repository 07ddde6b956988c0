//! `ottla consume --group`.

use super::{Consume, POLL, Printer};
use crate::client::{Cluster, Consumer, EARLIEST, GroupMember, LATEST, Standing};
use futures::FutureExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

const HEARTBEAT: Duration = Duration::from_secs(3);
/// What was printed is committed so often, before partitions are given up, and at the end.
const COMMIT: Duration = Duration::from_secs(5);

/// Reads until there was enough, or a signal comes; what was printed is committed, and the member leaves. `start` is for
/// partitions of which nothing is committed, or of which what is committed is gone.
pub(super) async fn consume(command: &Consume, group: &str, start: i64, mut printer: Printer) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    let mut cluster = Cluster::new(&command.common.bootstrap);
    let mut member = GroupMember::new(group, &command.topic);
    let ended = loop {
        // One that is interrupted leaves the connection in the midst of an answer.
        let partitions = tokio::select! {
            joined = member.join(&mut cluster) => joined?,
            () = stop.wait() => {
                cluster = Cluster::new(&command.common.bootstrap);
                break Ok(());
            }
        };
        let mut reading = Reading::start(&mut cluster, &mut member, command, start, &partitions).await?;
        match reading.read(&mut cluster, &mut member, &mut printer, &mut stop).await {
            Ok(Standing::MustJoin) => {}
            Ok(Standing::Assigned) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let left = tokio::select! {
        left = member.leave(&mut cluster) => left,
        // A second one: no cluster may be there to hear of it.
        () = stop.wait() => Ok(()),
    };
    ended?;
    Ok(left?)
}

/// Interrupt and termination.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    fn came(&mut self) -> bool {
        self.wait().now_or_never().is_some()
    }
}

/// The partitions of one generation.
struct Reading {
    consumer: Consumer,
    /// How far was printed.
    printed: BTreeMap<i32, i64>,
    /// Where to stop.
    ends: Option<BTreeMap<i32, i64>>,
}

impl Reading {
    async fn start(
        cluster: &mut Cluster,
        member: &mut GroupMember,
        command: &Consume,
        start: i64,
        partitions: &[i32],
    ) -> anyhow::Result<Self> {
        let committed = member.committed(cluster, partitions).await?;
        let topic = cluster.topic(&command.topic, false).await?;
        let all = |at| partitions.iter().map(move |partition| (*partition, at));
        let first = Consumer::starting(cluster, topic.clone(), all(EARLIEST)).await?;
        let last = Consumer::starting(cluster, topic.clone(), all(LATEST)).await?;
        let begin = |partition: &i32| {
            let there = first.positions()[partition]..=last.positions()[partition];
            let at = committed.get(partition).filter(|offset| there.contains(offset));
            (*partition, at.copied().unwrap_or(start))
        };
        let starts: Vec<(i32, i64)> = partitions.iter().map(begin).collect();
        let mut consumer = Consumer::starting(cluster, topic, starts).await?;
        let ends = if command.exit {
            Some(consumer.ends(cluster).await?)
        } else {
            None
        };
        Ok(Self {
            printed: consumer.positions().clone(),
            consumer,
            ends,
        })
    }

    /// Until there was enough, or the member must join again.
    async fn read(
        &mut self,
        cluster: &mut Cluster,
        member: &mut GroupMember,
        printer: &mut Printer,
        stop: &mut Stop,
    ) -> anyhow::Result<Standing> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut commit = Instant::now() + COMMIT;
        loop {
            let done = self.ends.as_ref().is_some_and(|ends| self.consumer.has_reached(ends));
            if done || !printer.wants_more() || stop.came() {
                // Who would have to join again has lost what it has not committed, and others will read it again.
                tokio::select! {
                    committed = member.commit(cluster, &self.printed) => committed.map(drop)?,
                    () = stop.wait() => {}
                }
                return Ok(Standing::Assigned);
            }
            let now = Instant::now();
            if now >= heartbeat {
                heartbeat = now + HEARTBEAT;
                if member.heartbeat(cluster).await? == Standing::MustJoin {
                    member.commit(cluster, &self.printed).await?;
                    return Ok(Standing::MustJoin);
                }
            }
            if now >= commit {
                commit = now + COMMIT;
                if member.commit(cluster, &self.printed).await? == Standing::MustJoin {
                    return Ok(Standing::MustJoin);
                }
            }
            self.poll(cluster, printer).await?;
        }
    }

    async fn poll(&mut self, cluster: &mut Cluster, printer: &mut Printer) -> anyhow::Result<()> {
        if self.printed.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let mut printed = self.printed.clone();
        for fetched in self.consumer.poll(cluster, POLL).await? {
            let next = fetched.record.offset.0 + 1;
            if printer.print(fetched.partition, fetched.record)? {
                printed.insert(fetched.partition, next);
            }
        }
        // What nobody has taken is read again by whoever comes next.
        if printer.flush()? {
            // Beyond the last record too, where a log goes on without any.
            let all = printer.wants_more();
            self.printed = if all {
                self.consumer.positions().clone()
            } else {
                printed
            };
        }
        Ok(())
    }
}
