use crate::groups::Groups;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, pending, ready};
use group::{
    CommitOffsets, DeleteOffsets, FetchOffsets, FetchedOffset, FetchedOffsets, GroupDescription, Heartbeat, JoinGroup,
    Joined, LeaveGroup, Left, ListedGroup, PartitionErrors, SyncGroup, Synced,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use types::ErrorCode;

/// A coordinator that answers what the test says and writes down what it was asked.
#[derive(Default)]
pub(crate) struct ScriptedGroups {
    /// What every join and sync comes to; `None`: it never resolves.
    pub(crate) joined: RefCell<Option<Joined>>,
    pub(crate) synced: RefCell<Option<Synced>>,
    /// Of everything else: of the whole call, and of its third member or partition.
    pub(crate) error: Cell<Option<ErrorCode>>,
    pub(crate) third: Cell<Option<ErrorCode>>,
    pub(crate) groups: RefCell<BTreeMap<String, GroupDescription>>,
    pub(crate) joins: RefCell<Vec<JoinGroup>>,
    pub(crate) syncs: RefCell<Vec<SyncGroup>>,
    pub(crate) heartbeats: RefCell<Vec<Heartbeat>>,
    pub(crate) leaves: RefCell<Vec<LeaveGroup>>,
    pub(crate) commits: RefCell<Vec<CommitOffsets>>,
    pub(crate) fetches: RefCell<Vec<FetchOffsets>>,
    pub(crate) deletions: RefCell<Vec<String>>,
    pub(crate) offset_deletions: RefCell<Vec<DeleteOffsets>>,
}

impl ScriptedGroups {
    fn answer<T: 'static>(&self, answer: T) -> LocalBoxFuture<'static, Result<T, ErrorCode>> {
        ready(self.error.get().map_or(Ok(answer), Err)).boxed_local()
    }

    fn nth(&self, at: usize) -> ErrorCode {
        self.third.get().filter(|_| at == 2).unwrap_or(ErrorCode::None)
    }

    fn codes(&self, topics: &[(String, Vec<i32>)]) -> PartitionErrors {
        let mut at = 0;
        let mut code = |partition: &i32| {
            at += 1;
            (*partition, self.nth(at - 1))
        };
        let topics = topics.iter();
        topics
            .map(|(name, of)| (name.clone(), of.iter().map(&mut code).collect()))
            .collect()
    }
}

impl Groups for ScriptedGroups {
    fn join(&self, request: JoinGroup) -> LocalBoxFuture<'static, Joined> {
        self.joins.borrow_mut().push(request);
        match self.joined.borrow().clone() {
            Some(joined) => ready(joined).boxed_local(),
            None => pending().boxed_local(),
        }
    }

    fn sync(&self, request: SyncGroup) -> LocalBoxFuture<'static, Synced> {
        self.syncs.borrow_mut().push(request);
        match self.synced.borrow().clone() {
            Some(synced) => ready(synced).boxed_local(),
            None => pending().boxed_local(),
        }
    }

    fn heartbeat(&self, request: Heartbeat) -> LocalBoxFuture<'static, ErrorCode> {
        self.heartbeats.borrow_mut().push(request);
        ready(self.error.get().unwrap_or(ErrorCode::None)).boxed_local()
    }

    fn leave(&self, request: LeaveGroup) -> LocalBoxFuture<'static, Left> {
        let members = (0..request.members.len()).map(|at| self.nth(at)).collect();
        self.leaves.borrow_mut().push(request);
        let error = self.error.get().unwrap_or(ErrorCode::None);
        ready(Left { error, members }).boxed_local()
    }

    fn commit(&self, request: CommitOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        let numbers = |(name, of): &(String, Vec<group::CommitPartition>)| {
            (name.clone(), of.iter().map(|commit| commit.partition).collect())
        };
        let codes = self.codes(&request.topics.iter().map(numbers).collect::<Vec<_>>());
        self.commits.borrow_mut().push(request);
        self.answer(codes)
    }

    /// Of a partition that is asked for, ten times its number is committed; all there is, is 70 in `orders` and in `gone`.
    fn fetch(&self, request: FetchOffsets) -> LocalBoxFuture<'static, Result<FetchedOffsets, ErrorCode>> {
        let all = || vec![("orders".to_owned(), vec![7]), ("gone".to_owned(), vec![7])];
        let topics = request.topics.clone().unwrap_or_else(all);
        self.fetches.borrow_mut().push(request);
        let fetched = |(partition, error): (i32, ErrorCode)| FetchedOffset {
            partition,
            offset: i64::from(partition) * 10,
            leader_epoch: 5,
            metadata: "m".to_owned(),
            error,
        };
        let codes = self.codes(&topics).into_iter();
        self.answer(
            codes
                .map(|(name, of)| (name, of.into_iter().map(fetched).collect()))
                .collect(),
        )
    }

    fn describe(&self, group_id: String) -> LocalBoxFuture<'static, Result<GroupDescription, ErrorCode>> {
        match self.groups.borrow().get(&group_id) {
            Some(group) => self.answer(group.clone()),
            None => ready(Err(ErrorCode::GroupIdNotFound)).boxed_local(),
        }
    }

    fn list(&self) -> LocalBoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>> {
        let listed = |group: &GroupDescription| ListedGroup {
            group_id: group.group_id.clone(),
            protocol_type: group.protocol_type.clone(),
            state: group.state,
        };
        self.answer(self.groups.borrow().values().map(listed).collect())
    }

    fn delete(&self, group_id: String) -> LocalBoxFuture<'static, ErrorCode> {
        self.deletions.borrow_mut().push(group_id);
        ready(self.error.get().unwrap_or(ErrorCode::None)).boxed_local()
    }

    fn delete_offsets(&self, request: DeleteOffsets) -> LocalBoxFuture<'static, Result<PartitionErrors, ErrorCode>> {
        let codes = self.codes(&request.topics);
        self.offset_deletions.borrow_mut().push(request);
        self.answer(codes)
    }
}
