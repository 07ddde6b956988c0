use crate::header::write_crc;
use crate::varint::{put_varint, put_varlong, varint_len, varlong_len};
use crate::{BATCH_HEADER_LEN, BatchHeader, Compression, compress};
use bytes::Bytes;
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Builds one batch, for the broker's own records (offsets, transaction state) and for tests.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    header: BatchHeader,
    /// Encoded records.
    records: Vec<u8>,
    attributes: i16,
}

impl BatchBuilder {
    /// An empty batch at offset 0, without leader epoch and producer.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: 0,
            leader_epoch: LeaderEpoch::NONE,
            magic: 2,
            crc: 0,
            attributes: compression.id(),
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            record_count: 0,
        };
        Self {
            compression,
            header,
            records: Vec::new(),
            attributes: 0,
        }
    }

    /// The producer (KIP-98).
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Epoch of the leader that appends it.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= 0x10;
        self
    }

    /// A batch of control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= 0x20;
        self
    }

    /// Records pushed so far.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.header.record_count).unwrap_or(0)
    }

    /// Whether no record was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// Adds a record at the next offset.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Bytes>)],
    ) {
        if self.header.record_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.header.record_count += 1;
        self.header.last_offset_delta += 1;
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        let offset_delta = self.header.last_offset_delta;
        let mut length = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta);
        length += field_len(key) + field_len(value) + varint_len(length_of(headers.len()));
        for (name, value) in headers {
            length += field_len(Some(name.as_bytes())) + field_len(value.as_deref());
        }
        let out = &mut self.records;
        put_varint(out, length_of(length));
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_field(out, key);
        put_field(out, value);
        put_varint(out, length_of(headers.len()));
        for (name, value) in headers {
            put_field(out, Some(name.as_bytes()));
            put_field(out, value.as_deref());
        }
    }

    /// The batch, compressed, with its CRC. A codec that fails (they do so only on exhausted memory) leaves
    /// the records uncompressed.
    #[must_use]
    pub fn build(mut self) -> Bytes {
        let payload = match self.compression {
            Compression::None => self.records,
            codec => match compress(codec, None, &self.records) {
                Ok(packed) => packed,
                Err(_) => {
                    self.header.attributes = Compression::None.id();
                    self.records
                }
            },
        };
        self.header.attributes |= self.attributes;
        let mut batch = vec![0; BATCH_HEADER_LEN];
        batch.extend_from_slice(&payload);
        self.header.batch_length = length_of(batch.len() - crate::header::LENGTH_OVERHEAD);
        self.header.write(&mut batch);
        write_crc(&mut batch);
        Bytes::from(batch)
    }
}

/// Own data: a batch of 2 GiB would be a bug of the caller.
fn length_of(length: usize) -> i32 {
    assert!(length <= i32::MAX as usize, "a batch of more than 2 GiB");
    length as i32
}

fn field_len(field: Option<&[u8]>) -> usize {
    field.map_or(varint_len(-1), |field| varint_len(length_of(field.len())) + field.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varint(out, -1),
        Some(field) => {
            put_varint(out, length_of(field.len()));
            out.extend_from_slice(field);
        }
    }
}
