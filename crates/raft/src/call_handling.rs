use crate::convert::{
    append_from_pb, append_reply_to_pb, snapshot_from_pb, transfer_from_pb, vote_from_pb, vote_reply_to_pb,
    vote_request_from_pb, vote_to_pb,
};
use crate::pb;
use crate::pb::call_reply::Reply;
use crate::pb::call_request::Call;
use crate::quorum_recovery::gave_up;
use crate::raft_node::Raft;
use crate::state_machine::read_snapshot;
use crate::type_config::TypeConfig;
use openraft::raft::AppendEntriesRequest;
use openraft::type_config::async_runtime::WatchReceiver;
use std::fmt::Display;
use types::RaftId;

fn text(error: impl Display) -> String {
    error.to_string()
}

/// What is said by a node whose metadata is no longer that of its cluster.
pub const GIVEN_UP: &str = "this node's metadata holds entries that its cluster has given up: the quorum was recovered on a node that \
    knew less. Move metadata.log.dir away: the node then joins as a new member, and its partitions are compared with their leaders'";

/// Whether the leader's entries take the place of committed ones.
fn takes_back(raft: &Raft, call: &AppendEntriesRequest<TypeConfig>) -> bool {
    let committed = raft.metrics().borrow_watched().local_committed;
    let mut sent = call
        .prev_log_id
        .iter()
        .chain(call.entries.iter().map(|entry| &entry.log_id));
    sent.any(|id| gave_up(committed.as_ref(), id))
}

/// Gives a call that arrived to Raft. What openraft would take for granted is checked before.
///
/// # Errors
/// It is for another cluster or member, or malformed, or this Raft has stopped. The caller sees it as refused.
pub async fn answer(raft: &Raft, cluster: &str, id: RaftId, request: pb::CallRequest) -> Result<pb::CallReply, String> {
    let envelope = request.envelope.ok_or("a call without an envelope")?;
    if envelope.cluster_id != cluster {
        return Err(format!("this is cluster {cluster}, not {}", envelope.cluster_id));
    }
    if envelope.target_raft_id != id.0 && !types::broken(types::Broken::IgnoreTargetRaftId) {
        return Err(format!("this is member {id}, not {}", envelope.target_raft_id));
    }
    let reply = match request.call.ok_or("an empty call")? {
        Call::AppendEntries(call) => {
            let call = append_from_pb(&call).map_err(text)?;
            if takes_back(raft, &call) {
                return Err(GIVEN_UP.to_owned());
            }
            Reply::AppendEntries(append_reply_to_pb(&raft.append_entries(call).await.map_err(text)?))
        }
        Call::Vote(call) => {
            let call = vote_request_from_pb(&call).map_err(text)?;
            Reply::Vote(vote_reply_to_pb(&raft.vote(call).await.map_err(text)?))
        }
        Call::PreVote(call) => {
            let call = vote_request_from_pb(&call).map_err(text)?;
            Reply::Vote(vote_reply_to_pb(&raft.pre_vote(call).await.map_err(text)?))
        }
        Call::Snapshot(call) => {
            let vote = call
                .vote
                .as_ref()
                .map(vote_from_pb)
                .ok_or("a snapshot without a vote")?;
            let snapshot = call.snapshot.ok_or("no snapshot")?;
            // A snapshot that cannot be installed would stop this node for good: better to refuse it here.
            read_snapshot(&snapshot).map_err(text)?;
            let snapshot = snapshot_from_pb(&snapshot).map_err(text)?;
            let done = raft.install_full_snapshot(vote, snapshot).await.map_err(text)?;
            Reply::Snapshot(pb::SnapshotReply {
                vote: Some(vote_to_pb(&done.vote)),
            })
        }
        Call::TransferLeader(call) => {
            let call = transfer_from_pb(&call).map_err(text)?;
            let accepted = raft.handle_transfer_leader(call).await.map_err(text)?.is_ok();
            Reply::TransferLeader(pb::TransferLeaderReply { accepted })
        }
        Call::Controller(_) => return Err("not a call of Raft".into()),
    };
    Ok(pb::CallReply { reply: Some(reply) })
}
