use crate::{BatchError, BatchHeader};
use bytes::Bytes;

/// One whole batch and its parsed header; `bytes` shares the memory it was cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub header: BatchHeader,
    pub bytes: Bytes,
}

impl Batch {
    /// Parses `bytes` as exactly one batch. The CRC is not checked.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`]; [`BatchError::Truncated`] if the batch is not whole,
    /// [`BatchError::Length`] if bytes follow it.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if header.size() > bytes.len() {
            return Err(BatchError::Truncated {
                needed: header.size(),
                available: bytes.len(),
            });
        }
        if header.size() < bytes.len() {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(Self { header, bytes })
    }

    /// What follows the header: records, compressed as the header says.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(crate::BATCH_HEADER_LEN..).unwrap_or_default()
    }
}

/// Cuts `bytes` into batches without copying. Ends after the last whole batch; a part of a batch at the
/// end (a fetch response may end in one) is an error item, after which the iterator ends.
#[must_use]
pub fn split_batches(bytes: &Bytes) -> BatchIter {
    BatchIter { rest: bytes.clone() }
}

/// See [`split_batches`].
#[derive(Debug, Clone)]
pub struct BatchIter {
    rest: Bytes,
}

impl BatchIter {
    /// What has not been cut yet.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for BatchIter {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = BatchHeader::parse(&self.rest).and_then(|header| {
            if header.size() > self.rest.len() {
                return Err(BatchError::Truncated {
                    needed: header.size(),
                    available: self.rest.len(),
                });
            }
            Ok(header)
        });
        match parsed {
            Ok(header) => Some(Ok(Batch {
                header,
                bytes: self.rest.split_to(header.size()),
            })),
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}
