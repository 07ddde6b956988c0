use std::collections::{BTreeMap, BTreeSet};
use types::{LogIndex, NodeId, RaftId};

/// One member of the metadata group, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    pub node_id: NodeId,
    pub rack: Option<String>,
    /// It has a session with this controller, or is this controller.
    pub live: bool,
    /// Up to where its log matches the leader's; `None` where the leader does not know.
    pub matched: Option<LogIndex>,
}

/// The group and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub voters: BTreeSet<RaftId>,
    pub learners: BTreeSet<RaftId>,
    pub members: BTreeMap<RaftId, MemberView>,
    pub committed: LogIndex,
    /// Voters that there should be.
    pub wanted: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoterChange {
    Promote(RaftId),
    /// The node id of `old` came back as another member, so `old` has lost its directory for good.
    Replace {
        old: RaftId,
        new: RaftId,
    },
}

impl VoterChange {
    /// The voters after this change.
    #[must_use]
    pub fn apply(self, voters: &BTreeSet<RaftId>) -> BTreeSet<RaftId> {
        let mut voters = voters.clone();
        match self {
            Self::Promote(new) => {
                voters.insert(new);
            }
            Self::Replace { old, new } => {
                voters.remove(&old);
                voters.insert(new);
            }
        }
        voters
    }
}

/// The one change of voters that may be made now (DESIGN section 3, "Voters"): only with a majority of the
/// voters live, only to a live candidate whose matched index has reached the commit index, and only one;
/// the caller makes the next after this one is committed.
#[must_use]
pub fn next_change(group: &Group) -> Option<VoterChange> {
    let live = group
        .voters
        .iter()
        .filter(|id| group.members.get(id).is_some_and(|member| member.live))
        .count();
    if live * 2 <= group.voters.len() {
        return None;
    }
    let candidates: Vec<(RaftId, &MemberView)> = group
        .learners
        .iter()
        .filter_map(|id| Some((*id, group.members.get(id)?)))
        .filter(|(_, member)| member.live && member.matched.is_some_and(|matched| matched >= group.committed))
        // Of several lives of one node only the newest is it.
        .filter(|(id, member)| {
            !group
                .members
                .iter()
                .any(|(other, view)| other > id && view.node_id == member.node_id)
        })
        .collect();
    for old in &group.voters {
        let Some(node) = group.members.get(old).map(|member| member.node_id) else {
            continue;
        };
        if let Some((new, _)) = candidates
            .iter()
            .find(|(id, member)| member.node_id == node && id > old)
        {
            return Some(VoterChange::Replace { old: *old, new: *new });
        }
    }
    if group.voters.len() >= group.wanted {
        return None;
    }
    let voting: Vec<&MemberView> = group.voters.iter().filter_map(|id| group.members.get(id)).collect();
    candidates
        .into_iter()
        .filter(|(_, member)| !voting.iter().any(|voter| voter.node_id == member.node_id))
        .min_by_key(|(id, member)| {
            (
                member.rack.is_some() && voting.iter().any(|voter| voter.rack == member.rack),
                *id,
            )
        })
        .map(|(id, _)| VoterChange::Promote(id))
}

#[cfg(test)]
mod tests {
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
                        matched: Some(LogIndex(*matched)),
                    },
                )
            })
            .collect();
        let learners = members.keys().filter(|id| !voters.contains(id)).copied().collect();
        Group {
            voters,
            learners,
            members,
            committed: LogIndex(10),
            wanted,
        }
    }

    #[test]
    fn one_change_at_a_time_and_only_when_safe() {
        use VoterChange::{Promote, Replace};
        let replacement = Replace {
            old: RaftId(2),
            new: RaftId(4),
        };
        let replace = Some(replacement);
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
        ];
        for (name, group, expected) in cases {
            assert_eq!(next_change(group), *expected, "{name}");
        }
        let voters = [RaftId(1), RaftId(2)].into();
        assert_eq!(replacement.apply(&voters), [RaftId(1), RaftId(4)].into());
    }
}
