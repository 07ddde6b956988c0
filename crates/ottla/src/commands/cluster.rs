use super::control_client::ControlClient;
use super::table::{list, table};
use super::{Common, Format, why};
use clap::{Args, Subcommand};
use controller::{ClusterStatus, NodeStatus, ProblemKind};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct ClusterCommand {
    #[command(subcommand)]
    action: ClusterAction,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    /// Health in a sentence, then nodes, Raft, and every partition that is not as it should be
    #[command(after_help = "Example: ottla cluster status --format json")]
    Status,
    /// Whether a node may be stopped now; exit code 1 if not, with what blocks it
    #[command(after_help = "Example: until ottla cluster roll-check 2; do sleep 5; done; systemctl restart ottla")]
    RollCheck {
        /// Its node.id
        node: i32,
    },
}

impl ClusterCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut client = ControlClient::new(&self.common)?;
        match self.action {
            ClusterAction::Status => {
                let status = client.status().await?;
                match self.common.format {
                    Format::Json => println!("{}", serde_json::to_string_pretty(&to_json(&status))?),
                    Format::Text => print(&status),
                }
                Ok(ExitCode::SUCCESS)
            }
            ClusterAction::RollCheck { node } => why::roll_check(&mut client, self.common.format, node).await,
        }
    }
}

fn state(node: &NodeStatus) -> &'static str {
    match (node.registered, node.fenced, node.shutting_down) {
        (false, _, _) => "not registered",
        (_, true, _) => "fenced",
        (_, _, true) => "shutting down",
        _ => "alive",
    }
}

fn kind(kind: &ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Offline => "offline",
        ProblemKind::UnderMinIsr => "under min.insync.replicas",
        ProblemKind::UnderReplicated => "under-replicated",
    }
}

fn is_healthy(status: &ClusterStatus) -> bool {
    status.leader.is_some() && status.problems.is_empty() && status.nodes.iter().all(|node| state(node) == "alive")
}

/// Health in one sentence.
fn sentence(status: &ClusterStatus) -> String {
    let alive = status.nodes.iter().filter(|node| state(node) == "alive").count();
    let nodes = status.nodes.len();
    if status.leader.is_none() {
        return format!("NOT HEALTHY: the metadata has no leader; {alive} of {nodes} nodes were alive when last seen.");
    }
    if is_healthy(status) {
        return format!(
            "Healthy: {nodes} nodes are alive, {} partitions of {} topics are in sync.",
            status.partitions, status.topics
        );
    }
    let count =
        |wanted: fn(&ProblemKind) -> bool| status.problems.iter().filter(|problem| wanted(&problem.kind)).count();
    format!(
        "NOT HEALTHY: {alive} of {nodes} nodes are alive; of {} partitions {} are offline, {} under min.insync.replicas, {} under-replicated.",
        status.partitions,
        count(|kind| matches!(kind, ProblemKind::Offline)),
        count(|kind| matches!(kind, ProblemKind::UnderMinIsr)),
        count(|kind| matches!(kind, ProblemKind::UnderReplicated)),
    )
}

pub(super) fn node_table(status: &ClusterStatus) -> String {
    let rows: Vec<Vec<String>> = status
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.node_id.to_string(),
                if node.drained {
                    format!("{}, drained", state(node))
                } else {
                    state(node).to_owned()
                },
                node.kafka.to_string(),
                node.rack.clone().unwrap_or_default(),
                node.raft_role.name().to_owned(),
                node.raft_id.to_string(),
                node.leads.to_string(),
                node.replicas.to_string(),
                node.broker_epoch.to_string(),
            ]
        })
        .collect();
    table(
        &[
            "NODE",
            "STATE",
            "KAFKA",
            "RACK",
            "RAFT",
            "RAFT ID",
            "LEADS",
            "REPLICAS",
            "BROKER EPOCH",
        ],
        &rows,
    )
}

fn print(status: &ClusterStatus) {
    println!("{}", sentence(status));
    println!(
        "Cluster {}, term {}, metadata index {}\n",
        status.cluster_id, status.term, status.metadata_index
    );
    print!("{}", node_table(status));
    if status.problems.is_empty() {
        return;
    }
    let numbers = |nodes: &[types::NodeId]| list(&nodes.iter().map(|node| node.0).collect::<Vec<_>>());
    let rows: Vec<Vec<String>> = status
        .problems
        .iter()
        .map(|problem| {
            vec![
                format!("{}-{}", problem.topic, problem.partition),
                kind(&problem.kind).to_owned(),
                problem
                    .leader
                    .map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                numbers(&problem.replicas),
                numbers(&problem.isr),
                problem.reason.clone(),
            ]
        })
        .collect();
    print!(
        "\n{}",
        table(&["PARTITION", "PROBLEM", "LEADER", "REPLICAS", "ISR", "REASON"], &rows)
    );
}

/// The nodes alone.
pub(super) fn nodes_json(status: &ClusterStatus) -> Value {
    to_json(status)["nodes"].take()
}

fn to_json(status: &ClusterStatus) -> Value {
    let numbers = |nodes: &[types::NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    json!({
        "healthy": is_healthy(status),
        "summary": sentence(status),
        "cluster_id": status.cluster_id,
        "controller": status.leader.map(|leader| leader.0),
        "term": status.term,
        "metadata_index": status.metadata_index.0,
        "topics": status.topics,
        "partitions": status.partitions,
        "nodes": status.nodes.iter().map(|node| json!({
            "node_id": node.node_id.0, "state": state(node), "kafka": node.kafka.to_string(), "control": node.control.to_string(),
            "replica": node.replica.to_string(), "rack": node.rack, "raft_role": node.raft_role.name(), "raft_id": node.raft_id.0,
            "fenced": node.fenced, "leads": node.leads, "replicas": node.replicas, "drained": node.drained, "broker_epoch": node.broker_epoch.0, "shards": node.shards,
            "last_seen_ms": node.last_seen_ms,
        })).collect::<Vec<_>>(),
        "problems": status.problems.iter().map(|problem| json!({
            "topic": problem.topic, "partition": problem.partition, "problem": kind(&problem.kind),
            "leader": problem.leader.map(|leader| leader.0), "replicas": numbers(&problem.replicas),
            "isr": numbers(&problem.isr), "elr": numbers(&problem.elr), "reason": problem.reason,
        })).collect::<Vec<_>>(),
    })
}
