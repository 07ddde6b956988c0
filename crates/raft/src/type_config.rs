use crate::runtime::SwitchRuntime;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an entry of the metadata log holds: records (in the format of `proto/metadata.proto`), planned on the image
/// whose last records entry was at `base`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub base: u64,
    pub records: Bytes,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of records on {}", self.records.len(), self.base)
    }
}

/// What became of an entry when it was applied; the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// Blank, or a change of members.
    Nothing,
    Records,
    /// Another records entry got in between: nothing was changed.
    Stale,
    /// The records do not fit the image: nothing was changed.
    Invalid(String),
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

openraft::declare_raft_types!(
    /// Standard Raft: one leader a term.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = SwitchRuntime,
);

pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>;
