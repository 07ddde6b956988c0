use super::cluster::{node_table, nodes_json};
use super::control_client::ControlClient;
use super::{Common, Format};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use controller::{ClusterStatus, NodeStatus};
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use types::NodeId;

const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Without any replica that leaves for so long the command says so and ends; the cluster goes on.
const PATIENCE: Duration = Duration::from_secs(300);
/// A node that has stopped is fenced within its session timeout at most, 3 s unless a wide network is configured.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct NodeCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the nodes
    #[command(after_help = "Example: ottla node list")]
    List,
    /// Empty a node: others lead what it leads, then its replicas move to others, and it gets no new ones
    #[command(after_help = "Example: ottla node drain 3 --dry-run\nExample: ottla node drain 3")]
    Drain {
        /// node.id
        node: i32,
        /// Only say what would move
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a node have replicas and lead again; what has moved stays where it is
    #[command(after_help = "Example: ottla node undrain 3")]
    Undrain {
        /// node.id
        node: i32,
    },
    /// Forget a node that is drained and stopped
    #[command(after_help = "Example: ottla node remove 3")]
    Remove {
        /// node.id
        node: i32,
        /// Even if it has replicas, which then lack a copy until they are reassigned
        #[arg(long)]
        force: bool,
    },
}

impl NodeCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut client = ControlClient::new(&self.common)?;
        let status = client.status().await?;
        match self.action {
            Action::List => show(&status, self.common.format),
            Action::Drain { node, dry_run } => {
                of(&status, node)?;
                let plan = drain(&mut client, node, true, dry_run).await?;
                match dry_run {
                    true => show_plan(&plan, of(&status, node)?, self.common.format),
                    false => emptied(&mut client, node, self.common.format).await,
                }
            }
            Action::Undrain { node } => {
                of(&status, node)?;
                drain(&mut client, node, false, false).await?;
                show(&client.status().await?, self.common.format)
            }
            Action::Remove { node, force } => {
                of(&status, node)?;
                removable(&noticed(&mut client, node).await?, force)?;
                remove(&mut client, node).await?;
                show(&client.status().await?, self.common.format)
            }
        }
    }
}

fn show(status: &ClusterStatus, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&nodes_json(status))?),
        Format::Text => print!("{}", node_table(status)),
    }
    Ok(())
}

fn of(status: &ClusterStatus, node: i32) -> anyhow::Result<&NodeStatus> {
    let found = status
        .nodes
        .iter()
        .find(|of| of.node_id == NodeId(node) && of.registered);
    found.with_context(|| format!("no node {node} is registered. The nodes are listed by: ottla node list"))
}

fn refused(reply: Reply) -> anyhow::Error {
    match reply {
        Reply::Refusal(refusal) => anyhow::anyhow!("{}", refusal.message),
        Reply::NotController(_) => {
            anyhow::anyhow!("the metadata has no leader now; nothing was changed. Look with: ottla quorum status")
        }
        _ => anyhow::anyhow!("a wrong answer"),
    }
}

async fn drain(
    client: &mut ControlClient,
    node: i32,
    drained: bool,
    validate_only: bool,
) -> anyhow::Result<pb::DrainReply> {
    let request = pb::DrainRequest {
        node_id: node,
        drained,
        validate_only,
    };
    match client.call(Request::Drain(request)).await? {
        Reply::Drain(reply) => Ok(reply),
        other => Err(refused(other)),
    }
}

/// Takes its vote, with which it leaves the metadata group too, and its registration.
async fn remove(client: &mut ControlClient, node: i32) -> anyhow::Result<()> {
    let vote = pb::WithholdVoteRequest {
        node_id: node,
        withheld: true,
    };
    let registration = pb::UnregisterBrokerRequest { node_id: node };
    for request in [Request::WithholdVote(vote), Request::UnregisterBroker(registration)] {
        match client.call(request).await? {
            Reply::WithholdVote(_) | Reply::UnregisterBroker(_) => {}
            other => return Err(refused(other)),
        }
    }
    Ok(())
}

/// What a drain would do, as things are.
fn show_plan(plan: &pb::DrainReply, node: &NodeStatus, format: Format) -> anyhow::Result<()> {
    let targets: BTreeMap<i32, u32> = plan.targets.iter().map(|to| (to.node_id, to.replicas)).collect();
    if matches!(format, Format::Json) {
        let plan = json!({
            "node": node.node_id.0, "leads": node.leads, "replicas": node.replicas, "leaders_moved_at_once": plan.leaders,
            "targets": targets, "waiting": plan.waiting,
        });
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    let gets = |(to, replicas): (&i32, &u32)| format!("node {to} gets {replicas}");
    let mut gets: Vec<String> = targets.iter().map(gets).collect();
    if plan.waiting > 0 {
        gets.push(format!("{} wait for a node that is down", plan.waiting));
    }
    println!(
        "Node {} leads {} partitions, of which others would lead {} at once. It has {} replicas{}{}. Nothing was changed.",
        node.node_id,
        node.leads,
        plan.leaders,
        node.replicas,
        if gets.is_empty() { "" } else { ": " },
        gets.join(", ")
    );
    Ok(())
}

/// Waits until the node is empty, and says how far it is.
async fn emptied(client: &mut ControlClient, node: i32, format: Format) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut first, mut last): (Option<usize>, Option<(usize, Instant)>) = (None, None);
    loop {
        let status = client.status().await?;
        let (leads, replicas) = (of(&status, node)?.leads, of(&status, node)?.replicas);
        if replicas == 0 {
            if of(&status, node)?.votes() {
                eprintln!("node {node} is empty. It still votes; before it goes for good: ottla quorum remove {node}");
            }
            return show(&status, format);
        }
        let all = *first.get_or_insert(replicas);
        if last.is_none_or(|(seen, _)| seen != replicas) {
            last = Some((replicas, Instant::now()));
            eprintln!(
                "node {node} leads {leads} partitions, {replicas} of {all} replicas are left{}",
                left(begun, all, replicas)
            );
        }
        if last.is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
            bail!(
                "{replicas} replicas have not moved for {} s. The cluster goes on moving them; see what they wait for with: ottla \
                 why node {node}, and end it with: ottla node undrain {node}",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// How long it may take, if the rest moves as what has moved.
fn left(begun: Instant, all: usize, replicas: usize) -> String {
    let moved = all.saturating_sub(replicas);
    if moved == 0 {
        return String::new();
    }
    let rest = begun.elapsed().as_secs_f64() * replicas as f64 / moved as f64;
    format!(", about {rest:.0} s")
}

/// The node, once the cluster has noticed that it stopped, or after as long as that can take: who has just stopped it
/// need not know that others learn of it a moment later.
async fn noticed(client: &mut ControlClient, node: i32) -> anyhow::Result<NodeStatus> {
    let begun = Instant::now();
    loop {
        let status = client.status().await?;
        let found = of(&status, node)?;
        if found.fenced || begun.elapsed() > NOTICED_WITHIN {
            return Ok(found.clone());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// # Errors
/// Why not, and what to do first.
fn removable(node: &NodeStatus, force: bool) -> anyhow::Result<()> {
    let id = node.node_id;
    if !node.fenced {
        bail!("node {id} is running. Stop it first, or it registers again");
    }
    if force || (node.drained && node.replicas == 0) {
        return Ok(());
    }
    bail!(
        "node {id} has {} replicas{}. Start it and empty it with: ottla node drain {id}; or, if it is gone for good, give its \
         replicas up with --force",
        node.replicas,
        if node.drained { "" } else { " and is not drained" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stopped_and_empty_node_is_removed_without_force() {
        // (fenced, drained, replicas, force, removed)
        for (fenced, drained, replicas, force, removed) in [
            (false, true, 0, true, false),
            (true, true, 0, false, true),
            (true, true, 3, false, false),
            (true, false, 0, false, false),
            (true, false, 3, true, true),
        ] {
            let node = NodeStatus {
                fenced,
                drained,
                replicas,
                ..NodeStatus::default()
            };
            assert_eq!(removable(&node, force).is_ok(), removed, "{node:?} {force}");
        }
    }
}
