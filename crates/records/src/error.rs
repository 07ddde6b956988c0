use thiserror::Error;

/// Why bytes are not the record batch that they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the header's length field, promise.
    #[error("{available} bytes where {needed} are needed")]
    Truncated { needed: usize, available: usize },
    /// The length field is negative or shorter than the header itself.
    #[error("batch length {0} is impossible")]
    Length(i32),
    /// Message format v0 or v1 (or a number that never existed): Kafka 4 stores only v2 (KIP-724).
    #[error("record batch magic {0} is not supported")]
    Magic(i8),
    /// The attributes name a codec that does not exist.
    #[error("compression codec {0} is unknown")]
    UnknownCompression(i16),
    /// CRC-32C over everything after the CRC does not match.
    #[error("record batch is corrupt: stored CRC {stored:#010x}, computed {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    /// Compressed data does not decode.
    #[error("compressed records do not decode: {0}")]
    Decompression(String),
    /// Compressing failed; only the codec library's own limits lead here.
    #[error("records do not compress: {0}")]
    Compression(String),
    /// Decompressed data is longer than the caller allows.
    #[error("records are larger than {limit} bytes when decompressed")]
    TooLarge { limit: usize },
    /// A record inside the batch contradicts its own lengths or the batch header.
    #[error("record is malformed: {0}")]
    Record(&'static str),
}
