use records::BatchHeader;

/// Digest over (base offset, leader epoch, CRC) of each batch: FNV-1a, 64 bits, over 16 big-endian bytes a
/// batch. The CRC covers neither base offset nor leader epoch, so a frame carries this besides. Part of the
/// inter-node protocol.
#[must_use]
pub fn digest<'a>(batches: impl Iterator<Item = &'a BatchHeader>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for batch in batches {
        let offset = batch.base_offset.0.to_be_bytes();
        let epoch = batch.leader_epoch.0.to_be_bytes();
        let crc = batch.crc.to_be_bytes();
        for byte in offset.iter().chain(&epoch).chain(&crc) {
            hash ^= u64::from(*byte);
            hash = hash.wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
