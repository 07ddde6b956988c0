use crate::LogError;
use crate::cold_read::ColdRead;
use crate::direct_reads::DirectRead;
use crate::read_now::ReadNow;
use crate::rot::Chain;
use bytes::Bytes;
use host::{File, Pool, PoolExt};
use records::split_batches;
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
        /// What the range must hold.
        chain: Chain,
        /// Whoever reads what the system has not in memory may do so around its page cache.
        direct: Option<DirectRead>,
    },
    /// The range is still to be found, which may wait for the disk.
    Cold(Box<ColdRead>),
}

impl std::fmt::Debug for LogSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Memory(bytes) => write!(f, "Memory({} bytes)", bytes.len()),
            Self::File { position, len, .. } => write!(f, "File({position}+{len})"),
            Self::Cold(read) => write!(f, "Cold(at most {} bytes)", read.len_max()),
        }
    }
}

impl LogSlice {
    /// Bytes; of a range that is still to be found the most that there may be, but for a first batch that is larger.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
            Self::Cold(read) => read.len_max(),
        }
    }

    /// Whether it is known that there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !matches!(self, Self::Cold(_)) && self.len() == 0
    }

    /// The bytes, if that waits for no disk; else use [`Self::load`].
    ///
    /// # Errors
    /// Those of [`Self::bytes`].
    #[must_use]
    pub fn bytes_now(&self) -> Option<Result<Bytes, LogError>> {
        let Self::File {
            file,
            position,
            len,
            chain,
            ..
        } = self
        else {
            return (!matches!(self, Self::Cold(_))).then(|| self.bytes());
        };
        if !file.is_cached(*position, *len as u64) {
            return None;
        }
        match read(&*ReadNow::of(file.clone()), *position, *len, chain) {
            Err(LogError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            read => Some(read),
        }
    }

    /// The bytes, read now; may block. ◆ What comes from a file is checked whenever it is read, not only the first time: that
    /// costs less than knowing what was checked, and nothing bad is sent whenever it became so.
    ///
    /// # Errors
    /// [`LogError::Io`]; [`LogError::OffsetOutOfRange`] if retention was faster; [`LogError::Rot`] where the range is not what was written: nothing of it may be sent.
    pub fn bytes(&self) -> Result<Bytes, LogError> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::Cold(read) => read.resolve()?.bytes(),
            Self::File {
                file,
                position,
                len,
                chain,
                direct,
            } => {
                let direct = direct.as_ref();
                match direct.and_then(|direct| direct.read(&**file, *position, *len)) {
                    Some(bytes) => checked(bytes, chain.clone()),
                    None => read(&**file, *position, *len, chain),
                }
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
            file => pool.run(move || file.bytes()).await?,
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

fn read(file: &dyn File, position: u64, len: usize, chain: &Chain) -> Result<Bytes, LogError> {
    let mut buffer = vec![0; len];
    match file.read_exact_at(&mut buffer, position) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(chain.broken("the file is shorter than it was").into())
        }
        Err(error) => Err(error.into()),
        Ok(()) => checked(buffer.into(), chain.clone()),
    }
}

fn checked(bytes: Bytes, mut chain: Chain) -> Result<Bytes, LogError> {
    for batch in split_batches(&bytes) {
        let batch = batch.map_err(|_| chain.broken("there is no whole batch"))?;
        chain.check(&batch.header, &batch.bytes)?;
    }
    Ok(bytes)
}
