use super::child::Plan;
use anyhow::{Context, bail};
use clap::Args;
use std::path::PathBuf;

/// Distance of the control and the replica port from a node's Kafka port.
pub const CONTROL_PORT: u16 = 10_000;
pub const REPLICA_PORT: u16 = 20_000;
/// Of HTTP for metrics and health.
pub const ADMIN_PORT: u16 = 1_000;

/// Which nodes there are, and where.
#[derive(Debug, Clone, Args)]
pub struct Layout {
    /// Number of nodes
    #[arg(long, default_value_t = 3)]
    pub nodes: u16,
    /// node.id of the first node; the others count on from it
    #[arg(long, default_value_t = 0)]
    pub first_node_id: i32,
    /// Kafka ports, one per node; HTTP is at + 1000, control at + 10000, replica streams at + 20000
    #[arg(long, value_delimiter = ',')]
    pub ports: Vec<u16>,
    /// Racks, one per node
    #[arg(long, value_delimiter = ',')]
    pub racks: Vec<String>,
    /// Where node I keeps everything, in DIR/node-I
    #[arg(long, default_value = "ottla-demo")]
    pub data_dir: PathBuf,
    /// Any property for every node, name=value
    #[arg(long)]
    pub set: Vec<String>,
}

impl Layout {
    /// What each node is started with.
    ///
    /// # Errors
    /// The arguments contradict each other, a port is taken, or the directory cannot be made.
    pub fn plans(&self) -> anyhow::Result<Vec<Plan>> {
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
}
