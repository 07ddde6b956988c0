use crate::{BatchError, Compression};
use types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes before the first record of a batch.
pub const BATCH_HEADER_LEN: usize = 61;
/// Base offset and length: what the length field does not count.
pub(crate) const LENGTH_OVERHEAD: usize = 12;
/// Where the range covered by the CRC starts.
pub(crate) const CRC_START: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// The fixed part of a record batch, message format v2 (KIP-98). All integers are big-endian.
///
/// ```text
///  0       8       12      16  17   21    23      27       35       43        51     53      57      61
///  ├───────┼───────┼───────┼───┼────┼─────┼───────┼────────┼────────┼─────────┼──────┼───────┼───────┤
///  │ base  │length │leader │mag│CRC │attri│ last  │ base   │ max    │producer │prod. │ base  │record │ records…
///  │offset │       │ epoch │ic │-32C│butes│offset │time-   │time-   │   id    │epoch │sequen-│ count │
///  │       │       │       │ 2 │    │     │ delta │stamp   │stamp   │         │      │  ce   │       │
///  ╰ the broker sets ──────╯        ╰ covered by the CRC ──────────────────────────────────────────…
///
///  attributes:  6 delete horizon │ 5 control │ 4 transactional │ 3 log append time │ 0-2 compression
/// ```
///
/// `length` counts everything after itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the first 61 bytes; whether the whole batch is there, the caller must check
    /// against [`Self::size`].
    ///
    /// # Errors
    /// [`BatchError::Truncated`] with fewer than 61 bytes, [`BatchError::Length`] where the length field is
    /// shorter than a header, [`BatchError::Magic`] for any magic but 2. The magic is looked at before
    /// the length, because the old formats have shorter headers.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if let Some(&magic) = bytes.get(16)
            && magic != 2
        {
            return Err(BatchError::Magic(magic.cast_signed()));
        }
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_LEN>() else {
            return Err(BatchError::Truncated {
                needed: BATCH_HEADER_LEN,
                available: bytes.len(),
            });
        };
        let batch_length = i32::from_be_bytes(field(header, 8));
        if batch_length < (BATCH_HEADER_LEN - LENGTH_OVERHEAD) as i32 {
            return Err(BatchError::Length(batch_length));
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(header, 0))),
            batch_length,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(header, 12))),
            magic: 2,
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(header, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(header, 51))),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            record_count: i32::from_be_bytes(field(header, 57)),
        })
    }

    /// Writes the 61 bytes of this header over the start of `batch`; the CRC is written as it stands.
    ///
    /// # Panics
    /// If `batch` is shorter than a header.
    pub fn write(&self, batch: &mut [u8]) {
        assert!(batch.len() >= BATCH_HEADER_LEN, "no room for a batch header");
        batch[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        batch[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        batch[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        batch[16] = self.magic.cast_unsigned();
        batch[17..21].copy_from_slice(&self.crc.to_be_bytes());
        batch[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        batch[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        batch[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        batch[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        batch[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        batch[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        batch[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        batch[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        // `parse` refused negative lengths.
        usize::try_from(self.batch_length).unwrap_or(0) + LENGTH_OVERHEAD
    }

    /// Offset of the last record (or of the last that was there before compaction).
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Base offset that the next batch would have.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Codec of the records.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`].
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_id(self.attributes & COMPRESSION_MASK)
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the records are control records (transaction markers), which only brokers write.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether `max_timestamp` is when the broker appended the batch, for all its records.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether `base_timestamp` is a delete horizon, set by compaction (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether a producer id stands in the batch.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }

    /// Sequence number of the last record; after 2³¹−1 comes 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `count` after `sequence`: numbers run from 0 to 2³¹−1 and start over (KIP-98).
#[must_use]
pub fn sequence_plus(sequence: i32, count: i32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(count)).rem_euclid(1 << 31);
    i32::try_from(sum).unwrap_or(0)
}

/// `N` bytes of the header at a constant position that lies inside of it.
fn field<const N: usize>(header: &[u8; BATCH_HEADER_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

/// CRC-32C of a whole batch, over what the CRC covers.
pub(crate) fn compute_crc(batch: &[u8]) -> u32 {
    let covered = batch.get(CRC_START..).unwrap_or_default();
    // A 32-bit checksum in a 64-bit answer.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered) as u32
}

/// Whether the stored CRC matches `batch`, which must be exactly one whole batch. Anything too short to
/// hold a CRC does not match.
#[must_use]
pub fn verify_crc(batch: &[u8]) -> bool {
    let Some(stored) = batch.get(17..CRC_START).and_then(<[u8]>::first_chunk::<4>) else {
        return false;
    };
    u32::from_be_bytes(*stored) == compute_crc(batch)
}

/// Sets the base offset; outside the CRC.
///
/// # Panics
/// If `batch` is shorter than a header: callers pass parsed batches.
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    batch[0..8].copy_from_slice(&offset.0.to_be_bytes());
}

/// Sets the leader epoch; outside the CRC.
///
/// # Panics
/// If `batch` is shorter than a header: callers pass parsed batches.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[12..16].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Marks the batch as stamped at `ms` by the broker: attribute bit, max timestamp, new CRC. Records
/// inside keep their deltas; readers use the max timestamp for all of them (`message.timestamp.type`).
///
/// # Panics
/// If `batch` is shorter than a header: callers pass parsed batches.
pub fn set_log_append_time(batch: &mut [u8], ms: i64) {
    batch[22] |= LOG_APPEND_TIME as u8;
    batch[35..43].copy_from_slice(&ms.to_be_bytes());
    write_crc(batch);
}

/// Corrects the max timestamp, with a new CRC: Kafka does so where a client's header contradicts its
/// records ([`crate::check_client_records`] answers the true one). Does nothing where it is right already.
///
/// # Panics
/// If `batch` is shorter than a header: callers pass parsed batches.
pub fn set_max_timestamp(batch: &mut [u8], ms: i64) {
    if batch[35..43] != ms.to_be_bytes() {
        batch[35..43].copy_from_slice(&ms.to_be_bytes());
        write_crc(batch);
    }
}

/// Computes and stores the CRC of a whole batch.
pub(crate) fn write_crc(batch: &mut [u8]) {
    let crc = compute_crc(batch);
    batch[17..CRC_START].copy_from_slice(&crc.to_be_bytes());
}
