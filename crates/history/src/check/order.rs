use super::Checker;
use super::content::Content;
use crate::anomaly::AnomalyKind;
use crate::collected::{End, NEVER, NO_OFFSET, Seen};
use std::collections::HashMap;

/// How far a consumer has come in a partition.
struct Position<'h> {
    session: u32,
    /// When the session's first records came.
    since: u64,
    rank: usize,
    last: &'h Seen,
}

/// Each consumer is given record after record, from wherever an assignment or a seek put it; and how long after their
/// acknowledgement it is given them.
pub(super) fn check_polls<'h>(checker: &mut Checker<'h>, content: &Content<'h>) {
    let history = checker.history;
    let mut positions: HashMap<(u32, bool), Position<'h>> = HashMap::new();
    for seen in &history.seen[content.partition as usize] {
        let poll = &history.polls[seen.poll as usize];
        let reader = (poll.worker, poll.is_final);
        let before = positions
            .get(&reader)
            .filter(|position| position.session == poll.session);
        let Some(rank) = content.rank(seen.offset, before.map_or(0, |position| position.rank + 1)) else {
            continue;
        };
        let since = before.map_or(poll.at, |position| position.since);
        if let Some(before) = before {
            check_step(checker, content, before, rank, seen);
        }
        let acknowledged_at = content.places[rank].acknowledged_at;
        if !poll.is_final && acknowledged_at != NEVER && acknowledged_at >= since {
            checker.lag.add(poll.at.saturating_sub(acknowledged_at));
        }
        let position = Position {
            session: poll.session,
            since,
            rank,
            last: seen,
        };
        positions.insert(reader, position);
    }
}

fn check_step(checker: &mut Checker<'_>, content: &Content<'_>, before: &Position<'_>, rank: usize, seen: &Seen) {
    let history = checker.history;
    let told = || {
        let last = before.last;
        vec![
            history.tell_read(last.poll, last.offset, Some(last.value)),
            history.tell_read(seen.poll, seen.offset, Some(seen.value)),
        ]
    };
    if rank <= before.rank {
        checker.found.add(AnomalyKind::NonmonotonicPoll, content.name, || {
            let what = format!("offset {} was given after offset {}", seen.offset, before.last.offset);
            (what, told())
        });
        return;
    }
    // What a complete scan did not find is lost, and told as that.
    if history.polls[seen.poll as usize].is_final && content.is_scanned() {
        return;
    }
    if let Some(skipped) = (before.rank + 1..rank).find(|rank| content.is_owed(*rank)) {
        checker.found.add(AnomalyKind::PollSkip, content.name, || {
            let (from, to) = (before.last.offset, seen.offset);
            let skipped = content.places[skipped].offset;
            let what = format!("offset {to} was given after offset {from}, and others were given {skipped}");
            (what, told())
        });
    }
}

/// Where a producer promises order, its records lie in the order in which it sent them.
pub(super) fn check_sends(checker: &mut Checker<'_>, content: &Content<'_>) {
    let history = checker.history;
    let mut last: HashMap<u32, u32> = HashMap::new();
    for index in content.sends.iter().copied() {
        let send = &history.sends[index as usize];
        if send.end != End::Ok || send.offset == NO_OFFSET {
            continue;
        }
        let Some(before) = last.insert(send.worker, index) else {
            continue;
        };
        let offset = history.sends[before as usize].offset;
        checker.counts.send_skips += u64::from(send.offset > offset + 1);
        if history.header.ordered && send.offset <= offset {
            checker.found.add(AnomalyKind::NonmonotonicSend, content.name, || {
                let what = format!(
                    "{} sent {} after {}, and it lies before it",
                    history.workers.name(send.worker),
                    send.value,
                    history.sends[before as usize].value
                );
                (what, vec![history.tell_send(before), history.tell_send(index)])
            });
        }
    }
}
