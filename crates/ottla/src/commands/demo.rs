mod child;

use super::{Common, Format};
use anyhow::{Context, bail};
use child::{Child, Plan};
use clap::Args;
use host::Host;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Time for all nodes to be in the quorum and unfenced before the demo says what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Distance of the control and the replica port from a node's Kafka port.
const CONTROL_PORT: u16 = 10_000;
const REPLICA_PORT: u16 = 20_000;
/// Of HTTP for metrics and health.
const ADMIN_PORT: u16 = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "Example: ottla demo\n\
    Example: ottla demo --nodes 5 --racks a,b,c,a,b --set num.partitions=6 --kill-every 30s")]
pub struct Demo {
    /// Number of nodes
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// node.id of the first node; the others count on from it
    #[arg(long, default_value_t = 0)]
    first_node_id: i32,
    /// Kafka ports, one per node; HTTP is at + 1000, control at + 10000, replica streams at + 20000
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Racks, one per node
    #[arg(long, value_delimiter = ',')]
    racks: Vec<String>,
    /// Where node I keeps everything, in DIR/node-I
    #[arg(long, default_value = "ottla-demo")]
    data_dir: PathBuf,
    /// Any property for every node, name=value
    #[arg(long)]
    set: Vec<String>,
    /// Kill a random node with SIGKILL this often and start it again
    #[arg(long, value_parser = humantime::parse_duration)]
    kill_every: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        let plans = self.plans()?;
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

    fn plans(&self) -> anyhow::Result<Vec<Plan>> {
        if !(1..=100).contains(&self.nodes) {
            bail!("--nodes {}: wants a number from 1 to 100", self.nodes);
        }
        let ports: Vec<u16> = if self.ports.is_empty() {
            (0..self.nodes).map(|index| 9092 + index).collect()
        } else {
            self.ports.clone()
        };
        if ports.len() != usize::from(self.nodes) {
            bail!(
                "--ports names {} ports for {} nodes; give one for each (--nodes N)",
                ports.len(),
                self.nodes
            );
        }
        if !self.racks.is_empty() && self.racks.len() != usize::from(self.nodes) {
            bail!(
                "--racks names {} racks for {} nodes; give one for each",
                self.racks.len(),
                self.nodes
            );
        }
        if let Some(port) = ports
            .iter()
            .find(|port| **port > u16::MAX - REPLICA_PORT || **port == 0)
        {
            bail!(
                "--ports {port}: wants numbers from 1 to {}, since control and replica ports lie above",
                u16::MAX - REPLICA_PORT
            );
        }
        let join: Vec<String> = ports
            .iter()
            .map(|port| format!("localhost:{}", port + CONTROL_PORT))
            .collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = (cores / usize::from(self.nodes)).clamp(1, 8);
        std::fs::create_dir_all(&self.data_dir).with_context(|| format!("--data-dir {}", self.data_dir.display()))?;
        let data_dir = self
            .data_dir
            .canonicalize()
            .with_context(|| format!("--data-dir {}", self.data_dir.display()))?;
        let mut plans = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let node_id = self.first_node_id + i32::try_from(index)?;
            for (what, port) in [
                ("Kafka", *port),
                ("HTTP", port + ADMIN_PORT),
                ("control", port + CONTROL_PORT),
                ("replica", port + REPLICA_PORT),
            ] {
                if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
                    bail!(
                        "node {node_id} needs port {port} ({what}): {error}. Stop what uses it, or choose others with --ports"
                    );
                }
            }
            let directory = data_dir.join(format!("node-{node_id}"));
            let mut lines = vec![
                format!("node.id={node_id}"),
                format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
                format!("advertised.listeners=PLAINTEXT://localhost:{port}"),
                format!("log.dirs={}", directory.join("data").display()),
                format!("admin.listener=127.0.0.1:{}", port + ADMIN_PORT),
                format!("metadata.log.dir={}", directory.join("raft").display()),
                format!("join={}", join.join(",")),
            ];
            if !self.set.iter().any(|pair| pair.starts_with("num.shards=")) {
                lines.push(format!("num.shards={shards}"));
            }
            if let Some(rack) = self.racks.get(index) {
                lines.push(format!("broker.rack={rack}"));
            }
            lines.extend(self.set.iter().cloned());
            plans.push(Plan {
                node_id,
                port: *port,
                directory,
                properties: lines.join("\n") + "\n",
            });
        }
        Ok(plans)
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
        let data = self.data_dir.display();
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
        println!(
            "{} nodes are ready after {:.1} s.\n\n\
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
