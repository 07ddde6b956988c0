//! What can be wrong with a frame.

use std::io;

/// Why a frame was not read, decoded or encoded. On the broker every one of these closes the connection,
/// as Kafka does, except that an ApiVersions request of an unknown version is answered (KIP-511).
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The length prefix is negative or above the limit (`socket.request.max.bytes`).
    #[error("frame length {size} is outside 0..={max}")]
    FrameSize {
        /// The length that was announced.
        size: i32,
        /// The limit of this connection.
        max: usize,
    },
    /// The peer closed the connection inside a frame.
    #[error("connection closed inside a frame")]
    Truncated,
    /// The header of the frame is not a Kafka request or response header.
    #[error("malformed header: {0}")]
    Header(&'static str),
    /// No such API key here.
    #[error("unknown API key {0}")]
    UnknownApi(i16),
    /// The API is known but not in this version.
    #[error("API key {api_key} is not served in version {api_version}")]
    UnsupportedVersion {
        /// Key of the API.
        api_key: i16,
        /// The version that was asked for.
        api_version: i16,
    },
    /// The body does not have the shape of its API and version.
    #[error("malformed {field} at byte {at} of the body: {reason}")]
    Malformed {
        /// Kafka's name of the field.
        field: &'static str,
        /// Position in the body.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The codec refused a body of the right shape (text that is not UTF-8).
    #[error("cannot decode: {0}")]
    Decode(String),
    /// A message that this version cannot carry.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// A response whose kind is not that of the API key.
    #[error("message is not of API key {0}")]
    WrongKind(i16),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
