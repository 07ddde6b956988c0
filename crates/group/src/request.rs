//! What members and operators ask of a group's coordinator, and what they are answered. The fields bear the protocol's
//! names and meanings; what versions of the protocol differ in is resolved before it comes here. Bytes are copies of their
//! own: a member stays for days and must not hold the frame that its request came in.

use bytes::Bytes;
use std::collections::BTreeMap;
use types::ErrorCode;

/// JoinGroup (key 11).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinGroup {
    pub group_id: String,
    /// Empty: the coordinator gives one.
    pub member_id: String,
    /// Of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    pub client_id: String,
    /// The address of the client, as `/127.0.0.1`.
    pub client_host: String,
    pub session_timeout_ms: i32,
    /// Version 0 has none: its session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, or whatever the members agree upon.
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// Version 4 and up: a new dynamic member is first told its id and asked to join again with it (KIP-394).
    pub requires_known_member_id: bool,
    /// Version 9 and up: a leader that comes back may be told not to assign (KIP-814).
    pub supports_skipping_assignment: bool,
    pub reason: Option<String>,
}

/// A protocol that a member supports; its metadata means something to the members only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}

/// The answer to [`JoinGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub error: ErrorCode,
    /// −1 with an error.
    pub generation_id: i32,
    pub protocol_type: Option<String>,
    /// What all members support and most prefer.
    pub protocol_name: Option<String>,
    /// Member id of the leader.
    pub leader: String,
    pub skip_assignment: bool,
    pub member_id: String,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// An answer that has an error and the member's own id.
    #[must_use]
    pub fn failed(error: ErrorCode, member_id: impl Into<String>) -> Self {
        Self {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

/// SyncGroup (key 14).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncGroup {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// Version 5 and up.
    pub protocol_type: Option<String>,
    /// Version 5 and up.
    pub protocol_name: Option<String>,
    /// By member id; of the leader only.
    pub assignments: BTreeMap<String, Bytes>,
}

/// The answer to [`SyncGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}

impl Synced {
    /// An answer that has an error only.
    #[must_use]
    pub fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// Heartbeat (key 12); its answer is an [`ErrorCode`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    pub group_id: String,
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
}

/// LeaveGroup (key 13); before version 3 there is one member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveGroup {
    pub group_id: String,
    pub members: Vec<LeavingMember>,
}

/// A member that leaves, or is removed by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeavingMember {
    /// Empty where an operator knows the instance only.
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub reason: Option<String>,
}

/// The answer to [`LeaveGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub error: ErrorCode,
    /// One answer per member, in order; none where `error` is one.
    pub members: Vec<ErrorCode>,
}

/// OffsetCommit (key 8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitOffsets {
    pub group_id: String,
    /// −1: of no member.
    pub generation_id: i32,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// Versions 2 to 4: how long the offsets are kept; −1: as the broker says.
    pub retention_time_ms: i64,
    pub topics: Vec<(String, Vec<CommitPartition>)>,
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub metadata: String,
}

/// The answer to [`CommitOffsets`] and [`DeleteOffsets`]: an error per partition, in the order of what was asked.
pub type PartitionErrors = Vec<(String, Vec<(i32, ErrorCode)>)>;

/// One group of OffsetFetch (key 9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchOffsets {
    pub group_id: String,
    /// Version 9 and up.
    pub member_id: Option<String>,
    /// Version 9 and up; −1 otherwise.
    pub member_epoch: i32,
    /// `None`: everything that the group has committed.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
    /// Offsets that a transaction is about to commit are answered with UNSTABLE_OFFSET_COMMIT (KIP-447).
    pub require_stable: bool,
}

/// The answer to [`FetchOffsets`], in the order of what was asked.
pub type FetchedOffsets = Vec<(String, Vec<FetchedOffset>)>;

/// A committed offset, or −1 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub metadata: String,
    pub error: ErrorCode,
}

/// OffsetDelete (key 47) of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOffsets {
    pub group_id: String,
    pub topics: Vec<(String, Vec<i32>)>,
}

/// What ListGroups (key 16) says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: String,
    /// Empty for a group that only commits offsets.
    pub protocol_type: String,
    pub state: GroupState,
}

/// What DescribeGroups (key 15) says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    pub group_id: String,
    pub state: GroupState,
    pub protocol_type: String,
    /// Empty unless the group is stable.
    pub protocol_name: String,
    pub members: Vec<MemberDescription>,
}

/// A member as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// Empty unless the group is stable.
    pub metadata: Bytes,
    /// Empty unless the group is stable.
    pub assignment: Bytes,
}

/// State of a classic group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; it may have offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// There is no such group.
    Dead,
}

impl GroupState {
    /// Kafka's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}
