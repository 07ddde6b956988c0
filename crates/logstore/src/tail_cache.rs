use bytes::{Bytes, BytesMut};
use records::BatchHeader;
use std::collections::VecDeque;
use types::{Offset, limits};

/// The newest appends of a log, for followers and tail readers; at most `limits::TAIL_CACHE_BYTES`, and the
/// newest append whatever its size.
#[derive(Default)]
pub(crate) struct TailCache {
    /// Contiguous appends: (first offset, offset after, bytes).
    appends: VecDeque<(Offset, Offset, Bytes)>,
    bytes: usize,
}

impl TailCache {
    pub(crate) fn push(&mut self, first: Offset, next: Offset, bytes: Bytes) {
        self.bytes += bytes.len();
        self.appends.push_back((first, next, bytes));
        while self.bytes > limits::TAIL_CACHE_BYTES && self.appends.len() > 1 {
            if let Some((_, _, dropped)) = self.appends.pop_front() {
                self.bytes -= dropped.len();
            }
        }
    }

    /// After a truncation nothing is kept: it is rare, and what is left is on disk.
    pub(crate) fn clear(&mut self) {
        self.appends.clear();
        self.bytes = 0;
    }

    /// Whole batches from the one that contains `from`, ending at or below `up_to`; `None` if `from` is not
    /// in the cache. Shares memory where they are most of one append: a slow reader holds no more than it is given.
    pub(crate) fn read(&self, from: Offset, up_to: Offset, max_bytes: usize, at_least_one: bool) -> Option<Bytes> {
        if self.appends.front().is_none_or(|(first, _, _)| *first > from) {
            return None;
        }
        let start = self.appends.partition_point(|(_, next, _)| *next <= from);
        let mut parts: Vec<Bytes> = Vec::new();
        let (mut total, mut of) = (0, 0);
        for (_, _, bytes) in self.appends.iter().skip(start) {
            let (begin, end, whole) = cut(
                bytes,
                from,
                up_to,
                max_bytes.saturating_sub(total),
                at_least_one && total == 0,
            );
            if end > begin {
                parts.push(bytes.slice(begin..end));
                of = bytes.len();
                total += end - begin;
            }
            if !whole {
                break;
            }
        }
        Some(match parts.len() {
            0 => Bytes::new(),
            1 => records::detached(parts.remove(0), of),
            _ => {
                let mut joined = BytesMut::with_capacity(total);
                parts.iter().for_each(|part| joined.extend_from_slice(part));
                joined.freeze()
            }
        })
    }
}

/// The part of one append that a read may have, and whether the read may go on behind it.
fn cut(bytes: &Bytes, from: Offset, up_to: Offset, max_bytes: usize, at_least_one: bool) -> (usize, usize, bool) {
    let (mut at, mut begin) = (0, 0);
    let mut started = false;
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        let end = at + header.size();
        if header.last_offset() < from && !started {
            begin = end;
        } else {
            let fits = end - begin <= max_bytes || (at_least_one && !started);
            if header.next_offset() > up_to || !fits || end > bytes.len() {
                return (begin, at.max(begin), false);
            }
            started = true;
        }
        at = end;
        if at >= bytes.len() {
            break;
        }
    }
    (begin, at, true)
}
