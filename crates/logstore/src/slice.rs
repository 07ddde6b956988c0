use crate::LogError;
use bytes::Bytes;
use host::{File, Pool, PoolExt};
use records::{split_batches, verify_crc};
use std::io;
use std::sync::Arc;
use types::Offset;

/// Whole batches of a log: in memory, or a range of a segment file.
#[derive(Clone)]
pub enum LogSlice {
    Empty,
    Memory(Bytes),
    File {
        file: Arc<dyn File>,
        position: u64,
        len: usize,
    },
}

impl std::fmt::Debug for LogSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File { position, len, .. } => write!(f, "File({position}+{len})"),
        }
    }
}

impl LogSlice {
    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`Self::bytes`] would not wait for the disk, as far as the system can tell. If not, use
    /// [`Self::load`].
    #[must_use]
    pub fn is_cached(&self) -> bool {
        match self {
            Self::Empty | Self::Memory(_) => true,
            Self::File { file, position, len } => file.is_cached(*position, *len as u64),
        }
    }

    /// The bytes, read now; may block.
    ///
    /// # Errors
    /// Those of the disk, and [`io::ErrorKind::InvalidData`] where a batch's CRC is wrong: nothing from a range
    /// known to be bad may be sent.
    pub fn bytes(&self) -> io::Result<Bytes> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File { file, position, len } => {
                let mut buffer = vec![0; *len];
                file.read_exact_at(&mut buffer, *position)?;
                let bytes = Bytes::from(buffer);
                for batch in split_batches(&bytes) {
                    let batch = batch.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    if !verify_crc(&batch.bytes) {
                        let offset = batch.header.base_offset;
                        let error = format!("the batch at offset {offset} is corrupt on disk");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
                Ok(bytes)
            }
        }
    }

    /// The bytes, read on a pool unless they are in memory.
    ///
    /// # Errors
    /// Those of [`Self::bytes`].
    pub async fn load(self, pool: Arc<dyn Pool>) -> Result<Bytes, LogError> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Memory(bytes) => Ok(bytes),
            file => Ok(pool.run(move || file.bytes()).await??),
        }
    }

    /// First offset and offset after the last batch of `bytes`; `None` if there is no batch.
    #[must_use]
    pub fn offsets(bytes: &Bytes) -> Option<(Offset, Offset)> {
        let mut batches = split_batches(bytes).map_while(Result::ok);
        let first = batches.next()?.header;
        let last = batches.last().map_or(first, |batch| batch.header);
        Some((first.base_offset, last.next_offset()))
    }
}
