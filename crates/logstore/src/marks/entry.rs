use super::{LogKey, MarksError};
use bytes::Bytes;
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
///                                                  │10 data            see [`Data`]
///                                                  │11 files           sequence u64
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
    /// Bytes of a segment that is not synced yet.
    Data {
        key: LogKey,
        data: Data,
    },
    /// The log's [`Data::files`] from now on.
    Files {
        key: LogKey,
        files: u64,
    },
}

/// New bytes of a segment: whole batches, whose headers say of which leader epochs.
///
/// ```text
///  0       8              16         20       24        24+length
///  ├───────┼──────────────┼──────────┼────────┼─────────┤
///  │ files │ segment base │ position │ length │ bytes … │
///  │ u64   │ i64          │ u32      │ u32    │         │
///  └───────┴──────────────┴──────────┴────────┴─────────┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Data {
    /// The incarnation of the log's segments: sequence of the round that created, cut or replaced them last. ◆ Bytes of
    /// another one never go to a file again.
    pub(crate) files: u64,
    pub(crate) base: Offset,
    /// In the segment.
    pub(crate) position: u32,
    /// Contiguous.
    pub(crate) parts: Vec<Bytes>,
}

impl Data {
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Offset after the last batch; the highest there is where they do not say it.
    pub(crate) fn end(&self) -> Offset {
        let offsets = self.parts.last().and_then(crate::LogSlice::offsets);
        offsets.map_or(Offset(i64::MAX), |(_, next)| next)
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.files.to_be_bytes());
        into.extend_from_slice(&self.base.0.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
        // A round's budget is far below 4 GiB.
        into.extend_from_slice(&(self.len() as u32).to_be_bytes());
        self.parts.iter().for_each(|part| into.extend_from_slice(part));
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, MarksError> {
        let files = u64::from_be_bytes(take(bytes)?);
        let base = offset(bytes)?;
        let position = u32::from_be_bytes(take(bytes)?);
        let len = u32::from_be_bytes(take(bytes)?) as usize;
        let Some((data, rest)) = bytes.split_at_checked(len) else {
            return Err(MarksError::Entry("data is cut"));
        };
        *bytes = rest;
        let parts = vec![Bytes::copy_from_slice(data)];
        Ok(Self {
            files,
            base,
            position,
            parts,
        })
    }
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
            | Self::RecoveryPoint { key, .. }
            | Self::Data { key, .. }
            | Self::Files { key, .. } => *key,
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
            Self::Data { .. } => 10,
            Self::Files { .. } => 11,
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
            Self::Data { data, .. } => data.encode(into),
            Self::Files { files, .. } => into.extend_from_slice(&files.to_be_bytes()),
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
            10 => Self::Data {
                key,
                data: Data::decode(bytes)?,
            },
            11 => Self::Files {
                key,
                files: u64::from_be_bytes(take(bytes)?),
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
