//! Frames of a connection.

use crate::WireError;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room that is asked for at least; small requests that arrive together come out of one read.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Above this much, the buffer doubles; below, it grows faster.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the length prefix.
const PREFIX: usize = 4;

/// Cuts a byte stream into length-prefixed frames: `i32 length | length bytes`.
///
/// The buffer grows only as bytes arrive, never by what a length announces. Frames are slices of the buffer
/// (no copy). Cancel safe: a dropped [`FrameReader::next`] loses nothing.
#[derive(Debug)]
pub struct FrameReader {
    max: usize,
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader that refuses frames above `max` bytes (`socket.request.max.bytes`).
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            buffer: BytesMut::new(),
        }
    }

    /// The next frame without its length prefix; None when the peer closed between frames.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] for a length that is negative or above the limit, [`WireError::Truncated`] if
    /// the peer closed inside a frame, [`WireError::Io`]. The connection is then of no more use.
    pub async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Option<Bytes>, WireError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            self.reserve();
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(WireError::Truncated)
                };
            }
        }
    }

    /// Length and API key of the next frame, read as far as they go and no further than one small read beyond;
    /// None when the peer closed between frames. For drawing memory before a body is read. Cancel safe.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub async fn peek(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
    ) -> Result<Option<(usize, i16)>, WireError> {
        loop {
            if let Some(length) = self.announced()? {
                if let Some(key) = self.buffer.get(PREFIX..PREFIX + 2) {
                    return Ok(Some((length, i16::from_be_bytes([key[0], key[1]]))));
                }
                if length < 2 {
                    return Ok(Some((length, -1)));
                }
            }
            self.buffer.reserve(READ_BYTES_MIN);
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(WireError::Truncated)
                };
            }
        }
    }

    /// Reads until `bytes` are here that are in no frame yet, length prefix included, or the next frame is whole: for
    /// drawing memory as a body comes. Cancel safe.
    ///
    /// # Errors
    /// As [`FrameReader::next`]; [`WireError::Truncated`] also where the peer closed between frames.
    pub async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
        bytes: usize,
    ) -> Result<(), WireError> {
        loop {
            let whole = self.announced()?.map_or(PREFIX, |length| PREFIX + length);
            if self.buffer.len() >= bytes.min(whole) {
                return Ok(());
            }
            self.reserve();
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(WireError::Truncated);
            }
        }
    }

    /// Bytes that have come and are in no frame yet.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// A frame that is complete in the buffer, without reading; for taking all input that is ready.
    ///
    /// # Errors
    /// [`WireError::FrameSize`] as in [`FrameReader::next`].
    pub fn buffered(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(length) = self.announced()? else {
            return Ok(None);
        };
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(PREFIX + length);
        let _prefix = frame.split_to(PREFIX);
        Ok(Some(frame.freeze()))
    }

    /// Length of the frame that the buffer starts with, once its prefix is there.
    fn announced(&self) -> Result<Option<usize>, WireError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*prefix);
        match usize::try_from(size) {
            Ok(length) if length <= self.max => Ok(Some(length)),
            _ => Err(WireError::FrameSize { size, max: self.max }),
        }
    }

    /// Makes room for the next read: what the frame lacks, but no more than a few times what has come already, for a length
    /// costs its sender nothing.
    fn reserve(&mut self) {
        let have = self.buffer.len();
        let lacking = match self.announced() {
            Ok(Some(length)) => (PREFIX + length).saturating_sub(have),
            _ => 0,
        };
        let proven = have.saturating_mul(4).min(have.max(READ_BYTES_MAX));
        let room = lacking.min(proven).max(READ_BYTES_MIN);
        if self.buffer.capacity() - have < lacking.clamp(1, READ_BYTES_MIN) {
            self.buffer.reserve(room);
        }
    }
}
