//! What a person may do when a majority of the voters is gone for good: DESIGN section 3, "With the quorum lost nothing
//! is automatic".

use crate::convert::{decode, entry_from_pb, entry_to_pb, vote_from_pb, vote_to_pb};
use crate::log_storage::LogStorage;
use crate::network::{address, endpoint};
use crate::pb;
use crate::state_machine::read_snapshot;
use crate::store::{Change, RaftStore, Slot};
use crate::type_config::{Entry, LogId, Vote};
use metadata::Endpoint;
use openraft::storage::RaftLogStorage;
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{BasicNode, EntryPayload, Membership};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use types::{LogIndex, RaftId};

/// The group as the store of a stopped node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredQuorum {
    /// Where its log ends. Of two survivors the one with the higher term, then the higher index, knows more.
    pub last_term: u64,
    pub last_index: LogIndex,
    pub voters: BTreeSet<RaftId>,
    /// Voters and learners, and where their control planes were.
    pub members: BTreeMap<RaftId, Endpoint>,
}

/// Terms that are left out: entries of the recovered group have higher ones than the lost voters can have reached, so that
/// whoever holds what was given up is told apart (see [`gave_up`]).
const TERMS_LEFT_OUT: u64 = 1_000_000;

/// Whether an entry that a leader sends takes the place of one that this node knows to be committed, whose log id is
/// `committed`. Raft never does so; a leader of a quorum that was recovered on a node which knew less does.
#[must_use]
pub(crate) fn gave_up(committed: Option<&LogId>, sent: &LogId) -> bool {
    committed.is_some_and(|known| sent.index <= known.index && sent.leader_id > known.leader_id)
}

struct Found {
    quorum: StoredQuorum,
    last: LogId,
    vote_term: u64,
    nodes: BTreeMap<u64, BasicNode>,
}

/// Reads what a stopped node knows of its group, changing nothing.
///
/// # Errors
/// The store cannot be read, or holds no group.
pub async fn stored_quorum(store: &Arc<dyn RaftStore>) -> io::Result<StoredQuorum> {
    Ok(find(store).await?.quorum)
}

/// Makes `me` the only voter of its group, on its own log as far as it goes: a new configuration in a new term at the end
/// of the log. The others stay as learners, are sent what they miss when they are back, and may vote again then.
///
/// What the lost majority had committed and this log does not hold is lost. What this log holds and was never committed
/// becomes so. If a majority of the old voters comes back on its old logs without having heard of this one, there are two
/// groups: they must not be started before this node leads, or must be wiped.
///
/// # Errors
/// The store cannot be read or written; `me` is not one of its voters.
pub async fn make_sole_voter(store: &Arc<dyn RaftStore>, me: RaftId, at: &Endpoint) -> io::Result<StoredQuorum> {
    let found = find(store).await?;
    if !found.quorum.members.contains_key(&me) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("Raft id {me} is not a member of the group in this log"),
        ));
    }
    let mut nodes = found.nodes;
    nodes.insert(me.0, BasicNode::new(address(at)));
    let membership = Membership::new(vec![BTreeSet::from([me.0])], nodes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let term = found
        .vote_term
        .max(found.quorum.last_term)
        .saturating_add(TERMS_LEFT_OUT);
    let entry = Entry {
        log_id: LogId::new(CommittedLeaderId::new(term), found.last.index + 1),
        payload: EntryPayload::Membership(membership),
    };
    let vote = Vote {
        leader_id: openraft::impls::leader_id_std::LeaderId { term, voted_for: me.0 },
        // It has asked nobody: it must be elected, by itself.
        committed: false,
    };
    let change = Change {
        puts: vec![(Slot::Vote, vote_to_pb(&vote).encode_to_vec())],
        entries: vec![(entry.log_id.index, entry_to_pb(&entry).encode_to_vec())],
        remove: None,
    };
    store.write(change).await?;
    stored_quorum(store).await
}

async fn find(store: &Arc<dyn RaftStore>) -> io::Result<Found> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "it holds no metadata log");
    let vote = store.read(Slot::Vote)?.ok_or_else(nothing)?;
    let vote = vote_from_pb(&decode::<pb::Vote>(&vote)?);
    let mut membership = None;
    let mut last = None;
    if let Some(bytes) = store.read(Slot::Snapshot)? {
        let (meta, _) = read_snapshot(&decode::<pb::Snapshot>(&bytes)?)?;
        last = meta.last_log_id;
        membership = Some(meta.last_membership.membership().clone());
    }
    last = last.max(LogStorage(store.clone()).get_log_state().await?.last_log_id);
    for bytes in store.entries(0..u64::MAX, usize::MAX)? {
        if let EntryPayload::Membership(newer) = entry_from_pb(&decode::<pb::Entry>(&bytes)?)?.payload {
            membership = Some(newer);
        }
    }
    let (membership, last) = (membership.ok_or_else(nothing)?, last.ok_or_else(nothing)?);
    let nodes: BTreeMap<u64, BasicNode> = membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
    let quorum = StoredQuorum {
        last_term: last.leader_id.term,
        last_index: LogIndex(last.index),
        voters: membership.voter_ids().map(RaftId).collect(),
        members: nodes
            .iter()
            .filter_map(|(id, node)| Some((RaftId(*id), endpoint(&node.addr)?)))
            .collect(),
    };
    Ok(Found {
        quorum,
        last,
        vote_term: vote.leader_id.term,
        nodes,
    })
}
