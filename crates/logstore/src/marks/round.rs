use types::DirectoryId;
use uuid::Uuid;

/// Rounds start at multiples of this, so that writing one never touches a sector of another.
pub(super) const ROUND_ALIGNMENT: usize = 512;
const MAGIC: [u8; 4] = *b"OTMR";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 44;

/// One write of the journal.
///
/// ```text
///  0      4       6      8                  24         32        36      40     44            44+length   512·n
///  ├──────┼───────┼──────┼──────────────────┼──────────┼─────────┼───────┼──────┼─────────────┼───────────┤
///  │"OTMR"│version│flags │ directory (UUID) │ sequence │previous │length │ CRC  │ entries …   │ zeros     │
///  │      │ u16=1 │ u16  │ 16               │ u64      │CRC u32  │ u32   │ u32  │             │           │
///  └──────┴───────┴──────┴──────────────────┴──────────┴─────────┴───────┴──────┴─────────────┴───────────┘
///   flags: bit 0 = snapshot: replaces everything before; the first round of each file
///   CRC: CRC-32C over bytes 0..40 and the entries
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Round<'a> {
    pub(super) snapshot: bool,
    pub(super) sequence: u64,
    pub(super) previous_crc: u32,
    pub(super) crc: u32,
    pub(super) entries: &'a [u8],
}

impl<'a> Round<'a> {
    /// Bytes on disk, padding included.
    pub(super) fn size(&self) -> usize {
        (HEADER_LEN + self.entries.len()).next_multiple_of(ROUND_ALIGNMENT)
    }

    /// The round at the front of `bytes`, if a whole and valid one of this directory is there.
    pub(super) fn parse(bytes: &'a [u8], directory: DirectoryId) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let length = u32::from_be_bytes(*header[36..].first_chunk()?) as usize;
        let entries = bytes.get(HEADER_LEN..)?.get(..length)?;
        let crc = u32::from_be_bytes(*header[40..].first_chunk()?);
        let valid = header[..4] == MAGIC
            && header[4..6] == VERSION.to_be_bytes()
            && Uuid::from_bytes(*header[8..].first_chunk()?) == directory.0
            && checksum(&header[..40], entries) == crc;
        valid.then_some(Self {
            snapshot: header[7] & 1 != 0,
            sequence: u64::from_be_bytes(*header[24..].first_chunk()?),
            previous_crc: u32::from_be_bytes(*header[32..].first_chunk()?),
            crc,
            entries,
        })
    }
}

/// A round ready to be written, and its CRC.
pub(super) fn encode_round(
    directory: DirectoryId,
    snapshot: bool,
    sequence: u64,
    previous_crc: u32,
    entries: &[u8],
) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity((HEADER_LEN + entries.len()).next_multiple_of(ROUND_ALIGNMENT));
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&u16::from(snapshot).to_be_bytes());
    bytes.extend_from_slice(directory.0.as_bytes());
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&previous_crc.to_be_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    let crc = checksum(&bytes, entries);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes.extend_from_slice(entries);
    bytes.resize(bytes.len().next_multiple_of(ROUND_ALIGNMENT), 0);
    (bytes, crc)
}

fn checksum(header: &[u8], entries: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(header);
    digest.update(entries);
    // A 32-bit checksum in a 64-bit answer.
    digest.finalize() as u32
}
