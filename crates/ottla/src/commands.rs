//! One file per command. Every one has `--help` with an example, and `--format json`.

mod bench;
mod cluster;
mod consume;
mod control_client;
mod demo;
mod group;
mod json_record;
mod node;
mod produce;
mod quorum;
mod start;
mod table;
mod topic;
mod verify;
mod why;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// A Kafka-protocol event-streaming cluster in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version,
    about,
    max_term_width = 100,
    after_help = "Example: ottla demo"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the cluster is and how to answer.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Nodes to ask first, host:port,host:port,…
    #[arg(
        long,
        short = 'b',
        default_value = "localhost:9092",
        env = "OTTLA_BOOTSTRAP",
        global = true
    )]
    bootstrap: String,
    /// File with the secret of the nodes, for commands that speak to their control planes
    #[arg(long, value_name = "FILE", env = "OTTLA_CLUSTER_SECRET", global = true)]
    cluster_secret: Option<std::path::PathBuf>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster of several nodes on this machine, to try things out
    Demo(demo::Demo),
    /// Start one node
    Start(start::Start),
    /// Create, list, describe, alter and delete topics
    Topic(topic::Topic),
    /// Write records: a line each from standard input, or JSON
    Produce(produce::Produce),
    /// Read records, alone or as a member of a consumer group
    Consume(consume::Consume),
    /// List, describe and delete consumer groups, and move their offsets
    Group(group::Group),
    /// Look at the cluster as a whole
    Cluster(cluster::ClusterCommand),
    /// Look at the voters that keep the metadata, change them, or recover a quorum that is lost
    Quorum(quorum::Quorum),
    /// Say why a partition or a node is as it is, with the evidence, and what to do
    Why(why::Why),
    /// Look at the nodes, empty one, or remove it
    Node(node::NodeCommand),
    /// Put a load on a cluster, Ottla or Kafka, and say what it took
    Bench(bench::Bench),
    /// Try whether a cluster loses anything that it acknowledged: load, faults, and a check of all that clients saw
    Verify(verify::Verify),
}

impl Cli {
    /// What a script is told; failure too where the answer to a question is no.
    ///
    /// # Errors
    /// What went wrong, in words for the person who typed the command.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            // Its answer may be no.
            Command::Cluster(command) => return command.run().await,
            // Its verdict.
            Command::Verify(command) => return Ok(command.run().await),
            Command::Demo(command) => command.run().await,
            Command::Start(command) => command.run().await,
            Command::Topic(command) => command.run().await,
            Command::Produce(command) => command.run().await,
            Command::Consume(command) => command.run().await,
            Command::Group(command) => command.run().await,
            Command::Quorum(command) => command.run().await,
            Command::Why(command) => command.run().await,
            Command::Node(command) => command.run().await,
            Command::Bench(command) => command.run().await,
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent_and_every_command_has_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let leaves: Vec<_> = if command.has_subcommands() {
                command.get_subcommands().collect()
            } else {
                vec![command]
            };
            for leaf in leaves {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", leaf.get_name());
            }
        }
    }
}
