use api::groups::Groups;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};
use group::{
    CommitOffsets, DeleteOffsets, FetchOffsets, FetchedOffsets, GroupDescription, Heartbeat, JoinGroup, Joined,
    LeaveGroup, Left, ListedGroup, PartitionErrors, SyncGroup, Synced,
};
use types::ErrorCode;

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
