use types::{Offset, ProducerEpoch, ProducerId};

/// What Kafka's snapshot keeps of one producer: its last batch and its open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerSnapshotEntry {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Last offset − base offset of the last batch.
    pub offset_delta: i32,
    /// What expiry counts from. Kafka's own broker writes the largest timestamp of the last batch here; ours the
    /// wall clock at which it was appended, which no client can choose.
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    /// −1: no transaction is open.
    pub current_txn_first_offset: i64,
}

/// The offset that a snapshot was taken at, and what it holds.
pub type ProducerSnapshot = (Offset, Vec<ProducerSnapshotEntry>);

const VERSION: i16 = 1;
const HEADER_LEN: usize = 10;
const ENTRY_LEN: usize = 46;

/// A `.snapshot` file as Kafka's `ProducerStateManager` writes it, all integers big-endian:
///
/// ```text
///  0        2         6        10
///  ├────────┼─────────┼────────┼──────────────────────────────────────────────────────────────────┤
///  │version │ CRC-32C │ count  │ count × 46 bytes:                                                │
///  │ i16 = 1│ over 6.. │ i32   │ producer id i64 │ epoch i16 │ last sequence i32 │ last offset i64 │
///  │        │         │        │ offset delta i32 │ timestamp i64 │ coordinator epoch i32 │        │
///  │        │         │        │ first offset of the open transaction i64                         │
///  └────────┴─────────┴────────┴──────────────────────────────────────────────────────────────────┘
/// ```
#[must_use]
pub fn encode_producer_snapshot(entries: &[ProducerSnapshotEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + entries.len() * ENTRY_LEN);
    body.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in entries {
        body.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        body.extend_from_slice(&entry.producer_epoch.0.to_be_bytes());
        body.extend_from_slice(&entry.last_sequence.to_be_bytes());
        body.extend_from_slice(&entry.last_offset.0.to_be_bytes());
        body.extend_from_slice(&entry.offset_delta.to_be_bytes());
        body.extend_from_slice(&entry.timestamp.to_be_bytes());
        body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&entry.current_txn_first_offset.to_be_bytes());
    }
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads a snapshot; `None` if it is damaged or of another version.
#[must_use]
pub fn decode_producer_snapshot(bytes: &[u8]) -> Option<Vec<ProducerSnapshotEntry>> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let body = bytes.get(6..)?;
    if header[..2] != VERSION.to_be_bytes() || header[2..6] != crc(body).to_be_bytes() {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(*header[6..].first_chunk()?)).ok()?;
    let entries = bytes.get(HEADER_LEN..)?;
    if entries.len() != count.checked_mul(ENTRY_LEN)? {
        return None;
    }
    entries.chunks_exact(ENTRY_LEN).map(decode_entry).collect()
}

fn decode_entry(mut bytes: &[u8]) -> Option<ProducerSnapshotEntry> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (head, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*head)
    }
    let bytes = &mut bytes;
    Some(ProducerSnapshotEntry {
        producer_id: ProducerId(i64::from_be_bytes(take(bytes)?)),
        producer_epoch: ProducerEpoch(i16::from_be_bytes(take(bytes)?)),
        last_sequence: i32::from_be_bytes(take(bytes)?),
        last_offset: Offset(i64::from_be_bytes(take(bytes)?)),
        offset_delta: i32::from_be_bytes(take(bytes)?),
        timestamp: i64::from_be_bytes(take(bytes)?),
        coordinator_epoch: i32::from_be_bytes(take(bytes)?),
        current_txn_first_offset: i64::from_be_bytes(take(bytes)?),
    })
}

fn crc(body: &[u8]) -> u32 {
    // A 32-bit checksum in a 64-bit answer.
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, body) as u32
}
