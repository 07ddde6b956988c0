use super::links::{Links, Port};
use crate::commands::demo::{CONTROL_PORT, Child, Layout, REPLICA_PORT};
use anyhow::{Context, bail};
use rustix::process::Signal;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

const NODES: u16 = 3;
/// Kafka ports are looked for here, so that all others lie in the range of theirs.
const PORTS: std::ops::Range<u16> = 20_100..28_000;
/// Distance of the ports that peers are told from a node's Kafka port.
const TOLD_CONTROL: u16 = 2_000;
const TOLD_REPLICA: u16 = 3_000;
/// Time for all nodes to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes of our own, to be harmed.
pub struct Nodes {
    children: Vec<Child>,
    links: Links,
    ports: Vec<u16>,
}

impl Nodes {
    /// # Errors
    /// A node does not start; its log is named.
    pub async fn start(data_dir: PathBuf) -> anyhow::Result<Self> {
        let ports = free_ports()?;
        let layout = Layout {
            nodes: NODES,
            first_node_id: 0,
            ports: ports.clone(),
            racks: Vec::new(),
            data_dir,
            set: Vec::new(),
        };
        let mut links = Vec::new();
        for (node, port) in ports.iter().enumerate() {
            for (told, real) in [(TOLD_CONTROL, CONTROL_PORT), (TOLD_REPLICA, REPLICA_PORT)] {
                links.push(Port {
                    node,
                    told: port + told,
                    real: port + real,
                });
            }
        }
        let links = Links::new(ports.len(), links).await?;
        let mut nodes = Self {
            children: Vec::new(),
            links,
            ports: ports.clone(),
        };
        for (index, mut plan) in layout.plans()?.into_iter().enumerate() {
            for port in &ports {
                let (real, told) = (port + CONTROL_PORT, port + TOLD_CONTROL);
                plan.properties = plan
                    .properties
                    .replace(&format!("localhost:{real}"), &format!("127.0.0.1:{told}"));
            }
            let (control, replica) = (plan.port + TOLD_CONTROL, plan.port + TOLD_REPLICA);
            plan.properties.push_str(&format!(
                "control.advertised.listener=127.0.0.1:{control}\nreplica.advertised.listener=127.0.0.1:{replica}\n"
            ));
            nodes.children.push(Child::start(plan)?);
            nodes.links.set_pid(index, nodes.children[index].pid());
        }
        for child in &mut nodes.children {
            let log = child.plan().log();
            let ready = tokio::time::timeout(PATIENCE, child.ready()).await;
            ready.with_context(|| format!("a node is not ready after {PATIENCE:?}; its log: {}", log.display()))??;
        }
        Ok(nodes)
    }

    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.ports.iter().map(|port| format!("localhost:{port}")).collect();
        addresses.join(",")
    }

    pub async fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.children[node].kill().await?;
        self.links.down(node);
        Ok(())
    }

    /// In order: it hands its partitions over first.
    pub async fn terminate(&mut self, node: usize) {
        self.children[node].terminate();
        self.children[node].ended().await;
        self.links.down(node);
    }

    /// # Errors
    /// It does not become ready.
    pub async fn start_again(&mut self, node: usize) -> anyhow::Result<()> {
        self.links.up(node).await?;
        let child = &mut self.children[node];
        let log = child.plan().log();
        // It is known by its process before it dials anybody.
        let ready = tokio::time::timeout(PATIENCE, child.start_again()).await;
        let ready =
            ready.with_context(|| format!("a node is not ready after {PATIENCE:?}; its log: {}", log.display()))?;
        self.links.set_pid(node, self.children[node].pid());
        ready.map(drop)
    }

    pub fn pause(&self, node: usize) {
        self.children[node].signal(Signal::STOP);
    }

    pub fn resume(&self, node: usize) {
        self.children[node].signal(Signal::CONT);
    }

    pub fn cut(&self, node: usize) {
        self.links.cut(node);
    }

    pub fn heal(&self, node: usize) {
        self.links.heal(node);
    }

    /// Whatever was being done to the nodes is undone.
    ///
    /// # Errors
    /// A node does not become ready.
    pub async fn restore(&mut self) -> anyhow::Result<()> {
        for node in 0..self.children.len() {
            self.heal(node);
            self.resume(node);
            if self.children[node].is_gone() {
                self.start_again(node).await?;
            }
        }
        Ok(())
    }

    pub async fn stop(&mut self) {
        for node in 0..self.children.len() {
            self.heal(node);
            self.resume(node);
            self.children[node].terminate();
        }
        for child in &mut self.children {
            child.ended().await;
        }
    }
}

/// Kafka ports of which all others that a node needs are free too.
fn free_ports() -> anyhow::Result<Vec<u16>> {
    let free = |port: &u16| {
        let all = [0, 1_000, TOLD_CONTROL, TOLD_REPLICA, CONTROL_PORT, REPLICA_PORT];
        let bind = |more: &u16| TcpListener::bind(("127.0.0.1", port + more)).ok();
        // Held together, so that none of them stands in for another.
        all.iter().map(bind).collect::<Option<Vec<_>>>().is_some()
    };
    // Runs that begin at the same time should not choose the same.
    let start = PORTS.start + u16::try_from(std::process::id() % 700).unwrap_or(0) * 10;
    let ports: Vec<u16> = (start..PORTS.end).filter(free).take(usize::from(NODES)).collect();
    if ports.len() < usize::from(NODES) {
        bail!("no free ports for {NODES} nodes from {start} on");
    }
    Ok(ports)
}
