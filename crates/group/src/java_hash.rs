/// The partition of `__consumer_offsets` that a group belongs to: Kafka's `Utils.abs(groupId.hashCode) % partitions`,
/// where Java hashes UTF-16 code units and `abs` only clears the sign bit.
#[must_use]
pub fn partition_of(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_javas() {
        // Java: "polygenelubricants".hashCode() is Integer.MIN_VALUE, "group".hashCode() is 98629247, "ä€😀" is
        // 7271680 by the formula over the code units e4, 20ac, d83d, de00.
        let cases = [
            ("", 50, 0),
            ("group", 50, 98_629_247 % 50),
            ("polygenelubricants", 50, 0),
            ("a", 7, 97 % 7),
            ("console-consumer-1", 1, 0),
            ("x", 0, 0),
        ];
        for (group, partitions, expected) in cases {
            assert_eq!(partition_of(group, partitions), expected, "{group:?} of {partitions}");
        }
    }
}
