//! What the handlers ask of the coordinators of groups.

use futures::future::LocalBoxFuture;
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

/// On a real node: each operation runs on the shard that coordinates the group.
impl Groups for coordinator::Groups {
    fn join(&self, request: JoinGroup) -> LocalBoxFuture<'static, Joined> {
        let groups = self.clone();
        Box::pin(async move { groups.join(request).await })
    }

    fn sync(&self, request: SyncGroup) -> LocalBoxFuture<'static, Synced> {
        let groups = self.clone();
        Box::pin(async move { groups.sync(request).await })
    }

    fn heartbeat(&self, request: Heartbeat) -> LocalBoxFuture<'static, ErrorCode> {
        let groups = self.clone();
        Box::pin(async move { groups.heartbeat(request).await })
    }

    fn leave(&self, request: LeaveGroup) -> LocalBoxFuture<'static, Left> {
        let groups = self.clone();
        Box::pin(async move { groups.leave(request).await })
    }

    fn commit(&self, request: CommitOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        let groups = self.clone();
        Box::pin(async move { groups.commit(request).await })
    }

    fn fetch(&self, request: FetchOffsets) -> LocalBoxFuture<'static, Result<FetchedOffsets, ErrorCode>> {
        let groups = self.clone();
        Box::pin(async move { groups.fetch(request).await })
    }

    fn describe(&self, group_id: String) -> LocalBoxFuture<'static, Result<GroupDescription, ErrorCode>> {
        let groups = self.clone();
        Box::pin(async move { groups.describe(group_id).await })
    }

    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>> {
        let groups = self.clone();
        Box::pin(async move { groups.list().await })
    }

    fn delete(&self, group_id: String) -> LocalBoxFuture<'static, ErrorCode> {
        let groups = self.clone();
        Box::pin(async move { groups.delete(group_id).await })
    }

    fn delete_offsets(&self, request: DeleteOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        let groups = self.clone();
        Box::pin(async move { groups.delete_offsets(request).await })
    }
}
