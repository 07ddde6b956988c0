//! What the handlers ask of the coordinators of groups.

use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};
use group::{
    CommitOffsets, DeleteOffsets, FetchOffsets, FetchedOffsets, GroupDescription, Heartbeat, JoinGroup, Joined,
    LeaveGroup, Left, ListedGroup, PartitionErrors, SyncGroup, Synced,
};
use types::ErrorCode;

/// The coordinators of this node, callable from the shard that serves the connection. A group that this node does not
/// coordinate is answered with NOT_COORDINATOR, one whose records are still being read with COORDINATOR_LOAD_IN_PROGRESS.
/// What an operation keeps of its request it has copied.
pub trait Groups {
    /// Waits until all members have joined, or the rebalance timeout is over. Dropping it takes nothing back.
    fn join(&self, request: JoinGroup) -> LocalBoxFuture<'static, Joined>;

    /// Waits for the leader's assignment. Dropping it takes nothing back.
    fn sync(&self, request: SyncGroup) -> LocalBoxFuture<'static, Synced>;

    fn heartbeat(&self, request: Heartbeat) -> LocalBoxFuture<'static, ErrorCode>;

    fn leave(&self, request: LeaveGroup) -> LocalBoxFuture<'static, Left>;

    /// Resolves when the offsets are committed.
    fn commit(&self, request: CommitOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>>;

    fn fetch(&self, request: FetchOffsets) -> LocalBoxFuture<'static, Result<FetchedOffsets, ErrorCode>>;

    /// GROUP_ID_NOT_FOUND if there is no such group.
    fn describe(&self, group_id: String) -> LocalBoxFuture<'static, Result<GroupDescription, ErrorCode>>;

    /// Those of all partitions that this node coordinates; COORDINATOR_LOAD_IN_PROGRESS while one is still being read.
    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>>;

    fn delete(&self, group_id: String) -> LocalBoxFuture<'static, ErrorCode>;

    fn delete_offsets(&self, request: DeleteOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>>;
}

/// A node without coordinators: clients look for the coordinator again.
pub struct NoCoordinators;

const NONE: ErrorCode = ErrorCode::CoordinatorNotAvailable;

impl Groups for NoCoordinators {
    fn join(&self, request: JoinGroup) -> LocalBoxFuture<'static, Joined> {
        ready(Joined::failed(NONE, request.member_id)).boxed_local()
    }

    fn sync(&self, _: SyncGroup) -> LocalBoxFuture<'static, Synced> {
        ready(Synced::failed(NONE)).boxed_local()
    }

    fn heartbeat(&self, _: Heartbeat) -> LocalBoxFuture<'static, ErrorCode> {
        ready(NONE).boxed_local()
    }

    fn leave(&self, _: LeaveGroup) -> LocalBoxFuture<'static, Left> {
        let members = Vec::new();
        ready(Left { error: NONE, members }).boxed_local()
    }

    fn commit(&self, _: CommitOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        ready(Err(NONE)).boxed_local()
    }

    fn fetch(&self, _: FetchOffsets) -> LocalBoxFuture<'static, Result<FetchedOffsets, ErrorCode>> {
        ready(Err(NONE)).boxed_local()
    }

    fn describe(&self, _: String) -> LocalBoxFuture<'static, Result<GroupDescription, ErrorCode>> {
        ready(Err(NONE)).boxed_local()
    }

    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>> {
        ready(Ok(Vec::new())).boxed_local()
    }

    fn delete(&self, _: String) -> LocalBoxFuture<'static, ErrorCode> {
        ready(NONE).boxed_local()
    }

    fn delete_offsets(&self, _: DeleteOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        ready(Err(NONE)).boxed_local()
    }
}
