use types::DirectoryId;
use uuid::Uuid;

/// Rounds start at multiples of this, so that writing one never touches a sector of another.
pub(super) const ROUND_ALIGNMENT: usize = 512;
const MAGIC: [u8; 4] = *b"OTMR";
const VERSION: u16 = 2;
pub(super) const HEADER_LEN: usize = 68;
const HEADER_LEN_1: usize = 44;

/// One write of the journal.
///
/// ```text
///  0      4       6      8                  24         32        36       40    48       56        64     68       68+length  512·n
///  ├──────┼───────┼──────┼──────────────────┼──────────┼─────────┼────────┼─────┼────────┼─────────┼──────┼───────────┼──────────┤
///  │"OTMR"│version│flags │ directory (UUID) │ sequence │previous │ length │ lap │ secret │ replay  │ CRC  │ entries … │ zeros    │
///  │      │ u16=2 │ u16  │ 16               │ u64      │CRC u32  │ u32    │ u64 │ u64    │from u64 │ u32  │           │          │
///  └──────┴───────┴──────┴──────────────────┴──────────┴─────────┴────────┴─────┴────────┴─────────┴──────┴───────────┴──────────┘
///   flags: bit 0 = snapshot: replaces everything before but data; the first round of each lap
///   lap: sequence of the first round of this lap of the file      replay from: no data of an earlier round is needed
///   secret: a random number of the directory: no bytes that a client sends can be taken for a round
///   CRC: CRC-32C over bytes 0..64 and the entries
///
///  version 1, read only: CRC at 40, entries from 44 on, no lap, secret, data
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Round<'a> {
    pub(super) snapshot: bool,
    pub(super) sequence: u64,
    pub(super) previous_crc: u32,
    pub(super) lap: u64,
    /// `None`: version 1.
    pub(super) secret: Option<u64>,
    pub(super) replay_from: u64,
    pub(super) crc: u32,
    pub(super) entries: &'a [u8],
}

fn u32_at(header: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*header.get(at..)?.first_chunk()?))
}

fn u64_at(header: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*header.get(at..)?.first_chunk()?))
}

impl<'a> Round<'a> {
    /// Bytes on disk, padding included.
    pub(super) fn size(&self) -> usize {
        let header = if self.secret.is_some() {
            HEADER_LEN
        } else {
            HEADER_LEN_1
        };
        (header + self.entries.len()).next_multiple_of(ROUND_ALIGNMENT)
    }

    /// The round at the front of `bytes`, if a whole and valid one of this directory is there.
    pub(super) fn parse(bytes: &'a [u8], directory: DirectoryId) -> Option<Self> {
        if bytes.get(..4)? != MAGIC || Uuid::from_bytes(*bytes.get(8..)?.first_chunk()?) != directory.0 {
            return None;
        }
        let version = u16::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        let header_len = match version {
            1 => HEADER_LEN_1,
            VERSION => HEADER_LEN,
            _ => return None,
        };
        let (header, rest) = bytes.split_at_checked(header_len)?;
        let entries = rest.get(..u32_at(header, 36)? as usize)?;
        let crc = u32_at(header, header_len - 4)?;
        if checksum(&header[..header_len - 4], entries) != crc {
            return None;
        }
        let sequence = u64_at(header, 24)?;
        let (lap, secret, replay_from) = match version {
            1 => (0, None, sequence),
            _ => (u64_at(header, 40)?, Some(u64_at(header, 48)?), u64_at(header, 56)?),
        };
        Some(Self {
            snapshot: header[7] & 1 != 0,
            sequence,
            previous_crc: u32_at(header, 32)?,
            lap,
            secret,
            replay_from,
            crc,
            entries,
        })
    }
}

/// What [`RoundBuffer::seal`] puts before the entries.
pub(super) struct RoundHeader {
    pub(super) directory: DirectoryId,
    pub(super) secret: u64,
    pub(super) snapshot: bool,
    pub(super) sequence: u64,
    pub(super) previous_crc: u32,
    pub(super) lap: u64,
    pub(super) replay_from: u64,
}

/// A round in the making: room for the header, then entries.
pub(super) struct RoundBuffer(Vec<u8>);

impl RoundBuffer {
    pub(super) fn new() -> Self {
        Self::over(Vec::new())
    }

    /// In the memory of an older one.
    pub(super) fn over(mut memory: Vec<u8>) -> Self {
        memory.clear();
        memory.resize(HEADER_LEN, 0);
        Self(memory)
    }

    pub(super) fn entries(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.0.len().next_multiple_of(ROUND_ALIGNMENT) as u64
    }

    /// The round ready to be written, and its CRC.
    pub(super) fn seal(self, header: &RoundHeader) -> (Vec<u8>, u32) {
        let mut bytes = self.0;
        let length = (bytes.len() - HEADER_LEN) as u32;
        let mut head = Vec::with_capacity(HEADER_LEN);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&VERSION.to_be_bytes());
        head.extend_from_slice(&u16::from(header.snapshot).to_be_bytes());
        head.extend_from_slice(header.directory.0.as_bytes());
        head.extend_from_slice(&header.sequence.to_be_bytes());
        head.extend_from_slice(&header.previous_crc.to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&header.lap.to_be_bytes());
        head.extend_from_slice(&header.secret.to_be_bytes());
        head.extend_from_slice(&header.replay_from.to_be_bytes());
        let crc = checksum(&head, &bytes[HEADER_LEN..]);
        head.extend_from_slice(&crc.to_be_bytes());
        bytes[..HEADER_LEN].copy_from_slice(&head);
        bytes.resize(bytes.len().next_multiple_of(ROUND_ALIGNMENT), 0);
        (bytes, crc)
    }
}

fn checksum(header: &[u8], entries: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(header);
    digest.update(entries);
    // A 32-bit checksum in a 64-bit answer.
    digest.finalize() as u32
}
