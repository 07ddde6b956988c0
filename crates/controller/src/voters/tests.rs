use super::*;

/// `(raft id, node id, rack, live, matched)`.
type Row = (u64, i32, &'static str, bool, u64);

fn group(voters: &[u64], wanted: usize, rows: &[Row]) -> Group {
    let voters: BTreeSet<RaftId> = voters.iter().copied().map(RaftId).collect();
    let members: BTreeMap<RaftId, MemberView> = rows
        .iter()
        .map(|(id, node, rack, live, matched)| {
            let rack = (!rack.is_empty()).then(|| (*rack).to_owned());
            (
                RaftId(*id),
                MemberView {
                    node_id: NodeId(*node),
                    rack,
                    live: *live,
                    silent: Duration::ZERO,
                    matched: Some(LogIndex(*matched)),
                    vote_withheld: false,
                },
            )
        })
        .collect();
    let learners = members.keys().filter(|id| !voters.contains(id)).copied().collect();
    Group {
        leader: RaftId(1),
        voters,
        learners,
        members,
        committed: LogIndex(10),
        wanted,
        replacement_timeout: TIMEOUT,
    }
}

const TIMEOUT: Duration = Duration::from_secs(60);

impl Group {
    fn silent(mut self, id: u64, silent: Duration) -> Self {
        let member = self.members.get_mut(&RaftId(id)).unwrap();
        (member.live, member.silent) = (false, silent);
        self
    }

    fn behind(mut self, id: u64) -> Self {
        self.members.get_mut(&RaftId(id)).unwrap().matched = Some(LogIndex(9));
        self
    }

    fn withheld(mut self, id: u64) -> Self {
        self.members.get_mut(&RaftId(id)).unwrap().vote_withheld = true;
        self
    }
}

/// Voters 1 to 3 and learner 4, of nodes 0 to 3 in these racks, all live and up to date.
fn spread(racks: &'static str) -> Group {
    let rows: Vec<Row> = (0..4usize)
        .map(|at| (at as u64 + 1, at as i32, racks[at..=at].trim(), true, 10))
        .collect();
    group(&[1, 2, 3], 3, &rows)
}

#[test]
fn one_change_at_a_time_and_only_when_safe() {
    use VoterChange::{Demote, HandOver, Promote, Replace};
    let replaced = Replace {
        old: RaftId(2),
        new: RaftId(4),
    };
    let replace = Some(replaced);
    let cases: &[(&str, Group, Option<VoterChange>)] = &[
        ("alone", group(&[1], 3, &[(1, 0, "", true, 10)]), None),
        (
            "a learner that caught up",
            group(&[1], 3, &[(1, 0, "", true, 10), (2, 1, "", true, 10)]),
            Some(Promote(RaftId(2))),
        ),
        (
            "a learner that has not",
            group(&[1], 3, &[(1, 0, "", true, 10), (2, 1, "", true, 9)]),
            None,
        ),
        (
            "a learner that is silent",
            group(&[1], 3, &[(1, 0, "", true, 10), (2, 1, "", false, 10)]),
            None,
        ),
        (
            "enough voters",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", true, 10),
                    (3, 2, "", true, 10),
                    (4, 3, "", true, 10),
                ],
            ),
            None,
        ),
        (
            "another rack first",
            group(
                &[1],
                3,
                &[(1, 0, "a", true, 10), (2, 1, "a", true, 10), (3, 2, "b", true, 10)],
            ),
            Some(Promote(RaftId(3))),
        ),
        (
            "one of two voters is gone: no majority",
            group(
                &[1, 2],
                3,
                &[(1, 0, "", true, 10), (2, 1, "", false, 10), (3, 2, "", true, 10)],
            ),
            None,
        ),
        (
            "wiped and back",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", false, 10),
                    (3, 2, "", true, 10),
                    (4, 1, "", true, 10),
                ],
            ),
            replace,
        ),
        (
            "wiped and back, not caught up",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", false, 10),
                    (3, 2, "", true, 10),
                    (4, 1, "", true, 3),
                ],
            ),
            None,
        ),
        (
            "wiped and back while another is gone: no majority",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", false, 10),
                    (3, 2, "", false, 10),
                    (4, 1, "", true, 10),
                ],
            ),
            None,
        ),
        (
            "two wiped and back: not even then",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", false, 9),
                    (3, 2, "", false, 9),
                    (4, 1, "", true, 10),
                    (5, 2, "", true, 10),
                ],
            ),
            None,
        ),
        (
            "wiped twice: the newest life",
            group(
                &[1, 2, 3],
                3,
                &[
                    (1, 0, "", true, 10),
                    (2, 1, "", false, 9),
                    (3, 2, "", true, 10),
                    (4, 1, "", true, 10),
                    (5, 1, "", true, 10),
                ],
            ),
            Some(Replace {
                old: RaftId(2),
                new: RaftId(5),
            }),
        ),
        (
            "a node never votes twice",
            group(
                &[1, 2],
                3,
                &[(1, 0, "", true, 10), (4, 1, "", true, 10), (2, 1, "", true, 10)],
            ),
            replace,
        ),
        (
            "silent for long, and the candidate is in a rack of its own",
            spread("abcd").silent(2, TIMEOUT),
            replace,
        ),
        (
            "silent for long, another of its rack is there",
            spread("abcb").silent(2, TIMEOUT),
            replace,
        ),
        (
            "silent for long, without racks",
            spread("    ").silent(2, TIMEOUT),
            replace,
        ),
        (
            "silent, but not for so long",
            spread("    ").silent(2, TIMEOUT - Duration::from_millis(1)),
            None,
        ),
        (
            "silent for long, and the candidate's rack votes already",
            spread("abca").silent(2, TIMEOUT),
            None,
        ),
        (
            "two silent for long: no majority",
            spread("    ").silent(2, TIMEOUT).silent(3, TIMEOUT),
            None,
        ),
        ("a vote was taken", spread("    ").withheld(2), replace),
        (
            "a vote was taken, and nobody is there to vote instead",
            spread("    ").withheld(2).withheld(4),
            Some(Demote(RaftId(2))),
        ),
        (
            "the leader's vote was taken",
            spread("    ").withheld(1),
            Some(HandOver(RaftId(2))),
        ),
        (
            "the leader's vote was taken, and its heir is behind",
            spread("    ").withheld(1).silent(2, Duration::ZERO),
            Some(HandOver(RaftId(3))),
        ),
        (
            "a vote was taken, and without it there is no majority",
            spread("    ").withheld(2).withheld(4).silent(3, Duration::ZERO),
            None,
        ),
        (
            "a vote was taken, and who would be left has not heard of it",
            spread("    ").withheld(2).withheld(4).behind(3),
            None,
        ),
    ];
    for (name, group, expected) in cases {
        assert_eq!(next_change(group), *expected, "{name}");
    }
    let voters = [RaftId(1), RaftId(2)].into();
    assert_eq!(replaced.apply(&voters), [RaftId(1), RaftId(4)].into());
}

/// Every group of three voters and two learners that differ in what the rule looks at.
fn all_groups(mut check: impl FnMut(&Group)) {
    let bit = |bits: u32, at: usize| bits >> at & 1 == 1;
    for racks in ["     ", "aabbc", "abcab", "abccc"] {
        for reborn in [false, true] {
            for alive in 0..32u32 {
                for long in 0..8u32 {
                    // How long is asked of the silent only.
                    if long & alive & 0b111 != 0 {
                        continue;
                    }
                    for behind in 0..4u32 {
                        for withheld in [0u32, 0b1, 0b10, 0b110, 0b1000] {
                            let rows: Vec<Row> = (0..5usize)
                                .map(|at| {
                                    let node = if reborn && at == 3 { 1 } else { at as i32 };
                                    let matched = if at >= 3 && bit(behind, at - 3) { 9 } else { 10 };
                                    (
                                        at as u64 + 1,
                                        node,
                                        racks[at..=at].trim(),
                                        at == 0 || bit(alive, at),
                                        matched,
                                    )
                                })
                                .collect();
                            let mut group = group(&[1, 2, 3], 3, &rows);
                            for at in 0..5 {
                                let member = group.members.get_mut(&RaftId(at as u64 + 1)).unwrap();
                                member.vote_withheld = bit(withheld, at);
                                if !member.live && at < 3 && bit(long, at) {
                                    member.silent = TIMEOUT;
                                }
                            }
                            check(&group);
                        }
                    }
                }
            }
        }
    }
}

/// ◆ In every small group: no change without a majority, none to a group without one, none of the leader, nobody without
/// the log or without the right to vote, no node with two votes, and no vote of a voter that is only slow.
#[test]
fn no_small_group_is_changed_into_one_that_could_lose_its_log() {
    let mut changes = 0;
    all_groups(|group| {
        let Some(change) = next_change(group) else { return };
        changes += 1;
        let after = change.apply(&group.voters);
        let live = |voters: &BTreeSet<RaftId>| voters.iter().filter(|id| group.members[id].live).count();
        let case = format!("{change:?} in {group:?}");
        assert!(live(&group.voters) * 2 > group.voters.len(), "{case}");
        assert!(live(&after) * 2 > after.len(), "{case}");
        assert!(after.contains(&group.leader), "{case}");
        assert!(after.difference(&group.voters).count() <= 1, "{case}");
        assert!(group.voters.difference(&after).count() <= 1, "{case}");
        for new in after.difference(&group.voters) {
            let member = &group.members[new];
            assert!(
                member.live && member.matched >= Some(group.committed) && !member.vote_withheld,
                "{case}"
            );
            let twice = after.iter().filter(|id| group.members[id].node_id == member.node_id);
            assert_eq!(twice.count(), 1, "{case}");
        }
        for old in group.voters.difference(&after) {
            let member = &group.members[old];
            let reborn = after.iter().any(|id| group.members[id].node_id == member.node_id);
            let lost = !member.live && member.silent >= TIMEOUT && group.racks(&after) >= group.racks(&group.voters);
            assert!(reborn || lost || member.vote_withheld, "{case}");
        }
    });
    assert!(changes > 1_000, "{changes}");
}

/// In every small group the changes come to an end, and what was asked for is done by then where it can be.
#[test]
fn changes_come_to_an_end() {
    all_groups(|group| {
        let mut group = group.clone();
        for _ in 0..8 {
            match next_change(&group) {
                None => {
                    let majority = group.majority_is_live(&group.voters);
                    let withheld = group.voters.iter().filter(|id| group.members[id].vote_withheld).count();
                    let live = group
                        .voters
                        .iter()
                        .filter(|id| group.members[id].live && !group.members[id].vote_withheld);
                    // A vote stays only where without it there would be no majority.
                    assert!(
                        !majority || withheld == 0 || live.count() * 2 < group.voters.len(),
                        "{group:?}"
                    );
                    return;
                }
                Some(VoterChange::HandOver(to)) => group.leader = to,
                Some(change) => {
                    group.voters = change.apply(&group.voters);
                    let members = group.members.keys().copied();
                    group.learners = members.filter(|id| !group.voters.contains(id)).collect();
                }
            }
        }
        panic!("no end: {group:?}");
    });
}
