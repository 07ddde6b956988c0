use super::Checker;
use super::content::Content;
use crate::anomaly::AnomalyKind;
use crate::collected::{Bounds, End, History, NO_OFFSET};

/// At this time the log was committed up to `end` (exclusive), since somebody had been told so.
struct Witness {
    at: u64,
    end: i64,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    Send(u32),
    Poll(u32),
    Bounds(u32),
}

/// Something that began at this time, and must show a log of at least what was known by then.
struct Question {
    at: u64,
    end: i64,
    source: Source,
}

/// What was known to be committed stays so: a record that is sent afterwards lies behind it, and a high watermark that is
/// asked for afterwards is not below it. Only what was over before the other began is compared.
pub(super) fn check(checker: &mut Checker<'_>, content: &Content<'_>) {
    let history = checker.history;
    let bounds: Vec<(u32, &Bounds)> = (0..)
        .zip(&history.bounds)
        .filter(|(_, bounds)| bounds.partition == content.partition)
        .collect();
    let mut witnesses = witnesses(history, content, &bounds);
    witnesses.sort_unstable_by_key(|witness| witness.at);
    let mut questions = questions(history, content, &bounds);
    questions.sort_unstable_by_key(|question| question.at);
    let mut witnesses = witnesses.into_iter().peekable();
    let mut best: Option<Witness> = None;
    for question in questions {
        while let Some(witness) = witnesses.next_if(|witness| witness.at < question.at) {
            if best.as_ref().is_none_or(|best| best.end < witness.end) {
                best = Some(witness);
            }
        }
        if let Some(best) = best.as_ref().filter(|best| best.end > question.end) {
            contradiction(checker, content, best, &question);
        }
    }
    check_log_starts(checker, content, bounds);
}

fn witnesses(history: &History, content: &Content<'_>, bounds: &[(u32, &Bounds)]) -> Vec<Witness> {
    let mut witnesses = Vec::with_capacity(content.sends.len());
    for index in content.sends.iter().copied() {
        let send = &history.sends[index as usize];
        if send.end == End::Ok && send.offset != NO_OFFSET {
            witnesses.push(Witness {
                at: send.ended,
                end: send.offset + 1,
                source: Source::Send(index),
            });
        }
    }
    let seen = &history.seen[content.partition as usize];
    for of_poll in seen.chunk_by(|a, b| a.poll == b.poll) {
        let poll = of_poll[0].poll;
        witnesses.push(Witness {
            at: history.polls[poll as usize].at,
            end: of_poll.iter().map(|seen| seen.offset + 1).max().unwrap_or(0),
            source: Source::Poll(poll),
        });
    }
    witnesses.extend(bounds.iter().filter_map(|(index, bounds)| {
        Some(Witness {
            at: bounds.at,
            end: bounds.high_watermark?,
            source: Source::Bounds(*index),
        })
    }));
    witnesses
}

fn questions(history: &History, content: &Content<'_>, bounds: &[(u32, &Bounds)]) -> Vec<Question> {
    let mut questions = Vec::with_capacity(content.sends.len());
    for index in content.sends.iter().copied() {
        let send = &history.sends[index as usize];
        if send.end == End::Ok && send.offset != NO_OFFSET {
            questions.push(Question {
                at: send.invoked,
                end: send.offset,
                source: Source::Send(index),
            });
        }
    }
    questions.extend(bounds.iter().filter_map(|(index, bounds)| {
        Some(Question {
            at: bounds.asked,
            end: bounds.high_watermark?,
            source: Source::Bounds(*index),
        })
    }));
    questions
}

fn contradiction(checker: &mut Checker<'_>, content: &Content<'_>, known: &Witness, question: &Question) {
    let history = checker.history;
    let last = known.end - 1;
    let tell = |source| match source {
        Source::Send(index) => history.tell_send(index),
        Source::Bounds(index) => history.tell_bounds(&history.bounds[index as usize]),
        Source::Poll(poll) => {
            let seen = &history.seen[content.partition as usize];
            let value = seen
                .iter()
                .find(|seen| seen.poll == poll && seen.offset == last)
                .map(|seen| seen.value);
            history.tell_read(poll, last, value)
        }
    };
    let kind = match question.source {
        Source::Send(_) => AnomalyKind::NonmonotonicSend,
        _ => AnomalyKind::HighWatermarkRegressed,
    };
    checker.found.add(kind, content.name, || {
        let what = if kind == AnomalyKind::NonmonotonicSend {
            format!(
                "offset {} was given to a record that was sent after offset {last} was known",
                question.end
            )
        } else {
            format!("the high watermark was {} after offset {last} was known", question.end)
        };
        (what, vec![tell(known.source), tell(question.source)])
    });
}

fn check_log_starts(checker: &mut Checker<'_>, content: &Content<'_>, mut bounds: Vec<(u32, &Bounds)>) {
    let history = checker.history;
    bounds.retain(|(_, bounds)| bounds.log_start.is_some());
    let mut by_end = bounds.clone();
    by_end.sort_unstable_by_key(|(_, bounds)| bounds.at);
    bounds.sort_unstable_by_key(|(_, bounds)| bounds.asked);
    let mut known = by_end.into_iter().peekable();
    let mut highest: Option<&Bounds> = None;
    for (_, later) in bounds {
        while let Some((_, earlier)) = known.next_if(|(_, earlier)| earlier.at < later.asked) {
            if highest.is_none_or(|highest| highest.log_start < earlier.log_start) {
                highest = Some(earlier);
            }
        }
        if let Some(earlier) = highest.filter(|highest| highest.log_start > later.log_start) {
            checker.found.add(AnomalyKind::LogStartRegressed, content.name, || {
                let start = |bounds: &Bounds| bounds.log_start.unwrap_or(0);
                let what = format!("the log start was {}, and then {}", start(earlier), start(later));
                (what, vec![history.tell_bounds(earlier), history.tell_bounds(later)])
            });
        }
    }
}
