//! `ottla group`: a file for each action that is more than one request.

mod describe;
mod list;
mod offsets;
mod reset;
mod topic_partitions;

use super::{Common, Format};
use crate::client::{self, Cluster};
use clap::{Args, Subcommand};
use reset::Target;
use serde_json::json;
use topic_partitions::TopicPartitions;

#[derive(Debug, Args)]
pub struct Group {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the groups and how they are
    #[command(after_help = "Example: ottla group list --state stable")]
    List {
        /// Only those in this state: Empty, PreparingRebalance, CompletingRebalance, Stable
        #[arg(long)]
        state: Option<String>,
    },
    /// Show how far a group has read, and who reads what
    #[command(after_help = "Example: ottla group describe billing --members")]
    Describe {
        group: String,
        /// Its members and their partitions
        #[arg(long)]
        members: bool,
        /// Only how it is
        #[arg(long, conflicts_with = "members")]
        state: bool,
    },
    /// Move a group's offsets: shows what would become of them, and does it with --yes
    #[command(after_help = "Example: ottla group reset billing --to-earliest --topic orders\n\
        Example: ottla group reset billing --shift-by -100 --topic orders:0,1 --yes")]
    Reset {
        group: String,
        #[command(flatten)]
        target: Target,
        /// Only of this topic, or of these partitions of it, TOPIC:0,1,…; without it of all that it has committed
        #[arg(long, short)]
        topic: Vec<TopicPartitions>,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Delete a group without members, and its offsets
    #[command(after_help = "Example: ottla group delete billing")]
    Delete { group: String },
    /// Delete the offsets that a group has committed in topics that it does not read any more
    #[command(after_help = "Example: ottla group delete-offsets billing --topic orders:0,1")]
    DeleteOffsets {
        group: String,
        /// A topic, or partitions of it, TOPIC:0,1,…
        #[arg(long, short, required = true)]
        topic: Vec<TopicPartitions>,
    },
}

impl Group {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut cluster = Cluster::new(&self.common.bootstrap);
        let format = self.common.format;
        match self.action {
            Action::List { state } => list::list(&mut cluster, format, state).await,
            Action::Describe { group, members, state } => {
                let group = client::Group::new(&group);
                describe::describe(&mut cluster, format, group, members, state).await
            }
            Action::Reset {
                group,
                target,
                topic,
                yes,
            } => {
                let group = client::Group::new(&group);
                reset::reset(&mut cluster, format, group, target.start()?, &topic, yes).await
            }
            Action::Delete { group } => delete(&mut cluster, format, client::Group::new(&group)).await,
            Action::DeleteOffsets { group, topic } => {
                delete_offsets(&mut cluster, format, client::Group::new(&group), &topic).await
            }
        }
    }
}

async fn delete(cluster: &mut Cluster, format: Format, mut group: client::Group) -> anyhow::Result<()> {
    group.delete(cluster).await?;
    match format {
        Format::Text => println!("deleted group {}", group.id()),
        Format::Json => println!("{}", json!({"deleted": group.id()})),
    }
    Ok(())
}

async fn delete_offsets(
    cluster: &mut Cluster,
    format: Format,
    mut group: client::Group,
    topics: &[TopicPartitions],
) -> anyhow::Result<()> {
    let places = topic_partitions::places(cluster, topics).await?;
    group.delete_offsets(cluster, &places).await?;
    match format {
        Format::Text => println!(
            "deleted the offsets of group {} in {} partitions",
            group.id(),
            places.len()
        ),
        Format::Json => {
            let one = |(topic, partition): &client::Place| json!({"topic": topic, "partition": partition});
            let partitions: Vec<_> = places.iter().map(one).collect();
            println!("{}", json!({"group": group.id(), "deleted": partitions}));
        }
    }
    Ok(())
}
