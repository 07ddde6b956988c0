use bytes::Bytes;

/// `part` of a memory of `whole` bytes, for keeping: shared where it is at least half of that, else copied, so that what is kept
/// never holds more than twice its length.
#[must_use]
pub fn detached(part: Bytes, whole: usize) -> Bytes {
    if part.len() >= whole / 2 {
        part
    } else {
        Bytes::copy_from_slice(&part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_part_does_not_keep_the_whole() {
        let whole = Bytes::from(vec![1; 1000]);
        for (len, shared) in [(1000, true), (500, true), (499, false), (0, false)] {
            let part = detached(whole.slice(1000 - len..), whole.len());
            assert_eq!(part, whole.slice(1000 - len..));
            assert_eq!(
                std::ptr::eq(part.as_ptr(), whole[1000 - len..].as_ptr()),
                shared,
                "{len}"
            );
        }
    }
}
