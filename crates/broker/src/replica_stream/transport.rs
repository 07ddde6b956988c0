use super::protocol::{Frame, LENGTH_BYTES, ProtocolError, frame_length};
use bytes::{Bytes, BytesMut};
use host::{Gathered, Stream};
use security::AuthError;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use types::limits;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("silent for too long")]
    Silence,
    #[error("the peer refuses: {0}")]
    Refused(String),
    #[error("the peer breaks the protocol: {0}")]
    Unexpected(&'static str),
    #[error("no longer wanted")]
    Closed,
}

/// Reads a hello or a welcome and not a byte more, so that the socket can be handed on after it. ◆ Nobody is known yet:
/// what a stranger announces is bounded far below a frame before memory is taken for it.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<Frame, StreamError> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let length = frame_length(length)?;
    if length > limits::REPLICA_GREETING_BYTES_MAX {
        return Err(ProtocolError::TooLong(length).into());
    }
    let mut body = BytesMut::zeroed(length);
    stream.read_exact(&mut body).await?;
    Ok(Frame::decode(&body.freeze())?)
}

/// For one handshake at the gate.
pub(crate) fn nonce(host: &dyn host::Host) -> [u8; 32] {
    let mut nonce = [0; 32];
    for part in nonce.chunks_exact_mut(8) {
        part.copy_from_slice(&host.random_u64().to_be_bytes());
    }
    nonce
}

/// A hello or a welcome, within a limit on silence.
pub(crate) async fn read_greeting(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    silence: Duration,
) -> Result<Frame, StreamError> {
    tokio::time::timeout(silence, read_frame(stream))
        .await
        .map_err(|_| StreamError::Silence)?
}

/// Writes within a limit: a peer that reads nothing for so long is gone.
pub(crate) async fn write_within(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: Gathered,
    silence: Duration,
) -> Result<(), StreamError> {
    tokio::time::timeout(silence, stream.write_all_buf(&mut bytes))
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

    /// The next frame; any byte counts as a sign of life. ◆ Not one that was waited for too long, though it came: a process
    /// that was stopped finds in its sockets what was said before.
    pub async fn next(&mut self, silence: Duration) -> Result<Frame, StreamError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            let asked = tokio::time::Instant::now();
            let read = tokio::time::timeout(silence, self.stream.read_buf(&mut self.buffer));
            if read.await.map_err(|_| StreamError::Silence)?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if asked.elapsed() > silence {
                return Err(StreamError::Silence);
            }
        }
    }
}

pub(crate) type FrameSink = WriteHalf<Box<dyn Stream>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_greeting_that_announces_more_than_its_limit_is_refused_unread() {
        for (length, refused) in [
            (limits::REPLICA_GREETING_BYTES_MAX, false),
            (limits::REPLICA_GREETING_BYTES_MAX + 1, true),
            (limits::REPLICA_FRAME_BYTES_MAX, true),
        ] {
            let announced = u32::try_from(length).unwrap().to_be_bytes();
            let error = read_greeting(&mut &announced[..], Duration::from_secs(5))
                .await
                .unwrap_err();
            let too_long = matches!(error, StreamError::Protocol(ProtocolError::TooLong(_)));
            assert_eq!(too_long, refused, "{length}: {error}");
        }
    }
}
