/// FNV-1a, to compare traces.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A seed of its own for every part.
#[must_use]
pub fn mix(a: u64, b: u64, c: u64) -> u64 {
    fnv(&[a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes()].concat())
}
