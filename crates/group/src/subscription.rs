use bytes::{Buf, Bytes};

/// The topics that a member of protocol type `consumer` subscribes to: of `ConsumerProtocolSubscription`, whose every version
/// begins with version int16, topics array of strings (int32 count, int16 lengths). `None` if it is none.
pub(crate) fn topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut rest = metadata.clone();
    if rest.try_get_i16().ok()? < 0 {
        return None;
    }
    let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        if length > rest.len() {
            return None;
        }
        topics.push(String::from_utf8(rest.split_to(length).to_vec()).ok()?);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_or_not_there() {
        let cases: [(&[u8], Option<&[&str]>); 6] = [
            (b"\0\x01\0\0\0\x02\0\x01a\0\x02bcrest", Some(&["a", "bc"])),
            (b"\0\0\0\0\0\0", Some(&[])),
            (b"\xff\xff\0\0\0\0", None),
            (b"\0\0\x7f\xff\xff\xff\0\x01a", None),
            (b"\0\0\0\0\0\x01\xff\xff", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            let read = topics(&Bytes::from_static(bytes));
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(read, expected, "{bytes:?}");
        }
    }
}
