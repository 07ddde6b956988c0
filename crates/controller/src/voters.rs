use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use types::{LogIndex, NodeId, RaftId};

/// One member of the metadata group, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    pub node_id: NodeId,
    pub rack: Option<String>,
    /// It has a session with this controller, or is this controller.
    pub live: bool,
    /// For how long it has had none; counted from the start of this controller's term at the earliest.
    pub silent: Duration,
    /// Up to where its log matches the leader's; `None` where the leader does not know.
    pub matched: Option<LogIndex>,
    /// An operator took its vote.
    pub vote_withheld: bool,
}

/// The group and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub leader: RaftId,
    pub voters: BTreeSet<RaftId>,
    pub learners: BTreeSet<RaftId>,
    pub members: BTreeMap<RaftId, MemberView>,
    pub committed: LogIndex,
    /// Voters that there should be.
    pub wanted: usize,
    /// A voter that was silent for longer is replaced (`voter.replacement.timeout.ms`).
    pub replacement_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoterChange {
    Promote(RaftId),
    /// `old` has lost its directory for good, was silent for too long, or its vote was taken.
    Replace {
        old: RaftId,
        new: RaftId,
    },
    /// Its vote was taken, and nobody is there to vote in its place.
    Demote(RaftId),
    /// The leader's vote was taken: another must lead first.
    HandOver(RaftId),
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
            Self::Demote(old) => {
                voters.remove(&old);
            }
            Self::HandOver(_) => {}
        }
        voters
    }
}

/// The one change of voters that may be made now (DESIGN section 3, "Voters"): only with a majority of the
/// voters live, only to a live candidate whose matched index has reached the commit index, and only one;
/// the caller makes the next after this one is committed.
#[must_use]
pub fn next_change(group: &Group) -> Option<VoterChange> {
    if !group.majority_is_live(&group.voters) {
        return None;
    }
    let candidates = group.candidates();
    group
        .reborn(&candidates)
        .or_else(|| group.without_vote(&candidates))
        .or_else(|| group.missing(&candidates))
        .or_else(|| group.lost(&candidates))
        // ◆ Never to a group that could decide nothing.
        .filter(|change| group.could_decide(&change.apply(&group.voters)))
}

impl Group {
    fn majority(&self, voters: &BTreeSet<RaftId>, counts: impl Fn(&MemberView) -> bool) -> bool {
        let counted = voters.iter().filter(|id| self.member(**id).is_some_and(&counts));
        counted.count() * 2 > voters.len()
    }

    fn majority_is_live(&self, voters: &BTreeSet<RaftId>) -> bool {
        self.majority(voters, |member| member.live)
    }

    /// What a majority of these would have to do at once. One that has gone just now, and is not known to have, has not
    /// what was committed since; the taking of a vote itself, for one.
    fn could_decide(&self, voters: &BTreeSet<RaftId>) -> bool {
        self.majority(voters, |member| member.live && self.is_up_to_date(member))
    }

    fn is_up_to_date(&self, member: &MemberView) -> bool {
        member.matched.is_some_and(|matched| matched >= self.committed)
    }

    fn member(&self, id: RaftId) -> Option<&MemberView> {
        self.members.get(&id)
    }

    /// Learners that could vote at once, those of racks without a voter first.
    fn candidates(&self) -> Vec<RaftId> {
        // Of several lives of one node only the newest is it.
        let newest = |id: RaftId, node: NodeId| {
            let mut lives = self.members.iter().filter(|(_, member)| member.node_id == node);
            lives.all(|(other, _)| *other <= id)
        };
        let mut candidates: Vec<RaftId> = self
            .learners
            .iter()
            .copied()
            .filter(|id| {
                self.member(*id).is_some_and(|member| {
                    member.live && self.is_up_to_date(member) && !member.vote_withheld && newest(*id, member.node_id)
                })
            })
            .collect();
        candidates.sort_by_key(|id| (self.shares_rack(*id), *id));
        candidates
    }

    fn shares_rack(&self, candidate: RaftId) -> bool {
        let rack = self.member(candidate).and_then(|member| member.rack.as_ref());
        let mut voters = self.voters.iter().filter_map(|id| self.member(*id));
        rack.is_some() && voters.any(|voter| voter.rack.as_ref() == rack)
    }

    fn votes(&self, node: NodeId) -> bool {
        let mut voters = self.voters.iter().filter_map(|id| self.member(*id));
        voters.any(|voter| voter.node_id == node)
    }

    /// Candidates of nodes that have no vote in any of their lives.
    fn of_new_nodes<'a>(&'a self, candidates: &'a [RaftId]) -> impl Iterator<Item = RaftId> + 'a {
        let new = |id: &&RaftId| self.member(**id).is_some_and(|member| !self.votes(member.node_id));
        candidates.iter().filter(new).copied()
    }

    fn racks(&self, voters: &BTreeSet<RaftId>) -> usize {
        let racks: BTreeSet<_> = voters.iter().filter_map(|id| self.member(*id)?.rack.as_ref()).collect();
        racks.len()
    }

    /// The node id of a voter came back as another member.
    fn reborn(&self, candidates: &[RaftId]) -> Option<VoterChange> {
        self.voters.iter().find_map(|old| {
            let node = self.member(*old)?.node_id;
            let again = |id: &&RaftId| *id > old && self.member(**id).is_some_and(|member| member.node_id == node);
            let new = *candidates.iter().find(again)?;
            Some(VoterChange::Replace { old: *old, new })
        })
    }

    fn without_vote(&self, candidates: &[RaftId]) -> Option<VoterChange> {
        let withheld = |id: &&RaftId| self.member(**id).is_some_and(|member| member.vote_withheld);
        let old = *self.voters.iter().find(withheld)?;
        if old == self.leader {
            let heir = |id: &&RaftId| {
                self.member(**id)
                    .is_some_and(|member| member.live && !member.vote_withheld && self.is_up_to_date(member))
            };
            return self.voters.iter().find(heir).map(|heir| VoterChange::HandOver(*heir));
        }
        if self.voters.len() <= self.wanted
            && let Some(new) = self.of_new_nodes(candidates).next()
        {
            return Some(VoterChange::Replace { old, new });
        }
        Some(VoterChange::Demote(old))
    }

    fn missing(&self, candidates: &[RaftId]) -> Option<VoterChange> {
        if self.voters.len() >= self.wanted {
            return None;
        }
        self.of_new_nodes(candidates).next().map(VoterChange::Promote)
    }

    /// ◆ Never against the spread over racks: with a whole rack away its vote waits for it, for to move it would put the
    /// majority where one more failure ends it.
    fn lost(&self, candidates: &[RaftId]) -> Option<VoterChange> {
        let silent = |id: &&RaftId| {
            self.member(**id)
                .is_some_and(|member| !member.live && member.silent >= self.replacement_timeout)
        };
        self.voters.iter().filter(silent).find_map(|old| {
            self.of_new_nodes(candidates)
                .map(|new| VoterChange::Replace { old: *old, new })
                .find(|change| self.racks(&change.apply(&self.voters)) >= self.racks(&self.voters))
        })
    }
}

#[cfg(test)]
mod tests;
