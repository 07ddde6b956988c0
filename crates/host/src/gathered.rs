use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// What one write sends: pieces of memory, one behind the other, without copying them together. As a [`Buf`], what was
/// written is gone from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered {
    /// None is empty.
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Gathered {
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All that is left, in one piece: copied, unless it is one.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.remove(0).unwrap_or_default(),
            _ => {
                let mut joined = BytesMut::with_capacity(self.len);
                joined.put(self);
                joined.freeze()
            }
        }
    }
}

impl From<Bytes> for Gathered {
    fn from(piece: Bytes) -> Self {
        let mut gathered = Self::default();
        gathered.push(piece);
        gathered
    }
}

impl Buf for Gathered {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in to.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "more is written than there is");
        self.len -= count;
        while let Some(first) = self.pieces.front_mut().filter(|_| count > 0) {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&'static [u8]]) -> Gathered {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.push(Bytes::from_static(piece));
        }
        gathered
    }

    #[test]
    fn pieces_are_one_text_wherever_a_write_stops() {
        for stop in 0..=9 {
            let mut gathered = of(&[b"abc", b"", b"d", b"efghi"]);
            assert_eq!(gathered.len(), 9);
            gathered.advance(stop);
            assert_eq!(gathered.remaining(), 9 - stop);
            assert_eq!(gathered.is_empty(), stop == 9);
            let mut slices = [IoSlice::new(&[]); 8];
            let count = gathered.chunks_vectored(&mut slices);
            let seen: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(seen, b"abcdefghi"[stop..]);
            assert_eq!(gathered.into_bytes(), b"abcdefghi"[stop..]);
        }
    }

    #[test]
    fn a_piece_alone_is_not_copied() {
        let piece = Bytes::from(vec![7; 100]);
        let at = piece.as_ptr();
        assert_eq!(Gathered::from(piece).into_bytes().as_ptr(), at);
    }
}
