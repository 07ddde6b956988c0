//! What the members of a consumer group tell each other through its coordinator, in version 0, with which every version
//! begins (Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`).
//!
//! ```text
//! subscription  i16 version | i32 count, count x topic                                              | nullable user data
//! assignment    i16 version | i32 count, count x (topic | i32 count, count x i32 partition)         | nullable user data
//! topic         i16 length, bytes
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Topics and partitions of one member.
pub type Assignment = Vec<(String, Vec<i32>)>;

#[must_use]
pub fn subscription(topics: &[String]) -> Bytes {
    let mut out = begin(topics.len());
    topics.iter().for_each(|topic| put_topic(&mut out, topic));
    end(out)
}

#[must_use]
pub fn assignment(topics: &Assignment) -> Bytes {
    let mut out = begin(topics.len());
    for (topic, partitions) in topics {
        put_topic(&mut out, topic);
        out.put_i32(count(partitions.len()));
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    end(out)
}

/// The topics of a subscription; `None` for bytes that are none.
#[must_use]
pub fn read_subscription(bytes: &Bytes) -> Option<Vec<String>> {
    let mut rest = bytes.clone();
    let topics = elements(&mut rest)?;
    (0..topics).map(|_| topic(&mut rest)).collect()
}

/// An assignment; `None` for bytes that are none. Who has nothing yet has an empty one.
#[must_use]
pub fn read_assignment(bytes: &Bytes) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = bytes.clone();
    let topics = elements(&mut rest)?;
    let one = |_| {
        let name = topic(&mut rest)?;
        let partitions = rest.try_get_i32().ok()?;
        let partitions = (0..partitions)
            .map(|_| rest.try_get_i32().ok())
            .collect::<Option<_>>()?;
        Some((name, partitions))
    };
    (0..topics).map(one).collect()
}

fn begin(elements: usize) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(count(elements));
    out
}

/// No user data.
fn end(mut out: BytesMut) -> Bytes {
    out.put_i32(-1);
    out.freeze()
}

fn count(elements: usize) -> i32 {
    i32::try_from(elements).unwrap_or(i32::MAX)
}

/// A topic's name is never longer than [`types::limits::TOPIC_NAME_MAX`].
fn put_topic(out: &mut BytesMut, topic: &str) {
    out.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
    out.put_slice(topic.as_bytes());
}

fn elements(rest: &mut Bytes) -> Option<i32> {
    let version = rest.try_get_i16().ok()?;
    let elements = rest.try_get_i32().ok()?;
    (version >= 0).then_some(elements)
}

fn topic(rest: &mut Bytes) -> Option<String> {
    let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
    let name = (length <= rest.len()).then(|| rest.split_to(length))?;
    String::from_utf8(name.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read_as_they_were_written() {
        let topics = vec!["a".to_owned(), "orders".to_owned()];
        assert_eq!(read_subscription(&subscription(&topics)), Some(topics));
        let assigned = vec![("a".to_owned(), vec![0, 7]), ("orders".to_owned(), vec![])];
        assert_eq!(read_assignment(&assignment(&assigned)), Some(assigned));
        // Of the Java client 4.3: version 3 of both, with user data and more behind.
        let java = b"\0\x03\0\0\0\x01\0\x04java\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
        let read = read_assignment(&Bytes::from_static(java));
        assert_eq!(read, Some(vec![("java".to_owned(), vec![0, 1])]));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        let cases: [&[u8]; 6] = [
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\0\0\0\x01\xff\xff",
            b"\0\0\0\0\0\x01\0\x05abc",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ];
        for bytes in cases {
            assert_eq!(read_subscription(&Bytes::from_static(bytes)), None, "{bytes:?}");
            assert_eq!(read_assignment(&Bytes::from_static(bytes)), None, "{bytes:?}");
        }
        let short = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\x7f\xff\xff\xff");
        assert_eq!(read_assignment(&short), None);
        assert_eq!(read_assignment(&Bytes::new()), Some(Vec::new()));
    }
}
