//! Record batches, message format v2 (KIP-98): the header, CRC-32C, records, codecs, and the check that
//! every batch of a client passes before it is stored. Floor 0: bytes in, bytes out; nothing waits.
//!
//! Everything here takes bytes from clients, peers and disks, so nothing here panics on what it reads and
//! nothing decompresses past a limit given by the caller.

mod batch;
mod builder;
mod check;
mod codec;
mod detached;
mod error;
mod header;
mod recompress;
mod record;
mod snappy;
mod varint;
mod walk;

pub use batch::{Batch, BatchIter, split_batches};
pub use builder::BatchBuilder;
pub use check::{Allowance, BatchRules, Rejected, check_client_records};
pub use codec::{Compression, compress, decompress};
pub use detached::detached;
pub use error::BatchError;
pub use header::{
    BATCH_HEADER_LEN, BatchHeader, sequence_plus, set_base_offset, set_leader_epoch, set_log_append_time,
    set_max_timestamp, verify_crc,
};
pub use recompress::recompress;
pub use record::{Record, decode_records};
