//! The records of `__consumer_offsets`, in Kafka's formats: a key and a value, each a version (int16) and then the fields of
//! the schema in `group-coordinator/src/main/resources/common/message`. The version of a key says what it is of.
//!
//! | key | fields | value |
//! |---|---|---|
//! | 0, 1 `OffsetCommitKey` | group string, topic string, partition int32 | `OffsetCommitValue` 0–4 |
//! | 2 `GroupMetadataKey` | group string | `GroupMetadataValue` 0–4 |
//!
//! Strings have an int16 length, bytes an int32 length; in flexible versions (4) both have an unsigned varint of length + 1,
//! and tagged fields follow. An absent value is a tombstone.

mod reader;
mod writer;

use bytes::Bytes;
use reader::Reader;
use types::TopicId;
use uuid::Uuid;
use writer::Writer;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What a group has committed for a partition; `None`: it is forgotten.
    Offset {
        group_id: String,
        topic: String,
        partition: i32,
        value: Option<CommittedOffset>,
    },
    /// A generation of a group; `None`: the group is gone.
    Group {
        group_id: String,
        value: Option<GroupMetadata>,
    },
}

/// A committed offset (`OffsetCommitValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// −1: not known.
    pub leader_epoch: i32,
    pub metadata: String,
    /// Milliseconds since 1970.
    pub commit_timestamp: i64,
    /// Milliseconds since 1970; −1: as long as the broker keeps offsets.
    pub expire_timestamp: i64,
    /// Zero: not known.
    pub topic_id: TopicId,
}

/// A generation of a group (`GroupMetadataValue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Milliseconds since 1970; −1: not known.
    pub current_state_timestamp: i64,
    pub members: Vec<MemberMetadata>,
}

/// A member of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// Milliseconds.
    pub rebalance_timeout: i32,
    /// Milliseconds.
    pub session_timeout: i32,
    /// What it said of the protocol that was chosen.
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// Why bytes are no record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record ends before its fields do")]
    Short,
    #[error("a length is negative or longer than the record")]
    Length,
    #[error("a string is not UTF-8")]
    Text,
    #[error("version {0} is not known")]
    Version(i16),
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// What Kafka 4.3 writes; an offset that expires by itself needs version 1.
const OFFSET_VALUE: i16 = 4;
const OFFSET_VALUE_EXPIRING: i16 = 1;
const GROUP_VALUE: i16 = 3;
const TOPIC_ID_TAG: u32 = 0;

impl Record {
    /// Key and value as they are written; no value: a tombstone.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Offset {
                group_id,
                topic,
                partition,
                value,
            } => {
                let mut key = Writer::new(OFFSET_KEY);
                key.string(group_id);
                key.string(topic);
                key.i32(*partition);
                (key.bytes(), value.as_ref().map(encode_offset))
            }
            Self::Group { group_id, value } => {
                let mut key = Writer::new(GROUP_KEY);
                key.string(group_id);
                (key.bytes(), value.as_ref().map(encode_group))
            }
        }
    }

    /// Reads a record; `None` for a key of another kind, which belongs to features that are not here yet.
    ///
    /// # Errors
    /// [`RecordError`]; a value whose version is too new included, since what it says is not known.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Self>, RecordError> {
        let mut key = Reader::new(key);
        match key.i16()? {
            0 | OFFSET_KEY => Ok(Some(Self::Offset {
                group_id: key.string()?,
                topic: key.string()?,
                partition: key.i32()?,
                value: value.map(decode_offset).transpose()?,
            })),
            GROUP_KEY => Ok(Some(Self::Group {
                group_id: key.string()?,
                value: value.map(decode_group).transpose()?,
            })),
            _ => Ok(None),
        }
    }
}

fn encode_offset(offset: &CommittedOffset) -> Vec<u8> {
    if offset.expire_timestamp != -1 {
        let mut out = Writer::new(OFFSET_VALUE_EXPIRING);
        out.i64(offset.offset);
        out.string(&offset.metadata);
        out.i64(offset.commit_timestamp);
        out.i64(offset.expire_timestamp);
        return out.bytes();
    }
    let mut out = Writer::new(OFFSET_VALUE);
    out.i64(offset.offset);
    out.i32(offset.leader_epoch);
    out.compact_string(&offset.metadata);
    out.i64(offset.commit_timestamp);
    if offset.topic_id.is_zero() {
        out.varint(0);
    } else {
        out.varint(1);
        out.varint(TOPIC_ID_TAG);
        out.varint(16);
        out.raw(offset.topic_id.0.as_bytes());
    }
    out.bytes()
}

fn decode_offset(value: &Bytes) -> Result<CommittedOffset, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let flexible = version >= 4;
    let mut read = CommittedOffset {
        offset: value.i64()?,
        leader_epoch: if version >= 3 { value.i32()? } else { -1 },
        metadata: value.string_of(flexible)?,
        commit_timestamp: value.i64()?,
        expire_timestamp: if version == 1 { value.i64()? } else { -1 },
        topic_id: TopicId::default(),
    };
    if flexible {
        for (tag, field) in value.tagged_fields()? {
            if tag == TOPIC_ID_TAG {
                let id = field.as_ref().try_into().map_err(|_| RecordError::Length)?;
                read.topic_id = TopicId(Uuid::from_bytes(id));
            }
        }
    }
    Ok(read)
}

fn encode_group(group: &GroupMetadata) -> Vec<u8> {
    let mut out = Writer::new(GROUP_VALUE);
    out.string(&group.protocol_type);
    out.i32(group.generation);
    out.nullable_string(group.protocol.as_deref());
    out.nullable_string(group.leader.as_deref());
    out.i64(group.current_state_timestamp);
    out.array(group.members.len());
    for member in &group.members {
        out.string(&member.member_id);
        out.nullable_string(member.group_instance_id.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.i32(member.rebalance_timeout);
        out.i32(member.session_timeout);
        out.byte_field(&member.subscription);
        out.byte_field(&member.assignment);
    }
    out.bytes()
}

fn decode_group(value: &Bytes) -> Result<GroupMetadata, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let flexible = version >= 4;
    let protocol_type = value.string_of(flexible)?;
    let generation = value.i32()?;
    let protocol = value.nullable_string_of(flexible)?;
    let leader = value.nullable_string_of(flexible)?;
    let current_state_timestamp = if version >= 2 { value.i64()? } else { -1 };
    let count = value.array_of(flexible)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(&mut value, version, flexible)?);
    }
    Ok(GroupMetadata {
        protocol_type,
        generation,
        protocol,
        leader,
        current_state_timestamp,
        members,
    })
}

fn decode_member(value: &mut Reader<'_>, version: i16, flexible: bool) -> Result<MemberMetadata, RecordError> {
    let member_id = value.string_of(flexible)?;
    let group_instance_id = match version {
        3.. => value.nullable_string_of(flexible)?,
        _ => None,
    };
    let (client_id, client_host) = (value.string_of(flexible)?, value.string_of(flexible)?);
    let given = if version >= 1 { value.i32()? } else { -1 };
    let session_timeout = value.i32()?;
    let (subscription, assignment) = (value.bytes_of(flexible)?, value.bytes_of(flexible)?);
    if flexible {
        value.tagged_fields()?;
    }
    Ok(MemberMetadata {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        // Version 0 knows one timeout for both.
        rebalance_timeout: if given == -1 { session_timeout } else { given },
        session_timeout,
        subscription,
        assignment,
    })
}

#[cfg(test)]
mod tests;
