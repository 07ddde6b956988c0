use super::random::mixed;
use bytes::Bytes;

/// Length of every record's value. Two thirds are filler that the number decides, so that any damage is seen.
const LENGTH: usize = 96;

/// What a record holds that carries this number: the number, and what follows from it, in hexadecimal digits.
pub fn encode(value: u64) -> Bytes {
    let mut text = format!("{value:016x}");
    let mut word = value;
    while text.len() < LENGTH {
        word = mixed(word.wrapping_add(0x9e37_79b9_7f4a_7c15));
        text.push_str(&format!("{word:016x}"));
    }
    Bytes::from(text)
}

/// The number, if every byte is what it was written with.
pub fn decode(bytes: Option<&[u8]>) -> Option<u64> {
    let bytes = bytes?;
    let digits = std::str::from_utf8(bytes.get(..16)?).ok()?;
    let value = u64::from_str_radix(digits, 16).ok()?;
    (encode(value) == bytes).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_damaged_byte_is_seen() {
        for value in [0, 1, 77, u64::MAX] {
            let bytes = encode(value);
            assert_eq!((bytes.len(), decode(Some(&bytes))), (LENGTH, Some(value)));
            for at in 0..bytes.len() {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1;
                assert_eq!(decode(Some(&damaged)), None, "byte {at} of {value}");
            }
            assert_eq!(decode(Some(&bytes[..LENGTH - 1])), None);
        }
        assert_eq!(decode(None), None);
    }
}
