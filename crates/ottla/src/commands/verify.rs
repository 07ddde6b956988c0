//! `ottla verify`: load, faults, and a check of all that clients saw.

mod cluster;
mod faults;
mod group_reader;
mod links;
mod nodes;
mod observer;
mod producer;
mod random;
mod reader;
mod recorder;
mod report;
mod run;
mod scan;
mod value;

use super::Format;
use anyhow::bail;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The exit code where there is no verdict: the run could not be made, or proves nothing.
const NO_VERDICT: u8 = 2;

#[derive(Debug, Args)]
#[command(
    after_help = "Without --bootstrap it starts three nodes on this machine in a temporary directory, and harms them; with it, it writes \
    a topic of its own into that cluster, and harms nothing: faults there are what --hook does.\n\n\
    --hook runs `sh -c CMD` when a fault begins and when it ends, with OTTLA_FAULT (kill, pause, partition, restart), \
    OTTLA_ACTION (begin, end), OTTLA_NODE (a node.id) and OTTLA_BOOTSTRAP in its environment. It ends when the fault is done \
    or undone; another exit code than 0 ends the run.\n\n\
    Exit code: 0 nothing was found that must not be; 1 anomalies were found; 2 it could not run, or too little happened to \
    prove anything.\n\n\
    Example: ottla verify --duration 10m --faults kill,pause,partition,restart\n\
    Example: ottla verify -b db1:9092 --duration 1h --faults restart --hook ./restart-node.sh --report verified\n\
    Example: ottla verify --history verified/history.jsonl"
)]
pub struct Verify {
    /// A cluster that exists, host:port,host:port,…; without it one is started for this
    #[arg(long, short, env = "OTTLA_BOOTSTRAP")]
    bootstrap: Option<String>,
    /// How long the load lasts
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// What is done to the nodes, in turn; all four on a cluster of its own, else none
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<FaultKind>>,
    /// From one fault's beginning to the next, or longer until everything is in sync again
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    fault_every: Duration,
    /// A command that does and undoes faults
    #[arg(long, value_name = "CMD")]
    hook: Option<String>,
    /// For the same keys, batches and order of faults again (their times are the machine's); otherwise drawn and told
    #[arg(long)]
    seed: Option<u64>,
    /// Keep history.jsonl, report.md and report.json here
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Only check this history (docs/history.md says how others write one)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bootstrap", "faults", "hook", "seed"])]
    history: Option<PathBuf>,
    /// Partitions of the topic
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// Idempotent producers, each with one batch in flight
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=200))]
    producers: u16,
    /// Records a second, of all producers together
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What is done to one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FaultKind {
    /// SIGKILL; started again after some seconds
    Kill,
    /// SIGSTOP for some seconds
    Pause,
    /// Cut off from the other nodes for some seconds, but not from clients
    Partition,
    /// Stopped in order, and started again
    Restart,
}

impl FaultKind {
    const ALL: [Self; 4] = [Self::Kill, Self::Pause, Self::Partition, Self::Restart];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Restart => "restart",
        }
    }
}

impl Verify {
    pub async fn run(self) -> ExitCode {
        let outcome = match &self.history {
            Some(file) => report::check_file(file, self.format, self.report.as_deref()),
            None => run::run(&self).await,
        };
        match outcome {
            Ok(history::Verdict::Clean) => ExitCode::SUCCESS,
            Ok(history::Verdict::Anomalous) => ExitCode::FAILURE,
            Ok(history::Verdict::Vacuous) => ExitCode::from(NO_VERDICT),
            Err(error) => {
                eprintln!("ottla: {error:#}");
                ExitCode::from(NO_VERDICT)
            }
        }
    }

    /// The faults of this run.
    fn faults(&self) -> anyhow::Result<Vec<FaultKind>> {
        match (&self.faults, &self.bootstrap, &self.hook) {
            (Some(faults), Some(_), None) if !faults.is_empty() => bail!(
                "--faults with --bootstrap: the nodes of a cluster that exists are not harmed from here. Give the command that \
                 does it (--hook CMD), or leave --faults out and do it yourself while this runs"
            ),
            (Some(faults), _, _) => Ok(faults.clone()),
            (None, None, _) => Ok(FaultKind::ALL.to_vec()),
            (None, Some(_), Some(_)) => bail!("--hook: say with --faults which faults it makes"),
            (None, Some(_), None) => Ok(Vec::new()),
        }
    }
}
