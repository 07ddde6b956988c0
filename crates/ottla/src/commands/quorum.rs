use super::control_client::ControlClient;
use super::start::settings_of;
use super::table::table;
use super::{Common, Format};
use crate::secret;
use crate::settings::Settings;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use controller::{ClusterStatus, Identity, NodeStatus, RaftRole};
use host::RealDisk;
use metadata::Endpoint;
use raft::pb;
use raft::pb::controller_reply::Reply;
use raft::pb::controller_request::Request;
use raft::{RaftStore, StoredQuorum, TonicTransport, Transport};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use types::{NodeId, RaftId};

/// For the voters to be changed; each change is a round trip or two of the group.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// For a voter that is thought lost to answer that it is not.
const PROBE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Quorum {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Voters and learners, how far behind each is, and how many may fail
    #[command(after_help = "Example: ottla quorum status --format json")]
    Status,
    /// Let a node vote, at once or as soon as it has caught up and a voter is wanted
    #[command(after_help = "Example: ottla quorum add 4")]
    Add {
        /// node.id
        node: i32,
    },
    /// Take the vote of a node; another votes instead, where one can
    #[command(after_help = "Example: ottla quorum remove 2")]
    Remove {
        /// node.id
        node: i32,
    },
    /// A majority of the voters is gone for good: make the stopped node of this machine the only voter, on what it has.
    /// Says what it risks; --yes does it
    #[command(after_help = "Example: ottla quorum recover --config server.properties\n\
        Example: ottla quorum recover --config server.properties --yes")]
    Recover(Recover),
}

#[derive(Debug, Args)]
struct Recover {
    /// The server.properties file of the node, which must be stopped
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// A property that overrides the file and the environment, name=value
    #[arg(long)]
    set: Vec<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

impl Quorum {
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Status => {
                let status = ControlClient::new(&self.common)?.status().await?;
                show(&status, self.common.format)
            }
            Action::Add { node } => withhold(&self.common, node, false).await,
            Action::Remove { node } => withhold(&self.common, node, true).await,
            Action::Recover(recover) => recover.run(self.common.format).await,
        }
    }
}

fn show(status: &ClusterStatus, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&to_json(status))?),
        Format::Text => print!("{}\n\n{}", sentence(status), members(status)),
    }
    Ok(())
}

/// Voters that may fail, beside those that have.
fn may_fail(status: &ClusterStatus) -> usize {
    let voters: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.votes()).collect();
    let live = voters.iter().filter(|node| node.registered && !node.fenced).count();
    live.saturating_sub(voters.len() / 2 + 1)
}

/// The quorum in one sentence.
fn sentence(status: &ClusterStatus) -> String {
    let voters = status.nodes.iter().filter(|node| node.votes()).count();
    let Some(leader) = status.leader else {
        return format!(
            "NO LEADER: of {voters} voters no majority is there. Start those that are down; if they are gone for good: ottla quorum recover."
        );
    };
    let wanted = if voters == status.voters_wanted {
        String::new()
    } else {
        format!(" ({} wanted)", status.voters_wanted)
    };
    format!(
        "Node {leader} leads {voters} voters{wanted} in term {}, committed up to {}; {} more may fail.",
        status.term,
        status.committed.0,
        may_fail(status)
    )
}

fn role(node: &NodeStatus) -> String {
    let taken = node.raft_role == RaftRole::Learner && node.vote_withheld;
    format!("{}{}", node.raft_role.name(), if taken { " (vote taken)" } else { "" })
}

fn lag(node: &NodeStatus, status: &ClusterStatus) -> Option<u64> {
    Some(status.committed.0.saturating_sub(node.matched?.0))
}

fn members(status: &ClusterStatus) -> String {
    let unknown = || "?".to_owned();
    let rows: Vec<Vec<String>> = status
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.node_id.to_string(),
                role(node),
                node.raft_id.to_string(),
                node.rack.clone().unwrap_or_default(),
                node.control.to_string(),
                lag(node, status).map_or_else(unknown, |lag| lag.to_string()),
                node.last_seen_ms.map_or_else(unknown, |ms| format!("{ms} ms")),
            ]
        })
        .collect();
    table(&["NODE", "ROLE", "RAFT ID", "RACK", "CONTROL", "LAG", "SEEN"], &rows)
}

fn to_json(status: &ClusterStatus) -> Value {
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|node| {
            json!({
                "node": node.node_id.0,
                "role": node.raft_role.name(),
                "vote_taken": node.vote_withheld,
                "raft_id": node.raft_id.0,
                "rack": node.rack,
                "control": node.control.to_string(),
                "lag": lag(node, status),
                "last_seen_ms": node.last_seen_ms,
            })
        })
        .collect();
    json!({
        "leader": status.leader.map(|node| node.0),
        "term": status.term,
        "committed": status.committed.0,
        "voters_wanted": status.voters_wanted,
        "may_fail": may_fail(status),
        "nodes": nodes,
    })
}

/// Asks for the change, and shows the group once the controller has made it.
async fn withhold(common: &Common, node: i32, withheld: bool) -> anyhow::Result<()> {
    let mut client = ControlClient::new(common)?;
    let request = pb::WithholdVoteRequest {
        node_id: node,
        withheld,
    };
    match client.call(Request::WithholdVote(request)).await? {
        Reply::WithholdVote(_) => {}
        Reply::Refusal(refusal) => bail!("{}. The nodes are listed by: ottla quorum status", refusal.message),
        Reply::NotController(_) => {
            bail!("the metadata has no leader now; nothing was changed. Look with: ottla quorum status")
        }
        _ => bail!("a wrong answer"),
    }
    let begun = std::time::Instant::now();
    loop {
        let status = client.status().await?;
        let of = status.nodes.iter().find(|of| of.node_id == NodeId(node));
        let done = of.is_none_or(|of| if withheld { !of.votes() } else { of.votes() });
        // Who is added votes when a voter is wanted, which may not be now.
        let enough = !withheld && status.nodes.iter().filter(|node| node.votes()).count() >= status.voters_wanted;
        if done || enough {
            return show(&status, common.format);
        }
        if begun.elapsed() > PATIENCE {
            show(&status, common.format)?;
            bail!(
                "it is noted but not done yet: the leader changes voters one at a time, with a majority of them live and only to \
                 nodes that have caught up. Look again with: ottla quorum status"
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Recover {
    async fn run(self, format: Format) -> anyhow::Result<()> {
        let settings = settings_of(self.config.as_deref(), &self.set)?;
        let place = settings.metadata_dir.display().to_string();
        let identity = Identity::read(&RealDisk, &settings.metadata_dir, settings.node_id)?
            .and_then(|identity| identity.membership)
            .with_context(|| format!("metadata.log.dir={place} is not that of a node which is in a cluster"))?;
        let store: Arc<dyn RaftStore> = raft::RocksStore::open(&settings.metadata_dir).with_context(|| {
            format!(
                "metadata.log.dir={place} cannot be opened; the node must be stopped before its quorum is recovered"
            )
        })?;
        let stored = raft::stored_quorum(&store)
            .await
            .with_context(|| format!("metadata.log.dir={place}"))?;
        let me = identity.raft_id;
        if stored.voters == [me].into() {
            bail!("this node is the only voter already: start it");
        }
        let alive = alive(&settings, &identity.cluster_id, &stored, me).await?;
        let answering = alive.iter().filter(|id| stored.voters.contains(id)).count();
        let with_me = answering + usize::from(stored.voters.contains(&me));
        if with_me * 2 > stored.voters.len() {
            bail!(
                "the quorum is not lost: {answering} of the other voters answer, and with this node they are a majority. Start this node"
            );
        }
        if !self.yes {
            plan(format, me, &stored, &alive)?;
            bail!("nothing was changed; add --yes to do it");
        }
        let at = Endpoint {
            host: settings.control.advertised_host.clone(),
            port: settings.control.advertised_port,
        };
        let after = raft::make_sole_voter(&store, me, &at).await?;
        drop(store);
        match format {
            Format::Json => println!(
                "{}",
                json!({"voter": me.0, "log_end": after.last_index.0, "term": after.last_term})
            ),
            Format::Text => println!(
                "Raft id {me} is the only voter now. Start this node first; start or wipe the others when it leads. They learn from it, \
                 and vote again as soon as they have caught up."
            ),
        }
        Ok(())
    }
}

/// Members other than this node whose control plane answers for the same cluster.
async fn alive(
    settings: &Settings,
    cluster_id: &str,
    stored: &StoredQuorum,
    me: RaftId,
) -> anyhow::Result<Vec<RaftId>> {
    let secret = settings.cluster_secret.as_deref().map(secret::read).transpose()?;
    let transport = TonicTransport::new(settings.timings, secret);
    let call = pb::CallRequest {
        envelope: Some(pb::Envelope::default()),
        call: Some(pb::call_request::Call::Controller(pb::ControllerRequest {
            request: Some(Request::Probe(pb::ProbeRequest::default())),
        })),
    };
    let asked = stored.members.iter().filter(|(id, _)| **id != me).map(|(id, at)| {
        let (transport, call) = (&transport, call.clone());
        async move {
            let reply = transport.call(at, call, PROBE).await.ok()?.reply?;
            let pb::call_reply::Reply::Controller(reply) = reply else {
                return None;
            };
            match reply.reply {
                Some(Reply::Probe(probe)) if probe.raft_id == id.0 && probe.cluster_id == cluster_id => Some(*id),
                _ => None,
            }
        }
    });
    Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
}

fn plan(format: Format, me: RaftId, stored: &StoredQuorum, alive: &[RaftId]) -> anyhow::Result<()> {
    let members: Vec<Value> = stored
        .members
        .iter()
        .map(|(id, at)| {
            json!({
                "raft_id": id.0,
                "control": at.to_string(),
                "voter": stored.voters.contains(id),
                "answers": *id == me || alive.contains(id),
            })
        })
        .collect();
    if matches!(format, Format::Json) {
        let plan =
            json!({"raft_id": me.0, "log_end": stored.last_index.0, "term": stored.last_term, "members": members});
        println!("{}", serde_json::to_string_pretty(&plan)?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = members
        .iter()
        .map(|member| {
            let answers = match (member["raft_id"] == json!(me.0), member["answers"] == json!(true)) {
                (true, _) => "this node",
                (_, true) => "answers",
                _ => "silent",
            };
            let role = if member["voter"] == json!(true) {
                "voter"
            } else {
                "learner"
            };
            vec![
                member["raft_id"].to_string(),
                role.to_owned(),
                member["control"].as_str().unwrap_or_default().to_owned(),
                answers.to_owned(),
            ]
        })
        .collect();
    print!("{}", table(&["RAFT ID", "ROLE", "CONTROL", "STATE"], &rows));
    println!(
        "\nThis node's metadata ends at entry {} of term {}. With --yes it becomes the only voter, and what it has is the metadata.\n\
         Risks:\n  - Topics, configs, leaders and ISRs that the lost voters had committed and this node has not received are gone. Run\n    \
         this on every survivor without --yes, and choose the one with the highest term, then the highest entry.\n  - If a majority \
         of the old voters is started again before this node leads, there are two clusters. Wipe them (their\n    metadata.log.dir), \
         or start them only when this node leads.\n  - Records in partitions are not touched; a partition whose in-sync replicas are \
         all lost stays offline.",
        stored.last_index.0, stored.last_term
    );
    Ok(())
}
