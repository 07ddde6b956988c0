use crate::pb;
use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use types::limits;

/// One message of [`crate::FramedTransport`].
///
/// ```text
/// | length of what follows (u32, big endian) | kind (u8) | message |
/// ```
pub(crate) enum Frame {
    Call(pb::CallRequest),
    Reply(pb::CallReply),
    /// A call was refused, and why.
    Rejected(String),
    Session(pb::SessionMessage),
}

const CALL: u8 = 1;
const REPLY: u8 = 2;
const REJECTED: u8 = 3;
const SESSION: u8 = 4;

fn malformed(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl Frame {
    fn decode(bytes: &[u8]) -> io::Result<Self> {
        let (kind, body) = bytes.split_first().ok_or_else(|| malformed("an empty frame"))?;
        Ok(match *kind {
            CALL => Self::Call(pb::CallRequest::decode(body).map_err(malformed)?),
            REPLY => Self::Reply(pb::CallReply::decode(body).map_err(malformed)?),
            REJECTED => Self::Rejected(String::from_utf8_lossy(body).into_owned()),
            SESSION => Self::Session(pb::SessionMessage::decode(body).map_err(malformed)?),
            other => return Err(malformed(format!("frame of kind {other}"))),
        })
    }

    pub(crate) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let (kind, body) = match self {
            Self::Call(message) => (CALL, message.encode_to_vec()),
            Self::Reply(message) => (REPLY, message.encode_to_vec()),
            Self::Rejected(reason) => (REJECTED, reason.as_bytes().to_vec()),
            Self::Session(message) => (SESSION, message.encode_to_vec()),
        };
        let length = body.len() + 1;
        if length > limits::CONTROL_MESSAGE_BYTES_MAX {
            return Err(malformed("a message over the limit"));
        }
        let mut frame = Vec::with_capacity(length + 4);
        frame.extend_from_slice(&(length as u32).to_be_bytes());
        frame.push(kind);
        frame.extend_from_slice(&body);
        stream.write_all(&frame).await?;
        stream.flush().await
    }

    /// The next frame; `None` at the end of the stream. Memory grows as bytes arrive, not as the length claims.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let length = match stream.read_u32().await {
            Ok(length) => length as usize,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        if length > limits::CONTROL_MESSAGE_BYTES_MAX {
            return Err(malformed("a frame over the limit"));
        }
        let mut bytes = Vec::new();
        stream.take(length as u64).read_to_end(&mut bytes).await?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::decode(&bytes).map(Some)
    }
}
