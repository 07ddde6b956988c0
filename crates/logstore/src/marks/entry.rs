use super::{LogKey, MarksError};
use types::{LeaderEpoch, Offset, ReplicaIncarnation, TopicId, TopicPartition};
use uuid::Uuid;

/// One fact about one log.
///
/// ```text
///  0    1                17          21            29
///  ├────┼────────────────┼───────────┼─────────────┼──────────────────────────────
///  │kind│ topic id (16)  │partition  │ incarnation │ by kind:
///  │ u8 │                │ i32       │ u64         │ 1 create          len u16, topic name
///  └────┴────────────────┴───────────┴─────────────┤ 2 mark            offset i64
///                                                  │ 3 epoch           epoch i32, start i64
///   all integers big-endian                        │ 4 truncate        offset i64
///                                                  │ 5 truncate fully  offset i64
///                                                  │ 6 log start       offset i64
///                                                  │ 7 delete          –
///                                                  │ 8 removed         –
///                                                  │ 9 recovery point  offset i64
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Create {
        key: LogKey,
        name: String,
    },
    /// Everything below is on disk, and so are all changes of files journalled before.
    Mark {
        key: LogKey,
        offset: Offset,
    },
    Epoch {
        key: LogKey,
        epoch: LeaderEpoch,
        start: Offset,
    },
    Truncate {
        key: LogKey,
        offset: Offset,
    },
    TruncateFully {
        key: LogKey,
        offset: Offset,
    },
    LogStart {
        key: LogKey,
        offset: Offset,
    },
    /// The replica is gone; its files are to be removed.
    Delete {
        key: LogKey,
    },
    /// No file of a deleted replica has its old name any more.
    Removed {
        key: LogKey,
    },
    /// The index files on disk say all of the segments below, and of the segment that holds it.
    RecoveryPoint {
        key: LogKey,
        offset: Offset,
    },
}

impl Entry {
    pub(crate) fn key(&self) -> LogKey {
        match self {
            Self::Create { key, .. }
            | Self::Mark { key, .. }
            | Self::Epoch { key, .. }
            | Self::Truncate { key, .. }
            | Self::TruncateFully { key, .. }
            | Self::LogStart { key, .. }
            | Self::Delete { key }
            | Self::Removed { key }
            | Self::RecoveryPoint { key, .. } => *key,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Create { .. } => 1,
            Self::Mark { .. } => 2,
            Self::Epoch { .. } => 3,
            Self::Truncate { .. } => 4,
            Self::TruncateFully { .. } => 5,
            Self::LogStart { .. } => 6,
            Self::Delete { .. } => 7,
            Self::Removed { .. } => 8,
            Self::RecoveryPoint { .. } => 9,
        }
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let key = self.key();
        into.push(self.kind());
        into.extend_from_slice(key.tp.topic.0.as_bytes());
        into.extend_from_slice(&key.tp.partition.to_be_bytes());
        into.extend_from_slice(&key.incarnation.0.to_be_bytes());
        match self {
            Self::Create { name, .. } => {
                // Names are at most 249 bytes long; the caller checked.
                into.extend_from_slice(&(name.len() as u16).to_be_bytes());
                into.extend_from_slice(name.as_bytes());
            }
            Self::Epoch { epoch, start, .. } => {
                into.extend_from_slice(&epoch.0.to_be_bytes());
                into.extend_from_slice(&start.0.to_be_bytes());
            }
            Self::Mark { offset, .. }
            | Self::Truncate { offset, .. }
            | Self::TruncateFully { offset, .. }
            | Self::LogStart { offset, .. }
            | Self::RecoveryPoint { offset, .. } => into.extend_from_slice(&offset.0.to_be_bytes()),
            Self::Delete { .. } | Self::Removed { .. } => {}
        }
    }

    /// Takes one entry off the front of `bytes`.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, MarksError> {
        let [kind] = take::<1>(bytes)?;
        let topic = TopicId(Uuid::from_bytes(take(bytes)?));
        let partition = i32::from_be_bytes(take(bytes)?);
        let incarnation = ReplicaIncarnation(u64::from_be_bytes(take(bytes)?));
        let key = LogKey {
            tp: TopicPartition { topic, partition },
            incarnation,
        };
        Ok(match kind {
            1 => {
                let len = usize::from(u16::from_be_bytes(take(bytes)?));
                let Some((name, rest)) = bytes.split_at_checked(len) else {
                    return Err(MarksError::Entry("a name is cut"));
                };
                *bytes = rest;
                let name = str::from_utf8(name).map_err(|_| MarksError::Entry("a name is not UTF-8"))?;
                Self::Create {
                    key,
                    name: name.to_owned(),
                }
            }
            2 => Self::Mark {
                key,
                offset: offset(bytes)?,
            },
            3 => {
                let epoch = LeaderEpoch(i32::from_be_bytes(take(bytes)?));
                Self::Epoch {
                    key,
                    epoch,
                    start: offset(bytes)?,
                }
            }
            4 => Self::Truncate {
                key,
                offset: offset(bytes)?,
            },
            5 => Self::TruncateFully {
                key,
                offset: offset(bytes)?,
            },
            6 => Self::LogStart {
                key,
                offset: offset(bytes)?,
            },
            7 => Self::Delete { key },
            8 => Self::Removed { key },
            9 => Self::RecoveryPoint {
                key,
                offset: offset(bytes)?,
            },
            _ => return Err(MarksError::Entry("unknown kind")),
        })
    }
}

fn offset(bytes: &mut &[u8]) -> Result<Offset, MarksError> {
    let offset = i64::from_be_bytes(take(bytes)?);
    if offset < 0 {
        Err(MarksError::Entry("negative offset"))
    } else {
        Ok(Offset(offset))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], MarksError> {
    let (head, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or(MarksError::Entry("an entry is cut"))?;
    *bytes = rest;
    Ok(*head)
}
