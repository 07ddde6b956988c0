use crate::collected::{End, Fault, History, NEVER};
use crate::report::{FaultReport, Gap};

/// From `from` to `to` something was waited for, and nothing was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    from: u64,
    to: u64,
}

impl Silence {
    fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    fn gap(self, history: &History, partition: &str) -> Gap {
        Gap {
            partition: partition.to_owned(),
            from_ns: self.from.saturating_sub(history.began),
            length_ns: self.length(),
        }
    }
}

/// What each fault cost, and the longest gap of all partitions.
pub(super) fn measure(history: &History, sends_of: &[Vec<u32>]) -> (Vec<FaultReport>, Option<Gap>) {
    let load_end = history
        .sends
        .iter()
        .map(|send| if send.ended == NEVER { send.invoked } else { send.ended })
        .max();
    let load_end = load_end.unwrap_or(0);
    let windows: Vec<Silence> = history
        .faults
        .iter()
        .map(|fault| window(history, fault, load_end))
        .collect();
    let mut acknowledged: Vec<u64> = history
        .sends
        .iter()
        .filter(|send| send.end == End::Ok)
        .map(|send| send.ended)
        .collect();
    acknowledged.sort_unstable();
    let until = |at: u64| acknowledged.partition_point(|ended| *ended < at) as u64;
    let mut reports: Vec<FaultReport> = history
        .faults
        .iter()
        .zip(&windows)
        .map(|(fault, window)| FaultReport {
            name: fault.name.clone(),
            on: fault.on.clone(),
            begin_ns: fault.begin - history.began,
            end_ns: (fault.end != NEVER).then(|| fault.end - history.began),
            acknowledged: until(window.to.saturating_add(1)) - until(window.from),
            longest_gap: None,
            longest_gap_of_all: None,
        })
        .collect();
    let mut longest: Option<Gap> = None;
    for (sends, partition) in sends_of.iter().zip(0..) {
        let name = history.partitions.name(partition);
        let silences = silences(history, sends.iter().copied(), load_end);
        if let Some(silence) = silences.iter().max_by_key(|silence| silence.length()) {
            keep_longer(&mut longest, silence.gap(history, name));
        }
        for (report, window) in reports.iter_mut().zip(&windows) {
            if let Some(silence) = longest_within(&silences, *window) {
                keep_longer(&mut report.longest_gap, silence.gap(history, name));
            }
        }
    }
    let all = silences(history, (0..).take(history.sends.len()), load_end);
    for (report, window) in reports.iter_mut().zip(&windows) {
        report.longest_gap_of_all = longest_within(&all, *window).map(|silence| silence.gap(history, "all partitions"));
    }
    (reports, longest)
}

/// Until the next fault begins after this one is over: what a fault costs may show after its end.
fn window(history: &History, fault: &Fault, load_end: u64) -> Silence {
    let end = if fault.end == NEVER { load_end } else { fault.end };
    let next = history
        .faults
        .iter()
        .map(|other| other.begin)
        .filter(|begin| *begin > fault.begin && *begin >= end)
        .min();
    Silence {
        from: fault.begin,
        to: next.unwrap_or(load_end).max(fault.begin),
    }
}

fn keep_longer(known: &mut Option<Gap>, gap: Gap) {
    if known.as_ref().is_none_or(|known| known.length_ns < gap.length_ns) {
        *known = Some(gap);
    }
}

/// Of what lies within the window: what was silent before a fault began is not its cost.
fn longest_within(silences: &[Silence], window: Silence) -> Option<Silence> {
    let first = silences.partition_point(|silence| silence.to <= window.from);
    let within = silences[first..].iter().take_while(|silence| silence.from < window.to);
    let clipped = within.map(|silence| Silence {
        from: silence.from.max(window.from),
        to: silence.to.min(window.to),
    });
    clipped.max_by_key(|silence| silence.length())
}

/// Ascending and disjoint. A silence begins when something is sent and nothing else is waited for, or with an acknowledgement
/// that leaves others waiting; it ends with the next acknowledgement. A send that failed was not served, so it ends nothing.
fn silences(history: &History, sends: impl Iterator<Item = u32>, load_end: u64) -> Vec<Silence> {
    // (time, what): a send's beginning counts before an end at the same time.
    let mut turns: Vec<(u64, Turn)> = Vec::new();
    for index in sends {
        let send = &history.sends[index as usize];
        turns.push((send.invoked, Turn::Begins));
        match send.end {
            End::Ok => turns.push((send.ended, Turn::Acknowledged)),
            _ if send.ended != NEVER => turns.push((send.ended, Turn::GivenUp)),
            _ => {}
        }
    }
    turns.sort_unstable();
    let mut silences = Vec::new();
    let mut waiting: u64 = 0;
    let mut since: Option<u64> = None;
    for (at, turn) in turns {
        match turn {
            Turn::Begins => {
                waiting += 1;
                since = since.or(Some(at));
            }
            Turn::GivenUp => waiting -= 1,
            Turn::Acknowledged => {
                waiting -= 1;
                let from = since.unwrap_or(at);
                silences.push(Silence { from, to: at });
                since = (waiting > 0).then_some(at);
            }
        }
    }
    if let Some(from) = since.filter(|from| *from < load_end) {
        silences.push(Silence { from, to: load_end });
    }
    silences
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Begins,
    GivenUp,
    Acknowledged,
}
