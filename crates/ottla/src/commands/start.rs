use crate::Node;
use crate::logging::{self, LogFormat};
use crate::preflight;
use crate::secret;
use crate::settings::Settings;
use anyhow::Context;
use clap::Args;
use host::{HostRef, RealHost};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What `--announce-ready` prints on standard output.
pub const READY: &str = "ready";

#[derive(Debug, Args)]
#[command(
    after_help = "Example: ottla start --config server.properties --join a:19092,b:19092,c:19092\n\
    Example: ottla start --set node.id=0 --set log.dirs=/var/lib/ottla --found"
)]
pub struct Start {
    /// A server.properties file with Kafka's own names
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Control addresses of the founders, host:port,…, in the same order on every node
    #[arg(long)]
    join: Option<String>,
    /// A property that overrides the file and the environment, name=value
    #[arg(long)]
    set: Vec<String>,
    /// Found a new cluster alone, although others can reach this node
    #[arg(long, conflicts_with = "join")]
    found: bool,
    /// How log lines look, if not as log.format says
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// Print "ready" on standard output once the node is registered, unfenced and up to date
    #[arg(long)]
    announce_ready: bool,
    /// Stop when the parent process ends
    #[arg(long, hide = true)]
    die_with_parent: bool,
}

impl Start {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.die_with_parent {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .context("cannot ask to be told of the parent's end")?;
        }
        host::disable_huge_pages();
        let mut settings = self.settings()?;
        let format = self.log_format.unwrap_or_else(|| LogFormat::of(&settings));
        logging::start(format, settings.node_id);
        let secret = secret::of_node(&settings)?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let host: HostRef = Arc::new(RealHost::new());
        preflight::check(&host, &mut settings).await?;
        for warning in &settings.warnings {
            tracing::warn!(warning, "a setting is not what it seems");
        }
        let store = raft::RocksStore::open(&settings.metadata_dir).with_context(|| {
            format!(
                "metadata.log.dir={}: the metadata log cannot be opened. If its files are damaged and other nodes are voters, move \
                 the directory away: this node then joins as a new member and is sent the metadata",
                settings.metadata_dir.display()
            )
        })?;
        let transport = Arc::new(raft::TonicTransport::new(settings.timings, secret.clone()));
        let node_id = settings.node_id;
        let mut node = Node::start(host, settings, secret, store, transport).await?;
        tokio::select! {
            outcome = node.ready() => {
                if let Err(error) = outcome {
                    // In order: RocksDB must be closed when the process ends.
                    node.stop().await;
                    return Err(error.into());
                }
                tracing::info!(%node_id, "ready");
                if self.announce_ready {
                    println!("{READY}");
                }
            }
            // It serves nobody yet: there is nothing to hand over.
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
        tokio::select! {
            _ = interrupt.recv() => tracing::info!(%node_id, "SIGINT: stopping"),
            _ = terminate.recv() => tracing::info!(%node_id, "SIGTERM: stopping"),
            problem = node.failed() => {
                tracing::error!(%node_id, problem, "the node cannot go on");
                anyhow::bail!(problem);
            }
        }
        tokio::select! {
            () = node.stop() => tracing::info!(%node_id, "stopped"),
            _ = interrupt.recv() => tracing::warn!(%node_id, "second signal: ending at once"),
            _ = terminate.recv() => tracing::warn!(%node_id, "second signal: ending at once"),
        }
        Ok(())
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut flags = self.set.clone();
        if let Some(join) = &self.join {
            flags.push(format!("join={join}"));
        }
        if self.found {
            flags.push("found=true".to_owned());
        }
        settings_of(self.config.as_deref(), &flags)
    }
}

/// What the node of this file, the environment and these flags is told.
///
/// # Errors
/// The file cannot be read, or says something that a node does not understand.
pub fn settings_of(config: Option<&Path>, flags: &[String]) -> anyhow::Result<Settings> {
    let file = match config {
        Some(path) => Some((
            path.display().to_string(),
            std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?,
        )),
        None => None,
    };
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Settings::read(file, std::env::vars(), flags)?)
}
