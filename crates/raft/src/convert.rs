//! openraft's types to and from the messages of `proto/raft.proto`. openraft's own serialisation is used nowhere, so that
//! neither disks nor peers depend on its versions.

use crate::pb;
use crate::type_config::{Entry, LogId, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{BasicNode, EntryPayload, Membership};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Version of the formats of entries and snapshots that are written; what is newer is refused.
pub const FORMAT: u32 = 1;

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

pub fn decode<M: Message + Default>(bytes: &[u8]) -> io::Result<M> {
    M::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub fn log_id_to_pb(id: &LogId) -> pb::LogId {
    pb::LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub fn log_id_from_pb(id: &pb::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term), id.index)
}

pub fn vote_to_pb(vote: &Vote) -> pb::Vote {
    pb::Vote {
        term: vote.leader_id.term,
        voted_for: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub fn vote_from_pb(vote: &pb::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: vote.term,
            voted_for: vote.voted_for,
        },
        committed: vote.committed,
    }
}

fn need<T>(value: Option<T>, what: &'static str) -> io::Result<T> {
    value.ok_or_else(|| invalid(what))
}

fn membership_to_pb(membership: &Membership<u64, BasicNode>) -> pb::Membership {
    pb::Membership {
        configurations: membership
            .get_joint_config()
            .iter()
            .map(|voters| pb::Configuration {
                voters: voters.iter().copied().collect(),
            })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| pb::RaftNode {
                raft_id: *id,
                address: node.addr.clone(),
            })
            .collect(),
    }
}

fn membership_from_pb(membership: &pb::Membership) -> io::Result<Membership<u64, BasicNode>> {
    let configurations: Vec<BTreeSet<u64>> = membership
        .configurations
        .iter()
        .map(|c| c.voters.iter().copied().collect())
        .collect();
    let nodes: BTreeMap<u64, BasicNode> = membership
        .nodes
        .iter()
        .map(|node| (node.raft_id, BasicNode::new(node.address.clone())))
        .collect();
    if configurations.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configurations, nodes).map_err(|_| invalid("a membership whose voters are not all listed"))
}

pub fn stored_membership_to_pb(stored: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_pb),
        membership: Some(membership_to_pb(stored.membership())),
    }
}

pub fn stored_membership_from_pb(stored: &pb::StoredMembership) -> io::Result<StoredMembership> {
    let membership = membership_from_pb(&need(stored.membership.clone(), "a stored membership without one")?)?;
    Ok(StoredMembership::new(
        stored.log_id.as_ref().map(log_id_from_pb),
        membership,
    ))
}

pub fn entry_to_pb(entry: &Entry) -> pb::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => pb::entry::Payload::Blank(pb::Blank {}),
        EntryPayload::Normal(proposal) => pb::entry::Payload::Proposal(pb::Proposal {
            base: proposal.base,
            records: proposal.records.clone(),
        }),
        EntryPayload::Membership(membership) => pb::entry::Payload::Membership(membership_to_pb(membership)),
    };
    pb::Entry {
        format: FORMAT,
        log_id: Some(log_id_to_pb(&entry.log_id)),
        payload: Some(payload),
    }
}

pub fn entry_from_pb(entry: &pb::Entry) -> io::Result<Entry> {
    if entry.format > FORMAT {
        return Err(invalid("an entry of a newer format"));
    }
    let payload = match need(entry.payload.as_ref(), "an entry without a payload")? {
        pb::entry::Payload::Blank(_) => EntryPayload::Blank,
        pb::entry::Payload::Proposal(proposal) => EntryPayload::Normal(Proposal {
            base: proposal.base,
            records: proposal.records.clone(),
        }),
        pb::entry::Payload::Membership(membership) => EntryPayload::Membership(membership_from_pb(membership)?),
    };
    Ok(Entry {
        log_id: log_id_from_pb(&need(entry.log_id, "an entry without an id")?),
        payload,
    })
}

pub fn snapshot_meta_from_pb(meta: &pb::SnapshotMeta) -> io::Result<SnapshotMeta> {
    if meta.format > FORMAT {
        return Err(invalid("a snapshot of a newer format"));
    }
    Ok(SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_from_pb),
        last_membership: stored_membership_from_pb(&need(meta.membership.clone(), "a snapshot without a membership")?)?,
    })
}

pub fn snapshot_meta_to_pb(meta: &SnapshotMeta) -> pb::SnapshotMeta {
    pb::SnapshotMeta {
        format: FORMAT,
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_pb),
        membership: Some(stored_membership_to_pb(&meta.last_membership)),
    }
}

/// openraft carries a snapshot as metadata and bytes; the bytes are a whole [`pb::Snapshot`].
pub fn snapshot_from_pb(snapshot: &pb::Snapshot) -> io::Result<Snapshot> {
    let meta = snapshot_meta_from_pb(need(snapshot.meta.as_ref(), "a snapshot without metadata")?)?;
    Ok(Snapshot {
        meta,
        snapshot: snapshot.encode_to_vec(),
    })
}

pub fn append_to_pb(request: &AppendEntriesRequest<TypeConfig>) -> pb::AppendEntriesRequest {
    pb::AppendEntriesRequest {
        vote: Some(vote_to_pb(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_pb),
        entries: request.entries.iter().map(entry_to_pb).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_pb),
    }
}

/// # Errors
/// Entries that do not follow `prev_log_id` one by one: openraft takes that for granted.
pub fn append_from_pb(request: &pb::AppendEntriesRequest) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let prev_log_id = request.prev_log_id.as_ref().map(log_id_from_pb);
    let entries = request
        .entries
        .iter()
        .map(entry_from_pb)
        .collect::<io::Result<Vec<Entry>>>()?;
    let mut before = prev_log_id;
    for entry in &entries {
        let expected = before.map_or(Some(0), |id| id.index.checked_add(1));
        let follows =
            Some(entry.log_id.index) == expected && before.is_none_or(|id| id.leader_id <= entry.log_id.leader_id);
        if !follows {
            return Err(invalid("entries that do not follow each other"));
        }
        before = Some(entry.log_id);
    }
    Ok(AppendEntriesRequest {
        vote: vote_from_pb(&need(request.vote, "no vote")?),
        prev_log_id,
        entries,
        leader_commit: request.leader_commit.as_ref().map(log_id_from_pb),
    })
}

pub fn append_reply_to_pb(reply: &AppendEntriesResponse<TypeConfig>) -> pb::AppendEntriesReply {
    use pb::append_entries_reply::Outcome;
    let outcome = match reply {
        AppendEntriesResponse::Success => Outcome::Success(pb::Blank {}),
        AppendEntriesResponse::PartialSuccess(matching) => Outcome::PartialSuccess(pb::PartialSuccess {
            matching: matching.as_ref().map(log_id_to_pb),
        }),
        AppendEntriesResponse::Conflict => Outcome::Conflict(pb::Blank {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_to_pb(vote)),
    };
    pb::AppendEntriesReply { outcome: Some(outcome) }
}

pub fn append_reply_from_pb(reply: &pb::AppendEntriesReply) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    use pb::append_entries_reply::Outcome;
    Ok(match need(reply.outcome.as_ref(), "an answer without an outcome")? {
        Outcome::Success(_) => AppendEntriesResponse::Success,
        Outcome::PartialSuccess(partial) => {
            AppendEntriesResponse::PartialSuccess(partial.matching.as_ref().map(log_id_from_pb))
        }
        Outcome::Conflict(_) => AppendEntriesResponse::Conflict,
        Outcome::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote_from_pb(vote)),
    })
}

pub fn vote_request_to_pb(request: &VoteRequest<TypeConfig>) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(vote_to_pb(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_pb),
        leadership_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_from_pb(request: &pb::VoteRequest) -> io::Result<VoteRequest<TypeConfig>> {
    let mut found = VoteRequest::new(
        vote_from_pb(&need(request.vote, "no vote")?),
        request.last_log_id.as_ref().map(log_id_from_pb),
    );
    found.leadership_transfer = request.leadership_transfer;
    Ok(found)
}

pub fn vote_reply_to_pb(reply: &VoteResponse<TypeConfig>) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(vote_to_pb(&reply.vote)),
        granted: reply.vote_granted,
        last_log_id: reply.last_log_id.as_ref().map(log_id_to_pb),
    }
}

pub fn vote_reply_from_pb(reply: &pb::VoteReply) -> io::Result<VoteResponse<TypeConfig>> {
    let vote = vote_from_pb(&need(reply.vote, "no vote")?);
    Ok(VoteResponse::new(
        vote,
        reply.last_log_id.as_ref().map(log_id_from_pb),
        reply.granted,
    ))
}

pub fn transfer_to_pb(request: &TransferLeaderRequest<TypeConfig>) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        from_leader: Some(vote_to_pb(request.from_leader())),
        to: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_pb),
    }
}

pub fn transfer_from_pb(request: &pb::TransferLeaderRequest) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    let from = vote_from_pb(&need(request.from_leader, "no vote")?);
    Ok(TransferLeaderRequest::new(
        from,
        request.to,
        request.last_log_id.as_ref().map(log_id_from_pb),
    ))
}
