use super::FaultKind;
use super::cluster::in_sync;
use super::nodes::Nodes;
use super::random::Random;
use super::run::Load;
use crate::client::Cluster;
use anyhow::{Context, bail};
use history::Body;
use std::time::Duration;
use tokio::time::Instant;

const WORKER: &str = "faults";
/// The load runs so long before the first fault, at most.
const WARM_UP: Duration = Duration::from_secs(3);
/// No fault begins when less than this is left.
const LEFT_MIN: Duration = Duration::from_secs(7);
/// The load goes on so long after the last fault.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// A hook that takes longer is taken for one that hangs.
const HOOK: Duration = Duration::from_secs(300);

/// Who does and undoes faults.
pub enum Injector {
    Nodes(Nodes),
    Hook { command: String, bootstrap: String },
    Nobody,
}

impl Injector {
    async fn begin(&mut self, kind: FaultKind, node: i32) -> anyhow::Result<()> {
        match self {
            Self::Nodes(nodes) => {
                let node = usize::try_from(node)?;
                match kind {
                    FaultKind::Kill => nodes.kill(node).await?,
                    FaultKind::Pause => nodes.pause(node),
                    FaultKind::Partition => nodes.cut(node),
                    FaultKind::Restart => nodes.terminate(node).await,
                }
                Ok(())
            }
            Self::Hook { command, bootstrap } => hook(command, bootstrap, kind, "begin", node).await,
            Self::Nobody => Ok(()),
        }
    }

    async fn end(&mut self, kind: FaultKind, node: i32) -> anyhow::Result<()> {
        match self {
            Self::Nodes(nodes) => {
                let node = usize::try_from(node)?;
                match kind {
                    FaultKind::Kill | FaultKind::Restart => nodes.start_again(node).await?,
                    FaultKind::Pause => nodes.resume(node),
                    FaultKind::Partition => nodes.heal(node),
                }
                Ok(())
            }
            Self::Hook { command, bootstrap } => hook(command, bootstrap, kind, "end", node).await,
            Self::Nobody => Ok(()),
        }
    }
}

async fn hook(command: &str, bootstrap: &str, kind: FaultKind, action: &str, node: i32) -> anyhow::Result<()> {
    let mut process = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("OTTLA_FAULT", kind.name())
        .env("OTTLA_ACTION", action)
        .env("OTTLA_NODE", node.to_string())
        .env("OTTLA_BOOTSTRAP", bootstrap)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("--hook cannot be started")?;
    let status = tokio::time::timeout(HOOK, process.wait()).await;
    let status = status.with_context(|| format!("--hook has not ended after {HOOK:?}"))??;
    if !status.success() {
        bail!("--hook at the {action} of {} on node {node}: {status}", kind.name());
    }
    Ok(())
}

/// How long a fault lasts, in milliseconds: partitions and pauses for longer than a session, now and then.
fn length(kind: FaultKind, random: &mut Random) -> Duration {
    let range = match kind {
        FaultKind::Kill => 1_000..4_000,
        FaultKind::Pause => 2_000..6_000,
        FaultKind::Partition => 2_000..7_000,
        FaultKind::Restart => 0..1_000,
    };
    Duration::from_millis(random.within(range))
}

/// Fault after fault, one node at a time, until the load's time is over.
///
/// # Errors
/// A fault cannot be done or undone.
pub async fn inject(
    load: &Load,
    injector: &mut Injector,
    kinds: &[FaultKind],
    every: Duration,
    duration: Duration,
) -> anyhow::Result<()> {
    let mut random = Random::new(load.seed, 1);
    let mut cluster = Cluster::new(&load.bootstrap);
    let end = Instant::now() + duration;
    let mut next = Instant::now() + WARM_UP.min(duration / 4);
    for kind in kinds.iter().copied().cycle() {
        if next + LEFT_MIN > end {
            break;
        }
        tokio::time::sleep_until(next).await;
        load.recorder.check()?;
        cluster.topic(&load.topic, false).await?;
        let nodes: Vec<i32> = cluster.brokers().keys().copied().collect();
        let node = random.pick(&nodes).copied().context("the cluster names no nodes")?;
        let operation = load.recorder.operation();
        let on = format!("node {node}");
        load.say(&format!("{} {on}", kind.name()));
        let body = Body::FaultBegin {
            operation,
            name: kind.name().into(),
            on: Some(on.as_str().into()),
        };
        let began = Instant::now();
        load.recorder.tell(WORKER, body);
        injector.begin(kind, node).await?;
        tokio::time::sleep(length(kind, &mut random)).await;
        injector.end(kind, node).await?;
        load.recorder.tell(WORKER, Body::FaultEnd { operation });
        if !in_sync(&mut cluster, &load.topic).await {
            load.note(format!(
                "a minute after {} of {on} was over, not everything was in sync",
                kind.name()
            ));
        }
        load.say(&format!(
            "{} {on}: over, everything in sync {:.1} s after it began",
            kind.name(),
            began.elapsed().as_secs_f64()
        ));
        next = (next + every).max(Instant::now() + Duration::from_secs(1));
    }
    tokio::time::sleep_until(end.max(Instant::now() + AFTERWARDS)).await;
    load.recorder.check()
}
