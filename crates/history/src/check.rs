mod content;
mod gaps;
mod groups;
mod known;
mod leaders;
mod order;

use crate::collected::{End, History, NO_OFFSET, NONE};
use crate::histogram::Histogram;
use crate::report::{Counts, Findings, Lag, Report, Verdict};
use content::Content;
use std::collections::HashMap;

/// How much a history must hold for "nothing was found" to mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// Acknowledged sends of the whole run.
    pub acknowledged_min: u64,
    /// Acknowledged sends from each fault's beginning until the next begins after it is over, or the end.
    pub acknowledged_per_fault_min: u64,
    /// Records read by anybody.
    pub read_min: u64,
}

impl Default for Demands {
    fn default() -> Self {
        Self {
            acknowledged_min: 1,
            acknowledged_per_fault_min: 10,
            read_min: 1,
        }
    }
}

/// What the checks of one history share and find.
struct Checker<'h> {
    history: &'h History,
    counts: Counts,
    found: Findings,
    notes: Vec<String>,
    lag: Histogram,
    /// By send.
    read: Vec<Where>,
    /// Where sends were found of which no broker had said it.
    found_at: HashMap<u32, (u32, i64)>,
}

/// Where the value of a send was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Where {
    read: bool,
    in_final: bool,
}

impl History {
    /// Everything that it shows, in time and memory near linear in its length.
    #[must_use]
    pub fn check(&self, demands: &Demands) -> Report {
        let sends_of = self.sends_by_partition();
        let last_commits = groups::last_commits(self);
        let mut checker = Checker::new(self);
        for (sends, partition) in sends_of.iter().zip(0..) {
            let content = Content::collect(&mut checker, partition, sends);
            content.check_losses(&mut checker);
            order::check_polls(&mut checker, &content);
            order::check_sends(&mut checker, &content);
            groups::check_skips(&mut checker, &content, &last_commits);
            known::check(&mut checker, &content);
        }
        content::check_unplaced(&mut checker);
        groups::check_offsets(&mut checker);
        groups::check_owners(&mut checker);
        leaders::check(&mut checker);
        checker.report(demands, &sends_of)
    }

    /// Each in the order of invocations.
    fn sends_by_partition(&self) -> Vec<Vec<u32>> {
        let mut sends_of = vec![Vec::new(); self.seen.len()];
        for (send, index) in self.sends.iter().zip(0..) {
            if send.partition != NONE {
                sends_of[send.partition as usize].push(index);
            }
        }
        sends_of
    }
}

impl<'h> Checker<'h> {
    fn new(history: &'h History) -> Self {
        let mut counts = Counts {
            lines: u64::from(history.line()),
            workers: history.workers.len() as u64,
            partitions: history.partitions.len() as u64,
            sent: history.sends.len() as u64,
            scans: history.scans.len() as u64,
            commits: history.commits.len() as u64,
            ..Counts::default()
        };
        for send in &history.sends {
            match send.end {
                End::Ok => counts.acknowledged += 1,
                End::Fail => counts.failed += 1,
                End::Info => counts.unknown += 1,
            }
        }
        for seen in history.seen.iter().flatten() {
            if history.polls[seen.poll as usize].is_final {
                counts.scanned += 1;
            } else {
                counts.polled += 1;
            }
        }
        Self {
            history,
            counts,
            found: Findings::default(),
            notes: history.notes.clone(),
            lag: Histogram::new(),
            read: vec![Where::default(); history.sends.len()],
            found_at: HashMap::new(),
        }
    }

    /// Another place of the send's value, if it was found at another one before.
    fn other_place(&mut self, send: u32, partition: u32, offset: i64) -> Option<(u32, i64)> {
        let named = self.history.sends[send as usize].offset;
        // Where the broker named the offset, that is where it is to be; only the others need a memory.
        if named != NO_OFFSET {
            return (named != offset).then_some((partition, named));
        }
        let before = self.found_at.insert(send, (partition, offset));
        before.filter(|place| *place != (partition, offset))
    }

    fn report(mut self, demands: &Demands, sends_of: &[Vec<u32>]) -> Report {
        let (faults, longest_gap) = gaps::measure(self.history, sends_of);
        let read = self.read.iter().zip(&self.history.sends);
        let unknown_but_read = read.filter(|(at, send)| at.read && send.end == End::Info).count();
        self.counts.unknown_but_read = unknown_but_read as u64;
        let mut vacuous = Vec::new();
        let counts = &self.counts;
        if counts.acknowledged < demands.acknowledged_min {
            let (have, want) = (counts.acknowledged, demands.acknowledged_min);
            vacuous.push(format!("{have} sends were acknowledged, fewer than {want}"));
        }
        let read = counts.polled + counts.scanned;
        if read < demands.read_min {
            vacuous.push(format!("{read} records were read, fewer than {}", demands.read_min));
        }
        for fault in &faults {
            if fault.acknowledged < demands.acknowledged_per_fault_min {
                vacuous.push(format!(
                    "after the beginning of fault {} at {} only {} sends were acknowledged, fewer than {}",
                    fault.name,
                    self.history.time(self.history.began.saturating_add(fault.begin_ns)),
                    fault.acknowledged,
                    demands.acknowledged_per_fault_min
                ));
            }
        }
        let verdict = match (self.found.is_empty(), vacuous.is_empty()) {
            (false, _) => Verdict::Anomalous,
            (true, false) => Verdict::Vacuous,
            (true, true) => Verdict::Clean,
        };
        let mut run = self.history.header.about.clone();
        run.insert("keeps".into(), self.history.header.keeps.into());
        run.insert("ordered".into(), self.history.header.ordered.into());
        Report {
            verdict,
            vacuous,
            run,
            counts: self.counts,
            anomalies: self.found,
            faults,
            longest_gap,
            lag: (self.lag.total() > 0).then(|| Lag {
                records: self.lag.total(),
                p50_ns: self.lag.quantile(500),
                p99_ns: self.lag.quantile(990),
                max_ns: self.lag.max(),
            }),
            notes: self.notes,
        }
    }
}
