use super::table::{list, table};
use super::{Common, Format};
use crate::client::Cluster;
use crate::settings::host_port;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use controller::ClusterStatus;
use metadata::Endpoint;
use raft::Transport;
use serde_json::json;
use std::time::Duration;
use wire::ApiKey;
use wire::messages::describe_configs_request::DescribeConfigsResource;
use wire::messages::{DescribeConfigsRequest, RequestKind, ResponseKind};
use wire::protocol::StrBytes;

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
