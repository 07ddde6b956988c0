use crate::convert::{
    append_reply_from_pb, append_to_pb, decode, transfer_to_pb, vote_from_pb, vote_reply_from_pb, vote_request_to_pb,
    vote_to_pb,
};
use crate::pb;
use crate::pb::call_reply::Reply;
use crate::pb::call_request::Call;
use crate::transport::{CallError, Transport};
use crate::type_config::{Snapshot, TypeConfig, Vote};
use metadata::Endpoint;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode, OptionalSend};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pause before an unreachable member is tried again.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(20);

/// Sends Raft's messages over a [`Transport`], each with the sender's and the target's identity.
#[derive(Clone)]
pub struct Network {
    pub transport: Arc<dyn Transport>,
    pub envelope: pb::Envelope,
    /// For AppendEntries with entries, which waits for a disk. openraft would give it one heartbeat interval only,
    /// and a disk that is slower than that would be sent the same entries again and again.
    pub append_ttl: Duration,
    pub addresses: AddressBook,
}

/// Where members are now. openraft makes a [`Peer`] once, and keeps it when the member's address changes.
#[derive(Clone, Default)]
pub struct AddressBook(Arc<Mutex<BTreeMap<u64, Endpoint>>>);

impl AddressBook {
    pub fn replace(&self, members: BTreeMap<u64, Endpoint>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    fn of(&self, member: u64) -> Option<Endpoint> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(&member).cloned()
    }
}

/// To one member.
pub struct Peer {
    network: Network,
    target: u64,
    /// When it was made.
    at: Option<Endpoint>,
}

/// `host:port` of a member, as its entry in the membership has it.
pub fn endpoint(address: &str) -> Option<Endpoint> {
    let (host, port) = address.rsplit_once(':')?;
    Some(Endpoint {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// The reverse of [`endpoint`].
pub fn address(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer {
            network: self.clone(),
            target,
            at: endpoint(&node.addr),
        }
    }
}

fn rpc_error(error: CallError) -> RPCError<TypeConfig> {
    match error {
        // openraft pauses before it tries an unreachable member again, and retries anything else at once.
        CallError::Refused | CallError::Unreachable(_) | CallError::Rejected(_) => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
        CallError::Timeout => RPCError::Network(NetworkError::new(&error)),
    }
}

fn nonsense(problem: impl std::fmt::Display) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&AnyError::error(problem)))
}

impl Peer {
    async fn call(&self, call: Call, ttl: Duration) -> Result<Reply, RPCError<TypeConfig>> {
        let at = self
            .network
            .addresses
            .of(self.target)
            .or_else(|| self.at.clone())
            .ok_or_else(|| nonsense("the member's address is not host:port"))?;
        let envelope = pb::Envelope {
            target_raft_id: self.target,
            ..self.network.envelope.clone()
        };
        let request = pb::CallRequest {
            envelope: Some(envelope),
            call: Some(call),
        };
        let reply = self
            .network
            .transport
            .call(&at, request, ttl)
            .await
            .map_err(rpc_error)?;
        reply.reply.ok_or_else(|| nonsense("an empty answer"))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let ttl = if request.entries.is_empty() {
            option.hard_ttl()
        } else {
            self.network.append_ttl
        };
        match self.call(Call::AppendEntries(append_to_pb(&request)), ttl).await? {
            Reply::AppendEntries(reply) => append_reply_from_pb(&reply).map_err(nonsense),
            _ => Err(nonsense("an answer of another kind")),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self
            .call(Call::Vote(vote_request_to_pb(&request)), option.soft_ttl())
            .await?
        {
            Reply::Vote(reply) => vote_reply_from_pb(&reply).map_err(nonsense),
            _ => Err(nonsense("an answer of another kind")),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self
            .call(Call::PreVote(vote_request_to_pb(&request)), option.soft_ttl())
            .await?
        {
            Reply::Vote(reply) => vote_reply_from_pb(&reply).map_err(nonsense),
            _ => Err(nonsense("an answer of another kind")),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let broken =
            |error: &dyn std::fmt::Display| StreamingError::Unreachable(Unreachable::new(&AnyError::error(error)));
        let snapshot = decode::<pb::Snapshot>(&snapshot.snapshot).map_err(|error| broken(&error))?;
        let call = Call::Snapshot(pb::SnapshotRequest {
            vote: Some(vote_to_pb(&vote)),
            snapshot: Some(snapshot),
        });
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            reply = self.call(call, option.hard_ttl()) => match reply {
                Ok(Reply::Snapshot(pb::SnapshotReply { vote: Some(vote) })) => Ok(SnapshotResponse { vote: vote_from_pb(&vote) }),
                Ok(_) => Err(broken(&"an answer of another kind")),
                Err(error) => Err(broken(&error)),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self
            .call(Call::TransferLeader(transfer_to_pb(&request)), option.soft_ttl())
            .await?
        {
            Reply::TransferLeader(pb::TransferLeaderReply { accepted: true }) => Ok(Ok(())),
            _ => Err(nonsense("the target does not take over")),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE)))
    }
}
