mod json_lines;

use crate::settings::Settings;
use json_lines::JsonLines;
use tracing_subscriber::EnvFilter;
use types::NodeId;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// `log.format`.
    pub fn of(settings: &Settings) -> Self {
        match settings.properties.get("log.format").map(String::as_str) {
            Some("json") => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Log lines go to standard error; `OTTLA_LOG` filters them (`info`, `broker=debug,info`, …).
pub fn start(format: LogFormat, node_id: NodeId) {
    let filter = EnvFilter::try_from_env("OTTLA_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,openraft=warn,h2=warn,tonic=warn"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.event_format(JsonLines::new(node_id)).try_init(),
    };
    if let Err(error) = started {
        eprintln!("ottla: logging was started before: {error}");
    }
    // A panic is a line like any other, for whoever reads them by program.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let why = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(at, why, "a panic: an invariant of this program does not hold");
    }));
}
