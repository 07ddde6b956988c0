use super::protocol::{Frame, LENGTH_BYTES, ProtocolError, frame_length};
use bytes::{Bytes, BytesMut};
use host::Stream;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("silent for too long")]
    Silence,
    #[error("the peer refuses: {0}")]
    Refused(String),
    #[error("the peer breaks the protocol: {0}")]
    Unexpected(&'static str),
    #[error("no longer wanted")]
    Closed,
}

/// Reads exactly one frame and not a byte more, so that the socket can be handed on after it.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Frame, StreamError> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let mut body = BytesMut::zeroed(frame_length(length)?);
    stream.read_exact(&mut body).await?;
    Ok(Frame::decode(&body.freeze())?)
}

/// [`read_frame`] with a limit on silence.
pub(crate) async fn read_frame_within(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    silence: Duration,
) -> Result<Frame, StreamError> {
    tokio::time::timeout(silence, read_frame(stream))
        .await
        .map_err(|_| StreamError::Silence)?
}

/// Writes within a limit: a peer that reads nothing for so long is gone.
pub(crate) async fn write_within(
    stream: &mut (impl AsyncWrite + Unpin + ?Sized),
    bytes: &[u8],
    silence: Duration,
) -> Result<(), StreamError> {
    tokio::time::timeout(silence, stream.write_all(bytes))
        .await
        .map_err(|_| StreamError::Silence)??;
    Ok(())
}

/// Frames out of a stream, with one buffer for many small ones.
pub(crate) struct FrameSource {
    stream: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
}

impl FrameSource {
    pub fn new(stream: ReadHalf<Box<dyn Stream>>) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(64 * 1024),
        }
    }

    /// A frame that has arrived whole, without waiting.
    pub fn buffered(&mut self) -> Result<Option<Frame>, StreamError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = frame_length(*length)?;
        if self.buffer.len() < LENGTH_BYTES + length {
            self.buffer.reserve(LENGTH_BYTES + length - self.buffer.len());
            return Ok(None);
        }
        let _ = self.buffer.split_to(LENGTH_BYTES);
        let frame: Bytes = self.buffer.split_to(length).freeze();
        Ok(Some(Frame::decode(&frame)?))
    }

    /// The next frame; any byte counts as a sign of life.
    pub async fn next(&mut self, silence: Duration) -> Result<Frame, StreamError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            let read = tokio::time::timeout(silence, self.stream.read_buf(&mut self.buffer));
            if read.await.map_err(|_| StreamError::Silence)?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

pub(crate) type FrameSink = WriteHalf<Box<dyn Stream>>;
