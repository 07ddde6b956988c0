mod child;
mod layout;

use super::{Common, Format};
use anyhow::bail;
pub(super) use child::Child;
use clap::Args;
use host::Host;
use layout::ADMIN_PORT;
pub(super) use layout::{CONTROL_PORT, Layout, REPLICA_PORT};
use serde_json::json;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Time for all nodes to be in the quorum and unfenced before the demo says what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "Example: ottla demo\n\
    Example: ottla demo --nodes 5 --racks a,b,c,a,b --set num.partitions=6 --kill-every 30s")]
pub struct Demo {
    #[command(flatten)]
    layout: Layout,
    /// Kill a random node with SIGKILL this often and start it again
    #[arg(long, value_parser = humantime::parse_duration)]
    kill_every: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        let plans = self.layout.plans()?;
        // Nobody is told to stop before these are in place.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut children = Vec::new();
        for plan in plans {
            children.push(Child::start(plan)?);
        }
        let ready = async {
            for child in &mut children {
                child.ready().await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            outcome = tokio::time::timeout(PATIENCE, ready) => match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    stop(&mut children).await;
                    return Err(error);
                }
                Err(_) => {
                    let logs: Vec<String> = children.iter().map(|c| c.plan().log().display().to_string()).collect();
                    stop(&mut children).await;
                    bail!("the nodes were not ready after {PATIENCE:?}; their logs: {}", logs.join(" "));
                }
            },
            _ = interrupt.recv() => return finish(&mut children).await,
            _ = terminate.recv() => return finish(&mut children).await,
        }
        self.announce(&children, started.elapsed());
        self.watch(&mut children, &mut interrupt, &mut terminate).await;
        finish(&mut children).await
    }

    fn announce(&self, children: &[Child], took: Duration) {
        let bootstrap: Vec<String> = children
            .iter()
            .map(|child| format!("localhost:{}", child.plan().port))
            .collect();
        let bootstrap = bootstrap.join(",");
        let http: Vec<String> = children
            .iter()
            .map(|child| format!("http://localhost:{}/metrics", child.plan().port + ADMIN_PORT))
            .collect();
        let http = http.join(" ");
        let first = bootstrap.split(',').next().unwrap_or_default();
        let data = self.layout.data_dir.display();
        if self.common.format == Format::Json {
            let nodes: Vec<_> = children
                .iter()
                .map(|c| json!({"node_id": c.plan().node_id, "port": c.plan().port, "http_port": c.plan().port + ADMIN_PORT, "pid": c.pid()}))
                .collect();
            println!(
                "{}",
                json!({"ready": true, "bootstrap": bootstrap, "data_dir": data.to_string(), "nodes": nodes, "millis": took.as_millis()})
            );
            return;
        }
        let at = if first == "localhost:9092" {
            String::new()
        } else {
            format!(" -b {first}")
        };
        let program = std::env::current_exe().unwrap_or_else(|_| "ottla".into());
        println!(
            "{} nodes are ready after {:.1} s.\n\n\
             Program     {} (put its directory on the PATH to call it ottla)\n\
             Bootstrap   {bootstrap}\n\
             Data        {data}/node-N/ (log in ottla.log, process id in ottla.pid)\n\
             Metrics     {http} (also /livez /readyz /startupz)\n\n\
             With ottla  ottla topic create orders --partitions 6{at}\n\
             \x20           echo hello | ottla produce orders{at}\n\
             \x20           ottla consume orders --from-beginning{at}\n\
             \x20           ottla cluster status{at}\n\
             With kcat   echo hello | kcat -b {first} -t orders -P\n\
             \x20           kcat -b {first} -t orders -C -o beginning -e\n\
             With Apache Kafka's tools\n\
             \x20           kafka-topics.sh --bootstrap-server {first} --create --topic orders --partitions 6\n\
             \x20           kafka-console-producer.sh --bootstrap-server {first} --topic orders\n\
             \x20           kafka-console-consumer.sh --bootstrap-server {first} --topic orders --group billing --from-beginning\n\n\
             Stop        Ctrl-C. The data stays; the next start goes on with it.",
            children.len(),
            took.as_secs_f64(),
            program.display(),
        );
    }

    /// Until a signal comes: reports nodes that die, kills and restarts where asked to.
    async fn watch(
        &self,
        children: &mut [Child],
        interrupt: &mut tokio::signal::unix::Signal,
        terminate: &mut tokio::signal::unix::Signal,
    ) {
        let random = host::RealHost::new();
        let mut kills = self.kill_every.map(tokio::time::interval);
        if let Some(kills) = &mut kills {
            kills.tick().await; // the first tick is now
        }
        loop {
            let happened = {
                let died = futures::future::select_all(children.iter_mut().map(|child| Box::pin(child.died())));
                let kill = async {
                    match &mut kills {
                        Some(kills) => kills.tick().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = interrupt.recv() => return,
                    _ = terminate.recv() => return,
                    ((), index, _) = died => Happened::Died(index),
                    _ = kill => Happened::KillNow,
                }
            };
            match happened {
                Happened::Died(index) => children[index].report_death(),
                Happened::KillNow => {
                    let index = usize::try_from(random.random_u64() % children.len() as u64).unwrap_or(0);
                    let child = &mut children[index];
                    let node_id = child.plan().node_id;
                    println!(
                        "killing node {node_id} (process {}) with SIGKILL and starting it again",
                        child.pid()
                    );
                    match child.kill_and_restart().await {
                        Ok(took) => println!("node {node_id} is ready again after {:.1} s", took.as_secs_f64()),
                        Err(error) => eprintln!("ottla: {error:#}"),
                    }
                }
            }
        }
    }
}

/// What ends a wait of the demo.
enum Happened {
    Died(usize),
    KillNow,
}

async fn finish(children: &mut [Child]) -> anyhow::Result<()> {
    eprintln!("stopping {} nodes…", children.len());
    stop(children).await;
    eprintln!("stopped; the data stays");
    Ok(())
}

/// SIGTERM to all at once, then waits for each.
async fn stop(children: &mut [Child]) {
    for child in children.iter() {
        child.terminate();
    }
    for child in children.iter_mut() {
        child.ended().await;
    }
}
