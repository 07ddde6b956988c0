//! Protobuf's zigzag varints, as records use them: at most 5 bytes for 32 bits, 10 for 64.

/// Appends `value`.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends `value`.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Bytes that `value` takes.
pub(crate) fn varlong_len(value: i64) -> usize {
    let rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    (64 - (rest | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that `value` takes.
pub(crate) fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::{SliceSource, Source};

    #[test]
    fn varints_round_trip() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            300,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(out.len(), varlong_len(value), "{value}");
            assert_eq!(SliceSource::new(&out).varlong(), Ok(value));
        }
    }

    #[test]
    fn overlong_varints_are_refused() {
        // 32 bits fit 5 bytes; the sixth would be lost.
        assert!(SliceSource::new(&[0xff; 6]).varint().is_err());
        assert!(SliceSource::new(&[0xff; 11]).varlong().is_err());
        assert!(SliceSource::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).varint().is_err());
        assert!(SliceSource::new(&[0x80]).varint().is_err());
    }
}
