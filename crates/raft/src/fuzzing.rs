//! What a peer or the store says, converted, for the fuzz targets.

use crate::convert::{
    append_from_pb, append_reply_from_pb, append_reply_to_pb, append_to_pb, decode, entry_from_pb, entry_to_pb,
    snapshot_from_pb, stored_membership_from_pb, stored_membership_to_pb, transfer_from_pb, transfer_to_pb,
    vote_from_pb, vote_reply_from_pb, vote_reply_to_pb, vote_request_from_pb, vote_request_to_pb, vote_to_pb,
};
use crate::pb;
use crate::pb::call_reply::Reply;
use crate::pb::call_request::Call;
use crate::state_machine::read_snapshot;
use std::io;

/// A call as it comes from a peer, converted and back: what came must have said the same.
///
/// # Errors
/// The call would be refused.
///
/// # Panics
/// If a conversion is not faithful.
pub fn call(bytes: &[u8]) -> io::Result<()> {
    match decode::<pb::CallRequest>(bytes)?.call {
        Some(Call::AppendEntries(call)) => {
            let converted = append_from_pb(&call)?;
            let again = append_to_pb(&converted);
            assert_eq!(append_to_pb(&append_from_pb(&again)?), again);
        }
        Some(Call::Vote(call) | Call::PreVote(call)) => {
            assert_eq!(vote_request_to_pb(&vote_request_from_pb(&call)?), call);
        }
        Some(Call::Snapshot(call)) => {
            let _ = call.vote.as_ref().map(vote_from_pb);
            if let Some(found) = &call.snapshot {
                read_snapshot(found)?;
                snapshot_from_pb(found)?;
            }
        }
        Some(Call::TransferLeader(call)) => assert_eq!(transfer_to_pb(&transfer_from_pb(&call)?), call),
        Some(Call::Controller(_)) | None => {}
    }
    Ok(())
}

/// As [`call`], for the answer to one.
///
/// # Errors
/// The answer would be taken for none.
///
/// # Panics
/// If a conversion is not faithful.
pub fn reply(bytes: &[u8]) -> io::Result<()> {
    match decode::<pb::CallReply>(bytes)?.reply {
        Some(Reply::AppendEntries(reply)) => {
            let again = append_reply_to_pb(&append_reply_from_pb(&reply)?);
            assert_eq!(append_reply_to_pb(&append_reply_from_pb(&again)?), again);
        }
        Some(Reply::Vote(reply)) => assert_eq!(vote_reply_to_pb(&vote_reply_from_pb(&reply)?), reply),
        _ => {}
    }
    Ok(())
}

/// What the store keeps: an entry, a vote, a membership, a snapshot.
///
/// # Errors
/// The node would refuse to start.
///
/// # Panics
/// If a conversion is not faithful.
pub fn stored(kind: u8, bytes: &[u8]) -> io::Result<()> {
    match kind % 4 {
        0 => {
            let again = entry_to_pb(&entry_from_pb(&decode::<pb::Entry>(bytes)?)?);
            assert_eq!(entry_to_pb(&entry_from_pb(&again)?), again);
        }
        1 => {
            let vote = decode::<pb::Vote>(bytes)?;
            assert_eq!(vote_to_pb(&vote_from_pb(&vote)), vote);
        }
        2 => {
            let stored = stored_membership_from_pb(&decode::<pb::StoredMembership>(bytes)?)?;
            let again = stored_membership_to_pb(&stored);
            assert_eq!(stored_membership_to_pb(&stored_membership_from_pb(&again)?), again);
        }
        _ => {
            read_snapshot(&decode::<pb::Snapshot>(bytes)?)?;
        }
    }
    Ok(())
}
