use crate::EXAMPLES_MAX;
use crate::anomaly::{Anomaly, AnomalyKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What the checker says of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing that must not be, and enough happened for that to mean something.
    Clean,
    Anomalous,
    /// Nothing was found, and too little happened for that to mean anything.
    Vacuous,
}

/// How much a history tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub lines: u64,
    pub workers: u64,
    pub partitions: u64,
    pub sent: u64,
    pub acknowledged: u64,
    pub failed: u64,
    /// Nobody knows whether they were written; they may be there or not.
    pub unknown: u64,
    /// Of the unknown, those that were read.
    pub unknown_but_read: u64,
    /// Records given to consumers, once for each consumer.
    pub polled: u64,
    /// Records found by the scan at the end.
    pub scanned: u64,
    /// Partitions that were scanned to their end.
    pub scans: u64,
    pub commits: u64,
    /// Acknowledged records below the log start at the end.
    pub removed: u64,
    /// Between two records that a producer sent one after the other there is another's: allowed.
    pub send_skips: u64,
}

/// The longest time for which a partition had something to write and acknowledged nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub partition: String,
    /// Nanoseconds since the beginning of the history.
    pub from_ns: u64,
    pub length_ns: u64,
}

/// A fault, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    pub name: String,
    pub on: Option<String>,
    /// Nanoseconds since the beginning of the history.
    pub begin_ns: u64,
    /// Nothing where it was not undone.
    pub end_ns: Option<u64>,
    /// Sends acknowledged from its beginning until the next fault began after it was over.
    pub acknowledged: u64,
    /// Of one partition, in the same time.
    pub longest_gap: Option<Gap>,
    /// Of the whole load: nothing was acknowledged anywhere.
    pub longest_gap_of_all: Option<Gap>,
}

/// Time from a record's acknowledgement until a consumer that was reading its partition was given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lag {
    pub records: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

/// Anomalies by kind: all counted, the first [`EXAMPLES_MAX`] of each told in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    pub counts: BTreeMap<AnomalyKind, u64>,
    pub examples: Vec<Anomaly>,
}

impl Findings {
    pub(crate) fn add(&mut self, kind: AnomalyKind, partition: &str, tell: impl FnOnce() -> (String, Vec<String>)) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX as u64 {
            let (what, operations) = tell();
            self.examples.push(Anomaly {
                kind,
                partition: partition.to_owned(),
                what,
                operations,
            });
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// Everything that a history shows. `Display` is for people, in Markdown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    /// Why the history proves nothing, where it does not.
    pub vacuous: Vec<String>,
    /// The history's first line.
    pub run: BTreeMap<String, serde_json::Value>,
    pub counts: Counts,
    pub anomalies: Findings,
    pub faults: Vec<FaultReport>,
    pub longest_gap: Option<Gap>,
    pub lag: Option<Lag>,
    /// What a reader of the report should know beside it.
    pub notes: Vec<String>,
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

impl Report {
    /// The verdict in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (acknowledged, read) = (self.counts.acknowledged, self.counts.polled + self.counts.scanned);
        match self.verdict {
            Verdict::Clean => {
                format!(
                    "CLEAN: {acknowledged} records were acknowledged, {read} read, and nothing was found that must not be."
                )
            }
            Verdict::Anomalous => {
                let kinds: Vec<String> = self
                    .anomalies
                    .counts
                    .iter()
                    .map(|(kind, count)| format!("{count} {kind}"))
                    .collect();
                format!("ANOMALIES: {}.", kinds.join(", "))
            }
            Verdict::Vacuous => format!("VACUOUS: this run proves nothing: {}.", self.vacuous.join("; ")),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, from {})",
            seconds(self.length_ns),
            self.partition,
            seconds(self.from_ns)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.sentence())?;
        let counts = &self.counts;
        writeln!(f, "| what | how many |\n|---|---|")?;
        for (what, count) in [
            ("records sent", counts.sent),
            ("acknowledged", counts.acknowledged),
            ("certainly failed", counts.failed),
            ("nobody knows", counts.unknown),
            ("of these read", counts.unknown_but_read),
            ("given to consumers", counts.polled),
            ("found by the scan at the end", counts.scanned),
            ("partitions", counts.partitions),
            ("of these scanned to the end", counts.scans),
            ("offset commits", counts.commits),
            ("acknowledged records below the log start at the end", counts.removed),
            (
                "other producers' records between two of one producer",
                counts.send_skips,
            ),
        ] {
            writeln!(f, "| {what} | {count} |")?;
        }
        if let Some(gap) = &self.longest_gap {
            writeln!(
                f,
                "\nLongest time without an acknowledgement where one was waited for: {gap}."
            )?;
        }
        if let Some(lag) = &self.lag {
            writeln!(
                f,
                "From acknowledgement to consumer: half within {}, 99 of 100 within {}, at most {} ({} records).",
                seconds(lag.p50_ns),
                seconds(lag.p99_ns),
                seconds(lag.max_ns),
                lag.records
            )?;
        }
        self.tell_faults(f)?;
        for note in &self.notes {
            writeln!(f, "\nNote: {note}.")?;
        }
        if !self.run.is_empty() {
            writeln!(f, "\n## Run\n")?;
            self.run
                .iter()
                .try_for_each(|(key, value)| writeln!(f, "- {key}: {value}"))?;
        }
        self.tell_anomalies(f)
    }
}

impl Report {
    fn tell_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n## Faults\n")?;
        writeln!(
            f,
            "| at | fault | undone after | longest gap of a partition | of the whole load | acknowledged meanwhile |\n|---|---|---|---|---|---|"
        )?;
        for fault in &self.faults {
            let on = fault.on.as_ref().map(|on| format!(" {on}")).unwrap_or_default();
            let undone = fault
                .end_ns
                .map_or("never".to_owned(), |end| seconds(end.saturating_sub(fault.begin_ns)));
            let gap = |gap: &Option<Gap>| gap.as_ref().map_or("none".to_owned(), |gap| seconds(gap.length_ns));
            writeln!(
                f,
                "| {} | {}{on} | {undone} | {} | {} | {} |",
                seconds(fault.begin_ns),
                fault.name,
                gap(&fault.longest_gap),
                gap(&fault.longest_gap_of_all),
                fault.acknowledged
            )?;
        }
        Ok(())
    }

    fn tell_anomalies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.anomalies.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n## Anomalies\n")?;
        for anomaly in &self.anomalies.examples {
            writeln!(f, "- **{}** {}: {}", anomaly.kind, anomaly.partition, anomaly.what)?;
            anomaly
                .operations
                .iter()
                .try_for_each(|operation| writeln!(f, "  - {operation}"))?;
        }
        for (kind, count) in &self.anomalies.counts {
            if *count > EXAMPLES_MAX as u64 {
                writeln!(f, "- and {} more of {kind}", count - EXAMPLES_MAX as u64)?;
            }
        }
        Ok(())
    }
}
