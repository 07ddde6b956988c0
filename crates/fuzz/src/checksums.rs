//! Right checksums over wrong bytes: without them hardly an input would get past the first check.

/// CRC-32C over all parts.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    // A 32-bit checksum in a 64-bit answer.
    digest.finalize() as u32
}

/// Makes length and CRC of the record batches in `bytes` right, one after the other as far as lengths lead; the last
/// one gets what is left.
pub(crate) fn seal_batches(bytes: &mut [u8]) {
    let mut rest = bytes;
    while rest.len() >= records::BATCH_HEADER_LEN {
        let claimed = rest[8..12]
            .first_chunk()
            .map_or(-1, |length| i32::from_be_bytes(*length));
        let size = match usize::try_from(claimed) {
            Ok(length) if length >= 49 && length + 12 <= rest.len() => length + 12,
            _ => rest.len(),
        };
        rest[8..12].copy_from_slice(&((size - 12) as u32).to_be_bytes());
        rest[16] = 2;
        let crc = crc32c(&[&rest[21..size]]);
        rest[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = &mut rest[size..];
    }
}

/// Makes the fixed part of a replica frame right (see `broker::replica_stream::protocol`), but for its kind.
pub(crate) fn seal_frame(frame: &mut [u8]) {
    if frame.len() < 12 {
        return;
    }
    frame[1..4].copy_from_slice(&[0, 0, 1]);
    let claimed = frame[4..8]
        .first_chunk()
        .map_or(0, |length| u32::from_be_bytes(*length)) as usize;
    let head = claimed.min(frame.len() - 12);
    frame[4..8].copy_from_slice(&(head as u32).to_be_bytes());
    let crc = crc32c(&[&frame[..8], &frame[12..12 + head]]);
    frame[8..12].copy_from_slice(&crc.to_be_bytes());
}

/// Makes the rounds of a marks journal right, as far as lengths lead (see `logstore::marks::round`).
pub(crate) fn seal_rounds(bytes: &mut [u8], directory: uuid::Uuid) {
    let first = bytes
        .get(24..32)
        .and_then(<[u8]>::first_chunk)
        .map_or(1, |bytes| u64::from_be_bytes(*bytes));
    let mut rest = bytes;
    let (mut sequence, mut previous) = (first, 0u32);
    let field = |rest: &[u8], at: usize| {
        rest[at..at + 8]
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    };
    let secret = if rest.len() >= 68 { field(rest, 48) } else { 0 };
    while rest.len() >= 68 {
        let claimed = rest[36..40]
            .first_chunk()
            .map_or(0, |length| u32::from_be_bytes(*length)) as usize;
        let length = claimed.min(rest.len() - 68);
        rest[..6].copy_from_slice(b"OTMR\x00\x02");
        rest[6..8].copy_from_slice(&u16::from(sequence == first).to_be_bytes());
        rest[8..24].copy_from_slice(directory.as_bytes());
        rest[24..32].copy_from_slice(&sequence.to_be_bytes());
        rest[32..36].copy_from_slice(&previous.to_be_bytes());
        rest[36..40].copy_from_slice(&(length as u32).to_be_bytes());
        rest[40..48].copy_from_slice(&first.to_be_bytes());
        rest[48..56].copy_from_slice(&secret.to_be_bytes());
        previous = crc32c(&[&rest[..64], &rest[68..68 + length]]);
        rest[64..68].copy_from_slice(&previous.to_be_bytes());
        sequence = sequence.wrapping_add(1);
        let size = (68 + length).next_multiple_of(512).min(rest.len());
        rest = &mut rest[size..];
    }
}

/// Makes the CRC of a producer snapshot right.
pub(crate) fn seal_snapshot(bytes: &mut [u8]) {
    if bytes.len() < 10 {
        return;
    }
    bytes[..2].copy_from_slice(&[0, 1]);
    let crc = crc32c(&[&bytes[6..]]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
}
