//! Requests that name topics by id where the codec's newest version names them by name: OffsetCommit 10, OffsetFetch 10.
//!
//! ```text
//! each topic  v9:  compact string name | partitions | tagged fields
//!             v10: uuid topic_id       | partitions | tagged fields     (KIP-848)
//! ```
//! They pass through version 9 with the id's 32 hexadecimal digits for a name.

use crate::ApiKey;
use crate::grammar::{Bad, Cursor};
use crate::messages::RequestKind;
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;
use uuid::fmt::Simple;

/// The version that the codec reads and writes.
pub(crate) const BY_NAME: i16 = 9;

/// Whether this is one of those requests.
pub(crate) fn is(key: ApiKey, version: i16) -> bool {
    matches!(key, ApiKey::OffsetCommit | ApiKey::OffsetFetch) && version > BY_NAME
}

/// The body in version 9. `body` has passed the grammar.
///
/// # Errors
/// For one that has not.
pub(crate) fn with_names(key: ApiKey, body: &[u8]) -> Result<Bytes, Bad> {
    rewrite(key, body, |cursor, out| {
        let id = Uuid::from_bytes(cursor.array()?);
        out.put_u8(Simple::LENGTH as u8 + 1);
        out.put_slice(id.simple().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        Ok(())
    })
}

/// The body in version 10 of one whose names are ids ([`name_by_id`]).
///
/// # Errors
/// A body that is not of version 9, or has other names.
pub(crate) fn with_ids(key: ApiKey, body: &[u8]) -> Result<Bytes, Bad> {
    rewrite(key, body, |cursor, out| {
        let name = compact(cursor)?;
        let id = Uuid::try_parse_ascii(name).map_err(|_| "a name that is no topic id")?;
        out.put_slice(id.as_bytes());
        Ok(())
    })
}

/// Gives each topic the name that its id has in version 9.
pub(crate) fn name_by_id(request: &mut RequestKind) {
    let name = |id: &Uuid| crate::StrBytes::from(id.simple().to_string()).into();
    match request {
        RequestKind::OffsetCommit(commit) => commit
            .topics
            .iter_mut()
            .for_each(|topic| topic.name = name(&topic.topic_id)),
        RequestKind::OffsetFetch(fetch) => {
            let groups = fetch.groups.iter_mut();
            let topics = groups.flat_map(|group| group.topics.iter_mut().flatten());
            topics.for_each(|topic| topic.name = name(&topic.topic_id));
        }
        _ => {}
    }
}

/// Takes the ids out of the names, and leaves no name.
pub(crate) fn take_ids(request: &mut RequestKind) {
    let id = |name: crate::messages::TopicName| Uuid::try_parse(&name.0).unwrap_or_default();
    match request {
        RequestKind::OffsetCommit(commit) => {
            let topics = commit.topics.iter_mut();
            topics.for_each(|topic| topic.topic_id = id(std::mem::take(&mut topic.name)));
        }
        RequestKind::OffsetFetch(fetch) => {
            let groups = fetch.groups.iter_mut();
            let topics = groups.flat_map(|group| group.topics.iter_mut().flatten());
            topics.for_each(|topic| topic.topic_id = id(std::mem::take(&mut topic.name)));
        }
        _ => {}
    }
}

type Replace = fn(&mut Cursor<'_>, &mut BytesMut) -> Result<(), Bad>;

/// The body with what names its topics replaced.
fn rewrite(key: ApiKey, body: &[u8], replace: Replace) -> Result<Bytes, Bad> {
    let mut rewriter = Rewriter {
        body,
        cursor: Cursor::new(body),
        copied: 0,
        out: BytesMut::with_capacity(body.len() + 64),
        replace,
    };
    if key == ApiKey::OffsetCommit {
        rewriter.offset_commit()?;
    } else {
        rewriter.offset_fetch()?;
    }
    rewriter.copy();
    rewriter.out.put_slice(&body[rewriter.cursor.position()..]);
    Ok(rewriter.out.freeze())
}

struct Rewriter<'a> {
    body: &'a [u8],
    cursor: Cursor<'a>,
    /// So far the body is in `out`.
    copied: usize,
    out: BytesMut,
    replace: Replace,
}

impl Rewriter<'_> {
    fn offset_commit(&mut self) -> Result<(), Bad> {
        compact(&mut self.cursor)?;
        self.cursor.take(4)?;
        compact(&mut self.cursor)?;
        compact(&mut self.cursor)?;
        self.topics(|cursor| {
            cursor.take(4 + 8 + 4)?;
            compact(cursor)?;
            cursor.skip_tagged_fields().map(drop)
        })
    }

    fn offset_fetch(&mut self) -> Result<(), Bad> {
        for _ in 1..self.cursor.unsigned_varint()? {
            compact(&mut self.cursor)?;
            compact(&mut self.cursor)?;
            self.cursor.take(4)?;
            self.topics(|cursor| cursor.take(4).map(drop))?;
            self.cursor.skip_tagged_fields()?;
        }
        Ok(())
    }

    fn topics(&mut self, partition: fn(&mut Cursor<'_>) -> Result<(), Bad>) -> Result<(), Bad> {
        for _ in 1..self.cursor.unsigned_varint()? {
            self.copy();
            (self.replace)(&mut self.cursor, &mut self.out)?;
            self.copied = self.cursor.position();
            for _ in 1..self.cursor.unsigned_varint()? {
                partition(&mut self.cursor)?;
            }
            self.cursor.skip_tagged_fields()?;
        }
        Ok(())
    }

    fn copy(&mut self) {
        self.out.put_slice(&self.body[self.copied..self.cursor.position()]);
        self.copied = self.cursor.position();
    }
}

/// A compact string, or nothing for null.
fn compact<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Bad> {
    let length = cursor.unsigned_varint()?.saturating_sub(1);
    cursor.take(length as usize)
}
