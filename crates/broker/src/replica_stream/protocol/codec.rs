use super::{Answer, Entry, ProtocolError, StreamHello, Welcome};
use bytes::Bytes;
use replica::{EntryHeader, FollowerAck, FollowerHello, HelloAnswer};
use types::{
    BrokerEpoch, DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, StreamGeneration, TopicId, TopicPartition,
};
use uuid::Uuid;

/// Lengths of our own frames are bounded far below this type by [`types::limits::REPLICA_FRAME_BYTES_MAX`].
pub(super) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

pub(super) fn checksum(fixed: &[u8], head: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(fixed);
    digest.update(head);
    // A 32-bit checksum in a 64-bit answer.
    digest.finalize() as u32
}

#[derive(Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn offset(&mut self, value: Offset) {
        self.bytes.extend_from_slice(&value.0.to_be_bytes());
    }

    fn text(&mut self, value: &str) {
        let cut = value.floor_char_boundary(usize::from(u16::MAX));
        self.u16(u16::try_from(cut).unwrap_or(u16::MAX));
        self.bytes.extend_from_slice(&value.as_bytes()[..cut]);
    }

    pub fn tp(&mut self, tp: TopicPartition) {
        self.bytes.extend_from_slice(tp.topic.0.as_bytes());
        self.i32(tp.partition);
    }

    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.bytes.extend_from_slice(&length(items.len()).to_be_bytes());
        for item in items {
            write(self, item);
        }
    }

    pub fn hello(&mut self, magic: &[u8; 4], hello: &StreamHello) {
        self.bytes.extend_from_slice(magic);
        self.u16(hello.versions.0);
        self.u16(hello.versions.1);
        self.text(&hello.cluster_id);
        self.i32(hello.from.0);
        self.i32(hello.to.0);
        self.u64(hello.broker_epoch.0);
        self.u64(hello.stream_id);
        for number in [
            hello.follower_shards,
            hello.follower_shard,
            hello.leader_shards,
            hello.leader_shard,
        ] {
            self.u16(number);
        }
        let directories = &hello.directories[..hello.directories.len().min(usize::from(u16::MAX))];
        self.u16(u16::try_from(directories.len()).unwrap_or(u16::MAX));
        for directory in directories {
            self.bytes.extend_from_slice(directory.0.as_bytes());
        }
    }

    pub fn welcome(&mut self, welcome: &Welcome) {
        self.i16(welcome.code.code());
        self.u16(welcome.version);
        self.u64(welcome.broker_epoch.0);
        self.text(&welcome.message);
    }

    pub fn position(&mut self, tp: TopicPartition, hello: &FollowerHello) {
        self.tp(tp);
        self.i32(hello.node.0);
        self.i32(hello.leader_epoch.0);
        self.u64(hello.generation.0);
        self.u64(hello.broker_epoch.0);
        self.offset(hello.log_start);
        self.offset(hello.log_end);
        self.offset(hello.durable);
        self.i32(hello.last_epoch.0);
    }

    pub fn answer(&mut self, answer: &Answer) {
        self.tp(answer.tp);
        self.u64(answer.generation.0);
        match answer.answer {
            Ok(HelloAnswer::SendFrom {
                offset,
                high_watermark,
                log_start,
            }) => {
                self.u8(0);
                self.offset(offset);
                self.offset(high_watermark);
                self.offset(log_start);
            }
            Ok(HelloAnswer::Diverging { epoch, end_offset }) => {
                self.u8(1);
                self.i32(epoch.0);
                self.offset(end_offset);
            }
            Ok(HelloAnswer::StartOver { log_start }) => {
                self.u8(2);
                self.offset(log_start);
            }
            Err(code) => {
                self.u8(3);
                self.i16(code.code());
            }
        }
    }

    pub fn entry(&mut self, entry: &Entry) {
        self.tp(entry.tp);
        let header = &entry.header;
        self.i32(header.leader_epoch.0);
        self.offset(header.previous_end);
        self.i32(header.previous_epoch.0);
        self.u64(header.generation.0);
        self.offset(header.high_watermark);
        self.offset(header.log_start);
        self.u64(header.digest);
        self.bytes.extend_from_slice(&length(entry.records.len()).to_be_bytes());
    }

    pub fn ack(&mut self, tp: TopicPartition, ack: &FollowerAck) {
        self.tp(tp);
        self.i32(ack.node.0);
        self.i32(ack.leader_epoch.0);
        self.u64(ack.generation.0);
        self.offset(ack.log_end);
        self.offset(ack.durable);
        self.offset(ack.log_start);
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtocolError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, ProtocolError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn i16(&mut self) -> Result<i16, ProtocolError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32, ProtocolError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn offset(&mut self) -> Result<Offset, ProtocolError> {
        Ok(Offset(i64::from_be_bytes(self.take()?)))
    }

    fn text(&mut self) -> Result<String, ProtocolError> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.rest.split_at_checked(length).ok_or(ProtocolError::Short)?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).map_err(|_| ProtocolError::Content("text is not UTF-8"))
    }

    pub fn tp(&mut self) -> Result<TopicPartition, ProtocolError> {
        let topic = TopicId(Uuid::from_bytes(self.take()?));
        let partition = self.i32()?;
        if partition < 0 {
            return Err(ProtocolError::Content("a partition is negative"));
        }
        Ok(TopicPartition { topic, partition })
    }

    /// `least` is the size of the smallest item: a count that cannot be true allocates nothing.
    pub fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, ProtocolError>,
    ) -> Result<Vec<T>, ProtocolError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / least {
            return Err(ProtocolError::Short);
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub fn hello(&mut self, magic: &[u8; 4]) -> Result<StreamHello, ProtocolError> {
        if self.take::<4>()? != *magic {
            return Err(ProtocolError::Content("not a replica stream"));
        }
        let hello = StreamHello {
            versions: (self.u16()?, self.u16()?),
            cluster_id: self.text()?,
            from: NodeId(self.i32()?),
            to: NodeId(self.i32()?),
            broker_epoch: BrokerEpoch(self.u64()?),
            stream_id: self.u64()?,
            follower_shards: self.u16()?,
            follower_shard: self.u16()?,
            leader_shards: self.u16()?,
            leader_shard: self.u16()?,
            directories: Vec::new(),
        };
        let count = usize::from(self.u16()?);
        if count > self.rest.len() / 16 {
            return Err(ProtocolError::Short);
        }
        let directory = |_| Ok(DirectoryId(Uuid::from_bytes(self.take()?)));
        let directories = (0..count).map(directory).collect::<Result<_, ProtocolError>>()?;
        Ok(StreamHello { directories, ..hello })
    }

    pub fn welcome(&mut self) -> Result<Welcome, ProtocolError> {
        Ok(Welcome {
            code: ErrorCode::from_code(self.i16()?),
            version: self.u16()?,
            broker_epoch: BrokerEpoch(self.u64()?),
            message: self.text()?,
        })
    }

    pub fn position(&mut self) -> Result<(TopicPartition, FollowerHello), ProtocolError> {
        let tp = self.tp()?;
        let node = NodeId(self.i32()?);
        let leader_epoch = LeaderEpoch(self.i32()?);
        let generation = StreamGeneration(self.u64()?);
        let broker_epoch = BrokerEpoch(self.u64()?);
        let (log_start, log_end, durable) = (self.offset()?, self.offset()?, self.offset()?);
        let last_epoch = LeaderEpoch(self.i32()?);
        let hello = FollowerHello {
            node,
            broker_epoch,
            generation,
            leader_epoch,
            log_start,
            log_end,
            durable,
            last_epoch,
        };
        Ok((tp, hello))
    }

    pub fn answer(&mut self) -> Result<Answer, ProtocolError> {
        let tp = self.tp()?;
        let generation = StreamGeneration(self.u64()?);
        let answer = match self.u8()? {
            0 => Ok(HelloAnswer::SendFrom {
                offset: self.offset()?,
                high_watermark: self.offset()?,
                log_start: self.offset()?,
            }),
            1 => Ok(HelloAnswer::Diverging {
                epoch: LeaderEpoch(self.i32()?),
                end_offset: self.offset()?,
            }),
            2 => Ok(HelloAnswer::StartOver {
                log_start: self.offset()?,
            }),
            3 => Err(ErrorCode::from_code(self.i16()?)),
            _ => return Err(ProtocolError::Content("an answer of no known kind")),
        };
        Ok(Answer { tp, generation, answer })
    }

    /// `body` is what is left of that of a frame of `frame` bytes: records are kept, in the tail cache, and must not keep it.
    pub fn entry(&mut self, body: &mut Bytes, frame: usize) -> Result<Entry, ProtocolError> {
        let tp = self.tp()?;
        let header = EntryHeader {
            leader_epoch: LeaderEpoch(self.i32()?),
            previous_end: self.offset()?,
            previous_epoch: LeaderEpoch(self.i32()?),
            generation: StreamGeneration(self.u64()?),
            high_watermark: self.offset()?,
            log_start: self.offset()?,
            digest: self.u64()?,
        };
        let length = self.u32()? as usize;
        if length > body.len() {
            return Err(ProtocolError::Short);
        }
        Ok(Entry {
            tp,
            header,
            records: records::detached(body.split_to(length), frame),
        })
    }

    pub fn ack(&mut self) -> Result<(TopicPartition, FollowerAck), ProtocolError> {
        let tp = self.tp()?;
        let node = NodeId(self.i32()?);
        let leader_epoch = LeaderEpoch(self.i32()?);
        let generation = StreamGeneration(self.u64()?);
        let (log_end, durable, log_start) = (self.offset()?, self.offset()?, self.offset()?);
        Ok((
            tp,
            FollowerAck {
                node,
                leader_epoch,
                generation,
                log_end,
                durable,
                log_start,
            },
        ))
    }
}
