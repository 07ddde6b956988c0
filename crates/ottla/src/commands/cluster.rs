use super::table::{list, table};
use super::{Common, Format};
use crate::client::Cluster;
use crate::settings::host_port;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use controller::{ClusterStatus, NodeStatus, ProblemKind, RaftRole};
use metadata::Endpoint;
use raft::pb;
use raft::{TonicTransport, Transport};
use serde_json::{Value, json};
use std::time::Duration;
use types::Timings;
use wire::ApiKey;
use wire::StrBytes;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::{DescribeConfigsRequest, RequestKind, ResponseKind};

/// `ConfigResource.Type.BROKER`.
const BROKER: i8 = 4;
const CONTROL: &str = "control.advertised.listener";
const PATIENCE: Duration = Duration::from_secs(5);

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
}

#[derive(Debug, Args)]
pub struct NodeCommand {
    #[command(subcommand)]
    action: NodeAction,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum NodeAction {
    /// List the nodes
    #[command(after_help = "Example: ottla node list")]
    List,
}

impl ClusterCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let ClusterAction::Status = self.action;
        let status = ask(&self.common).await?;
        match self.common.format {
            Format::Json => println!("{}", serde_json::to_string_pretty(&to_json(&status))?),
            Format::Text => print(&status),
        }
        Ok(())
    }
}

impl NodeCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let NodeAction::List = self.action;
        let status = ask(&self.common).await?;
        match self.common.format {
            Format::Json => println!("{}", serde_json::to_string_pretty(&to_json(&status)["nodes"])?),
            Format::Text => print!("{}", nodes(&status)),
        }
        Ok(())
    }
}

/// Kafka's protocol says which brokers there are and, as a broker config, where their control planes listen; the rest
/// goes over gRPC.
async fn ask(common: &Common) -> anyhow::Result<ClusterStatus> {
    let mut cluster = Cluster::new(&common.bootstrap);
    cluster.topics(Some(&[]), false).await?;
    let brokers: Vec<i32> = cluster.brokers().keys().copied().collect();
    let transport = TonicTransport::new(Timings::LAN);
    let mut last = anyhow::anyhow!("no broker is alive");
    for broker in brokers {
        match ask_node(&mut cluster, &transport, broker).await {
            Ok(status) => return Ok(status),
            Err(error) => last = error.context(format!("node {broker}")),
        }
    }
    Err(last)
}

async fn ask_node(cluster: &mut Cluster, transport: &TonicTransport, broker: i32) -> anyhow::Result<ClusterStatus> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(StrBytes::from_string(broker.to_string()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(CONTROL)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster
        .call_node(
            broker,
            ApiKey::DescribeConfigs,
            4,
            RequestKind::DescribeConfigs(request),
        )
        .await?;
    let ResponseKind::DescribeConfigs(answer) = answer else {
        bail!("a wrong answer")
    };
    let control = answer
        .results
        .iter()
        .flat_map(|result| &result.configs)
        .find(|config| &*config.name == CONTROL);
    let control = control
        .and_then(|config| config.value.as_ref())
        .context("it does not say where its control plane listens")?;
    let (host, port) = host_port(control).with_context(|| format!("{CONTROL}={control} is not host:port"))?;
    let request = pb::controller_request::Request::ClusterStatus(pb::ClusterStatusRequest { local: false });
    let call = pb::CallRequest {
        envelope: Some(pb::Envelope::default()),
        call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
            request: Some(request.clone()),
        })),
    };
    let mut at = Endpoint { host, port };
    // The controller knows most; any other node says who that is.
    for _ in 0..3 {
        match controller_reply(transport.call(&at, call.clone(), PATIENCE).await?) {
            Some(pb::controller_reply::Reply::ClusterStatus(reply)) => return Ok(ClusterStatus::from_message(reply)),
            Some(pb::controller_reply::Reply::NotController(other)) => match other.leader {
                Some(leader) => {
                    at = Endpoint {
                        host: leader.host,
                        port: u16::try_from(leader.port).unwrap_or(0),
                    }
                }
                None => break,
            },
            _ => bail!("a wrong answer"),
        }
    }
    let local = pb::controller_request::Request::ClusterStatus(pb::ClusterStatusRequest { local: true });
    let call = pb::CallRequest {
        envelope: Some(pb::Envelope::default()),
        call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
            request: Some(local),
        })),
    };
    match controller_reply(transport.call(&at, call, PATIENCE).await?) {
        Some(pb::controller_reply::Reply::ClusterStatus(reply)) => Ok(ClusterStatus::from_message(reply)),
        _ => bail!("a wrong answer"),
    }
}

fn controller_reply(reply: pb::CallReply) -> Option<pb::controller_reply::Reply> {
    match reply.reply {
        Some(pb::call_reply::Reply::Controller(reply)) => reply.reply,
        _ => None,
    }
}

fn role(node: &NodeStatus) -> &'static str {
    match node.raft_role {
        RaftRole::None => "none",
        RaftRole::Learner => "learner",
        RaftRole::Voter => "voter",
        RaftRole::Leader => "leader",
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

fn nodes(status: &ClusterStatus) -> String {
    let rows: Vec<Vec<String>> = status
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.node_id.to_string(),
                state(node).to_owned(),
                node.kafka.to_string(),
                node.rack.clone().unwrap_or_default(),
                role(node).to_owned(),
                node.raft_id.to_string(),
                node.leads.to_string(),
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
    print!("{}", nodes(status));
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
            "replica": node.replica.to_string(), "rack": node.rack, "raft_role": role(node), "raft_id": node.raft_id.0,
            "fenced": node.fenced, "leads": node.leads, "broker_epoch": node.broker_epoch.0, "shards": node.shards,
            "last_seen_ms": node.last_seen_ms,
        })).collect::<Vec<_>>(),
        "problems": status.problems.iter().map(|problem| json!({
            "topic": problem.topic, "partition": problem.partition, "problem": kind(&problem.kind),
            "leader": problem.leader.map(|leader| leader.0), "replicas": numbers(&problem.replicas),
            "isr": numbers(&problem.isr), "elr": numbers(&problem.elr), "reason": problem.reason,
        })).collect::<Vec<_>>(),
    })
}
