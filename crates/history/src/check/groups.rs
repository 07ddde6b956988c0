use super::Checker;
use super::content::Content;
use crate::anomaly::AnomalyKind;
use crate::collected::{Commit, End, GroupOffset, History, NEVER, NONE};
use std::collections::BTreeMap;

/// What the members of a group were given of one partition.
struct Given {
    /// A bit a rank.
    ranks: Vec<u64>,
    first: usize,
}

/// By group and partition: the acknowledged commit of the highest offset.
pub(super) type LastCommits<'h> = BTreeMap<(u32, u32), &'h Commit>;

pub(super) fn last_commits(history: &History) -> LastCommits<'_> {
    let mut last = LastCommits::new();
    for commit in history.commits.iter().filter(|commit| commit.end == End::Ok) {
        let known = last.entry((commit.group, commit.partition)).or_insert(commit);
        if known.offset < commit.offset {
            *known = commit;
        }
    }
    last
}

/// Below a group's offset every record was given to some member of the group.
pub(super) fn check_skips(checker: &mut Checker<'_>, content: &Content<'_>, last_commits: &LastCommits<'_>) {
    let history = checker.history;
    let mut groups: BTreeMap<u32, Given> = BTreeMap::new();
    let mut guess = 0;
    for seen in &history.seen[content.partition as usize] {
        let group = history.polls[seen.poll as usize].group;
        if group == NONE {
            continue;
        }
        let Some(rank) = content.rank(seen.offset, guess) else {
            continue;
        };
        guess = rank + 1;
        let given = groups.entry(group).or_insert_with(|| Given {
            ranks: vec![0; content.places.len().div_ceil(64)],
            first: rank,
        });
        given.ranks[rank / 64] |= 1 << (rank % 64);
        given.first = given.first.min(rank);
    }
    for (group, given) in groups {
        let Some(last) = last_commits.get(&(group, content.partition)).copied() else {
            continue;
        };
        let until = content.rank_of_next(last.offset);
        let missed = |rank: &usize| given.ranks[rank / 64] & 1 << (rank % 64) == 0 && content.is_owed(*rank);
        let mut missed = (given.first..until).filter(missed);
        if let Some(rank) = missed.next() {
            let more = missed.count();
            checker.found.add(AnomalyKind::GroupSkip, content.name, || {
                let (offset, name) = (content.places[rank].offset, history.groups.name(group));
                let what =
                    format!("no member of group {name} was given offset {offset}, nor {more} others below its offset");
                (what, vec![history.tell_commit(last)])
            });
        }
    }
}

/// Commits and answers of one group about one partition.
#[derive(Default)]
struct Register<'h> {
    /// All that may have happened, by the time of their end.
    commits: Vec<&'h Commit>,
    answers: Vec<&'h GroupOffset>,
    /// (time, offset): beyond this offset no member had been given anything by this time. Both ascending.
    given: Vec<(u64, i64)>,
}

/// An answer to OffsetFetch is what was committed last, or one of those that overlap with it; and not beyond what the group's
/// members were given.
pub(super) fn check_offsets(checker: &mut Checker<'_>) {
    let history = checker.history;
    let mut registers: BTreeMap<(u32, u32), Register<'_>> = BTreeMap::new();
    for answer in &history.group_offsets {
        registers
            .entry((answer.group, answer.partition))
            .or_default()
            .answers
            .push(answer);
    }
    for commit in history.commits.iter().filter(|commit| commit.end != End::Fail) {
        if let Some(register) = registers.get_mut(&(commit.group, commit.partition)) {
            register.commits.push(commit);
        }
    }
    for (seen, partition) in history.seen.iter().zip(0..) {
        for of_poll in seen.chunk_by(|a, b| a.poll == b.poll) {
            let poll = &history.polls[of_poll[0].poll as usize];
            if let Some(register) = registers.get_mut(&(poll.group, partition)) {
                let next = of_poll.iter().map(|seen| seen.offset + 1).max().unwrap_or(0);
                register.given.push((poll.at, next));
            }
        }
    }
    for register in registers.into_values() {
        register.check(checker);
    }
}

impl Register<'_> {
    fn check(mut self, checker: &mut Checker<'_>) {
        self.given.sort_unstable();
        let mut most = 0;
        for (_, offset) in &mut self.given {
            most = most.max(*offset);
            *offset = most;
        }
        self.commits.sort_unstable_by_key(|commit| (commit.ended, commit.line));
        // Of the acknowledged commits up to each, the one that began last: nothing that ended before it began counts any more.
        let mut latest: Vec<&Commit> = Vec::with_capacity(self.commits.len());
        for commit in self.commits.iter().copied().filter(|commit| commit.end == End::Ok) {
            let newer = latest.last().copied().filter(|last| last.invoked > commit.invoked);
            latest.push(newer.unwrap_or(commit));
        }
        let acknowledged: Vec<u64> = self
            .commits
            .iter()
            .filter(|commit| commit.end == End::Ok)
            .map(|commit| commit.ended)
            .collect();
        let mut by_offset: BTreeMap<i64, Vec<&Commit>> = BTreeMap::new();
        for commit in &self.commits {
            by_offset.entry(commit.offset).or_default().push(commit);
        }
        for answer in &self.answers {
            let before = acknowledged.partition_point(|ended| *ended < answer.asked);
            let latest = before.checked_sub(1).and_then(|index| latest.get(index)).copied();
            let explained = match latest {
                None => answer.offset < 0,
                Some(latest) => latest.offset == answer.offset,
            };
            let may_count = |commit: &&Commit| {
                commit.invoked <= answer.at && latest.is_none_or(|latest| ended(commit) >= latest.invoked)
            };
            let explained = explained
                || by_offset
                    .get(&answer.offset)
                    .is_some_and(|commits| commits.iter().any(may_count));
            if !explained {
                self.contradiction(checker, answer, latest);
            }
        }
    }

    fn contradiction(&self, checker: &mut Checker<'_>, answer: &GroupOffset, latest: Option<&Commit>) {
        let history = checker.history;
        let index = self.given.partition_point(|(at, _)| *at <= answer.at);
        let given = index.checked_sub(1).map_or(0, |index| self.given[index].1);
        let beyond = answer.offset > given;
        let kind = if beyond {
            AnomalyKind::GroupBeyondRead
        } else {
            AnomalyKind::GroupRegressed
        };
        checker.found.add(kind, history.partitions.name(answer.partition), || {
            let what = match (beyond, latest) {
                (true, _) => format!(
                    "the group's offset is {}, and its members were given what lies below {given}",
                    answer.offset
                ),
                (false, Some(latest)) => format!(
                    "the group's offset is {} after {} was committed",
                    answer.offset, latest.offset
                ),
                (false, None) => format!("the group's offset is {}, and nobody had committed that", answer.offset),
            };
            let latest = latest.map(|latest| history.tell_commit(latest));
            (
                what,
                latest.into_iter().chain([history.tell_group_offset(answer)]).collect(),
            )
        });
    }
}

/// An unanswered commit may count at any later time.
fn ended(commit: &Commit) -> u64 {
    if commit.end == End::Ok { commit.ended } else { NEVER }
}

/// A partition has one owner in a generation.
pub(super) fn check_owners(checker: &mut Checker<'_>) {
    let history = checker.history;
    let mut owners = BTreeMap::new();
    for owner in &history.owners {
        let first = *owners
            .entry((owner.group, owner.generation, owner.partition))
            .or_insert(owner);
        if first.worker != owner.worker {
            checker
                .found
                .add(AnomalyKind::TwoOwners, history.partitions.name(owner.partition), || {
                    let name = history.workers.name(owner.worker);
                    let (group, first_name) = (history.groups.name(owner.group), history.workers.name(first.worker));
                    let what = format!(
                        "{first_name} and {name} own it in generation {} of group {group}",
                        owner.generation
                    );
                    let tell = |line: u32, name: &str| format!("line {line}: {name} was assigned it");
                    (what, vec![tell(first.line, first_name), tell(owner.line, name)])
                });
        }
    }
}
