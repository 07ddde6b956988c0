//! What clients of a cluster asked for and what they were told, and whether it can be the work of a log that loses nothing.
//!
//! A run is a [`History`]: [`Event`]s in the order in which each worker saw them, pushed as they happen or read from JSON
//! lines ([`read`], format: `docs/history.md`). [`History::check`] finds what must not be, in the manner of Jepsen's Kafka
//! workload: anomalies, each with the operations that show it. It is judged by what clients saw alone, so it works against
//! any broker.

mod anomaly;
mod check;
mod collected;
mod event;
mod header;
mod histogram;
mod line;
mod names;
mod operation;
mod reader;
mod report;

pub use anomaly::{Anomaly, AnomalyKind};
pub use check::Demands;
pub use collected::{History, PushError};
pub use event::{Body, Event, Outcome, Read};
pub use header::Header;
pub use line::{LineError, write_event};
pub use reader::{HistoryError, read};
pub use report::{Counts, FaultReport, Findings, Gap, Lag, Report, Verdict};

/// A longer line of a history file is an error.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Anomalies of one kind that a report tells in full; the others are counted.
pub const EXAMPLES_MAX: usize = 20;
