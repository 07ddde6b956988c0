use super::{Plan, PlanError};
use crate::{Endpoint, Image, Member, Record};
use types::{Broken, DirectoryId, ErrorCode, NodeId, RaftId, broken};

/// A node that wants to be a member of the Raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinMember {
    pub node_id: NodeId,
    /// The metadata directory: another one after a wipe, and then another member.
    pub directory: DirectoryId,
    pub endpoint: Endpoint,
}

/// Allocates a Raft id, or finds that of the same directory again. An earlier member of the same node stays
/// until it is removed.
///
/// # Errors
/// `INVALID_REQUEST` for a directory or node id that is none; `UNKNOWN_SERVER_ERROR` with the ids used up.
pub fn join_member(image: &Image, command: &JoinMember) -> Result<Plan<RaftId>, PlanError> {
    if command.directory.is_zero() || command.node_id.0 < 0 {
        return Err(PlanError::new(
            ErrorCode::InvalidRequest,
            "The node id or the directory id is none",
        ));
    }
    let same = |member: &&std::sync::Arc<Member>| {
        let same_disk = member.directory == command.directory || broken(Broken::ReuseRaftId);
        member.node_id == command.node_id && same_disk
    };
    let known = image.members.values().find(same);
    let raft_id = known.map_or(RaftId(image.next_raft_id), |member| member.raft_id);
    if raft_id.0 == u64::MAX {
        return Err(PlanError::new(
            ErrorCode::UnknownServerError,
            "The Raft ids are used up",
        ));
    }
    let member = Member {
        raft_id,
        node_id: command.node_id,
        directory: command.directory,
        endpoint: command.endpoint.clone(),
        // Also in its next life.
        vote_withheld: image.member_of(command.node_id).is_some_and(|last| last.vote_withheld),
    };
    let unchanged = known.is_some_and(|known| **known == member);
    let records = if unchanged {
        Vec::new()
    } else {
        vec![Record::Member(Box::new(member))]
    };
    Ok(Plan {
        records,
        response: raft_id,
    })
}

/// Withholds the vote of a node's newest member, or gives it back. The group is changed by whoever leads it, one voter at
/// a time.
///
/// # Errors
/// `RESOURCE_NOT_FOUND`: the node has never been a member.
pub fn withhold_vote(image: &Image, node: NodeId, withheld: bool) -> Result<Plan<()>, PlanError> {
    let member = image
        .member_of(node)
        .ok_or_else(|| PlanError::new(ErrorCode::ResourceNotFound, format!("Node {node} is not a member")))?;
    let mut records = Vec::new();
    if member.vote_withheld != withheld {
        records.push(Record::Member(Box::new(Member {
            vote_withheld: withheld,
            ..(**member).clone()
        })));
    }
    Ok(Plan { records, response: () })
}

/// Forgets a member that left the Raft group. Its id is never given out again.
///
/// # Errors
/// `RESOURCE_NOT_FOUND`.
pub fn remove_member(image: &Image, raft_id: RaftId) -> Result<Plan<()>, PlanError> {
    if !image.members.contains_key(&raft_id) {
        return Err(PlanError::new(
            ErrorCode::ResourceNotFound,
            format!("No member has Raft id {raft_id}"),
        ));
    }
    Ok(Plan {
        records: vec![Record::MemberRemoved { raft_id }],
        response: (),
    })
}
