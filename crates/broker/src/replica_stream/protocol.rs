//! Frames of a replica stream, version 1. All integers are big-endian.
//!
//! ```text
//!  0        4      5      6           8             12          16           16+head
//!  ├────────┼──────┼──────┼───────────┼─────────────┼───────────┼────────────┼────────────────────────┤
//!  │ length │ kind │ zero │ version   │ head length │ head CRC  │ head …     │ body: record batches … │
//!  │ u32    │ u8   │ u8   │ u16       │ u32         │ u32       │            │ (data frames only)     │
//!  └────────┴──────┴──────┴───────────┴─────────────┴───────────┴────────────┴────────────────────────┘
//!   length: bytes after itself.   head CRC: CRC-32C over bytes 4..12 and the head.
//!   The body is covered by the CRC of each batch, and by the digest in its entry for what that CRC leaves out.
//!
//!  kind 1 hello     magic "OTRS" │ min u16 │ max u16 │ cluster id │ from i32 │ to i32 │ broker epoch u64 │
//!                   stream id u64 │ follower shards u16, shard u16 │ leader shards u16, shard u16 │
//!                   directories: count u16, 16 bytes each
//!  kind 2 welcome   code i16 │ version u16 │ broker epoch u64 │ message
//!  kind 3 positions count u32, each: topic 16 │ partition i32 │ node i32 │ leader epoch i32 │ generation u64 │ broker epoch
//!                   u64 │ log start i64 │ log end i64 │ durable i64 │ last epoch i32
//!  kind 4 answers   count u32, each: topic 16 │ partition i32 │ generation u64 │ kind u8, then
//!                   0 send from: offset, high watermark, log start   1 diverging: epoch i32, end
//!                   2 start over: log start                          3 refused: code i16
//!  kind 5 data      count u32, each: topic 16 │ partition i32 │ leader epoch i32 │ previous end i64 │ previous
//!                   epoch i32 │ generation u64 │ high watermark i64 │ log start i64 │ digest u64 │ body bytes u32
//!  kind 6 acks      count u32, each: topic 16 │ partition i32 │ node i32 │ leader epoch i32 │ generation u64 │ log end i64 │
//!                   durable i64 │ log start i64
//!  kind 7 keep-alive  nothing
//!  kind 8 leaves    count u32, each: topic 16 │ partition i32
//!  Text: length u16, UTF-8.
//! ```

mod codec;

use bytes::Bytes;
use codec::{Reader, Writer};
use host::Gathered;
use replica::{EntryHeader, FollowerAck, FollowerHello, HelloAnswer};
use types::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, StreamGeneration, TopicPartition, limits};

/// The only version there is.
pub const VERSION: u16 = 1;
/// Bytes of the frame's length field.
pub const LENGTH_BYTES: usize = 4;
const FIXED: usize = 12;
const MAGIC: [u8; 4] = *b"OTRS";

/// Why bytes are no frame. The stream is closed: nothing after them can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("a frame of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("the frame ends early")]
    Short,
    #[error("the head's CRC is wrong")]
    Crc,
    #[error("frame kind {0} is not known")]
    Kind(u8),
    #[error("version {0} is not spoken here")]
    Version(u16),
    #[error("{0}")]
    Content(&'static str),
}

/// What a follower's shard says when it has dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHello {
    pub versions: (u16, u16),
    pub cluster_id: String,
    pub from: NodeId,
    pub to: NodeId,
    pub broker_epoch: BrokerEpoch,
    pub stream_id: u64,
    pub follower_shards: u16,
    pub follower_shard: u16,
    pub leader_shards: u16,
    pub leader_shard: u16,
    pub directories: Vec<DirectoryId>,
}

/// The leader's answer; [`ErrorCode::None`] opens the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub code: ErrorCode,
    pub version: u16,
    pub broker_epoch: BrokerEpoch,
    pub message: String,
}

/// The leader's answer for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub tp: TopicPartition,
    pub generation: StreamGeneration,
    pub answer: Result<HelloAnswer, ErrorCode>,
}

/// One partition's part of a data frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub tp: TopicPartition,
    pub header: EntryHeader,
    pub records: Bytes,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Hello(StreamHello),
    Welcome(Welcome),
    Positions(Vec<(TopicPartition, FollowerHello)>),
    Answers(Vec<Answer>),
    Data(Vec<Entry>),
    Acks(Vec<(TopicPartition, FollowerAck)>),
    KeepAlive,
    /// Partitions that the follower takes no more of until it states a position again.
    Leaves(Vec<TopicPartition>),
}

/// The frame's length field, checked before anything is allocated for it.
///
/// # Errors
/// [`ProtocolError::TooLong`], [`ProtocolError::Short`].
pub fn frame_length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, ProtocolError> {
    let length = u32::from_be_bytes(bytes) as usize;
    match length {
        _ if length > limits::REPLICA_FRAME_BYTES_MAX => Err(ProtocolError::TooLong(length)),
        _ if length < FIXED => Err(ProtocolError::Short),
        _ => Ok(length),
    }
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Welcome(_) => 2,
            Self::Positions(_) => 3,
            Self::Answers(_) => 4,
            Self::Data(_) => 5,
            Self::Acks(_) => 6,
            Self::KeepAlive => 7,
            Self::Leaves(_) => 8,
        }
    }

    /// The frame with its length, ready to be written. Records are pieces of it, not copied.
    #[must_use]
    pub fn encode(&self) -> Gathered {
        let mut head = Writer::default();
        let mut body = 0;
        match self {
            Self::Hello(hello) => head.hello(&MAGIC, hello),
            Self::Welcome(welcome) => head.welcome(welcome),
            Self::Positions(positions) => head.list(positions, |head, (tp, hello)| head.position(*tp, hello)),
            Self::Answers(answers) => head.list(answers, Writer::answer),
            Self::Data(entries) => {
                head.list(entries, Writer::entry);
                body = entries.iter().map(|entry| entry.records.len()).sum();
            }
            Self::Acks(acks) => head.list(acks, |head, (tp, ack)| head.ack(*tp, ack)),
            Self::KeepAlive => {}
            Self::Leaves(left) => head.list(left, |head, tp| head.tp(*tp)),
        }
        let head = head.bytes;
        let mut frame = Vec::with_capacity(LENGTH_BYTES + FIXED + head.len());
        frame.extend_from_slice(&codec::length(FIXED + head.len() + body).to_be_bytes());
        frame.extend_from_slice(&[self.kind(), 0]);
        frame.extend_from_slice(&VERSION.to_be_bytes());
        frame.extend_from_slice(&codec::length(head.len()).to_be_bytes());
        let crc = codec::checksum(&frame[LENGTH_BYTES..], &head);
        frame.extend_from_slice(&crc.to_be_bytes());
        frame.extend_from_slice(&head);
        let mut whole = Gathered::from(Bytes::from(frame));
        if let Self::Data(entries) = self {
            for entry in entries {
                whole.push(entry.records.clone());
            }
        }
        whole
    }

    /// Decodes what follows the length field. Never panics, and allocates no more than a few times `frame`.
    ///
    /// # Errors
    /// [`ProtocolError`].
    pub fn decode(frame: &Bytes) -> Result<Self, ProtocolError> {
        let mut fixed = Reader::new(frame);
        let kind = fixed.u8()?;
        if fixed.u8()? != 0 {
            return Err(ProtocolError::Content("a reserved byte is not zero"));
        }
        let version = fixed.u16()?;
        let head_length = fixed.u32()? as usize;
        let crc = fixed.u32()?;
        let end = FIXED.checked_add(head_length).ok_or(ProtocolError::Short)?;
        let head = frame.get(FIXED..end).ok_or(ProtocolError::Short)?;
        if codec::checksum(&frame[..8], head) != crc {
            return Err(ProtocolError::Crc);
        }
        // A hello of any version is read, so that it can be refused with a word.
        if version != VERSION && kind != 1 {
            return Err(ProtocolError::Version(version));
        }
        let mut reader = Reader::new(head);
        let mut body = frame.slice(end..);
        let decoded = match kind {
            1 => Self::Hello(reader.hello(&MAGIC)?),
            2 => Self::Welcome(reader.welcome()?),
            3 => Self::Positions(reader.list(72, Reader::position)?),
            4 => Self::Answers(reader.list(31, Reader::answer)?),
            5 => Self::Data(reader.list(72, |reader| reader.entry(&mut body, frame.len()))?),
            6 => Self::Acks(reader.list(56, Reader::ack)?),
            7 => Self::KeepAlive,
            8 => Self::Leaves(reader.list(20, Reader::tp)?),
            other => return Err(ProtocolError::Kind(other)),
        };
        if reader.left() != 0 || !body.is_empty() {
            return Err(ProtocolError::Content("bytes are left over"));
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests;
