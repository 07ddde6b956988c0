use super::refused;
use bytes::Bytes;
use records::{Allowance, Batch, BatchHeader, BatchRules, Compression, Rejected};
use types::{ErrorCode, limits};

/// What is to be done with one client batch before it is appended: all of Kafka's `LogValidator`. It holds nothing
/// of the shard, for where it is a lot it is done on a pool.
#[derive(Debug, Clone)]
pub(super) struct BatchWork {
    pub(super) records: Bytes,
    pub(super) rules: BatchRules,
    /// Version of the request.
    pub(super) version: i16,
    /// The topic's codec, unless it is the producer's, and its level (KIP-390).
    pub(super) codec: Option<(Compression, Option<i32>)>,
    /// `segment.bytes`.
    pub(super) segment_bytes: usize,
}

impl BatchWork {
    /// The work itself, where it is little: a shard has other clients. `None` if it is not; nothing is taken from the
    /// allowance then.
    pub(super) fn run_here(&self, allowance: &mut Allowance) -> Option<Result<(Bytes, BatchHeader), Rejected>> {
        let records = BatchHeader::parse(&self.records).map_or(0, |header| header.record_count);
        if self.records.len() > limits::BATCH_BYTES_ON_SHARD || records > limits::BATCH_RECORDS_ON_SHARD {
            return None;
        }
        self.run_within(allowance, limits::DECOMPRESSED_BYTES_ON_SHARD)
    }

    /// The work itself, where no more than `decompressed_bytes_max` are decompressed for it; `None` as above.
    pub(super) fn run_within(
        &self,
        allowance: &mut Allowance,
        decompressed_bytes_max: usize,
    ) -> Option<Result<(Bytes, BatchHeader), Rejected>> {
        let decompressed_bytes = allowance.decompressed_bytes.min(decompressed_bytes_max);
        let mut here = Allowance {
            decompressed_bytes,
            ..*allowance
        };
        let done = self.run(&mut here);
        let spent = decompressed_bytes - here.decompressed_bytes;
        if done.is_err() && here.decompressed_bytes == 0 && decompressed_bytes < allowance.decompressed_bytes {
            return None;
        }
        *allowance = Allowance {
            decompressed_bytes: allowance.decompressed_bytes - spent,
            ..here
        };
        Some(done)
    }

    /// The batch to append: as it came, unless the topic asks for another codec.
    pub(super) fn run(&self, allowance: &mut Allowance) -> Result<(Bytes, BatchHeader), Rejected> {
        let before = allowance.decompressed_bytes;
        let header = records::check_client_records(&self.records, &self.rules, allowance)?;
        self.check_request(&header)?;
        let decompressed = before - allowance.decompressed_bytes;
        let (batch, header) = match self.codec {
            Some((codec, level)) if header.compression()? != codec => {
                // All of it is decompressed once more.
                allowance.decompressed_bytes = allowance.decompressed_bytes.saturating_sub(decompressed);
                self.recompressed(&header, codec, level, decompressed)?
            }
            _ => (self.records.clone(), header),
        };
        if batch.len() > self.segment_bytes {
            let message = format!(
                "The record batch size is {} bytes which exceeds segment.bytes, {}",
                batch.len(),
                self.segment_bytes
            );
            return Err(refused(ErrorCode::RecordListTooLarge, message));
        }
        Ok((batch, header))
    }

    /// What the version of the request, or what is not there yet, forbids.
    fn check_request(&self, header: &BatchHeader) -> Result<(), Rejected> {
        if self.version < 7 && matches!(header.compression(), Ok(Compression::Zstd)) {
            let message = "Produce requests with version 6 or below are not allowed to use ZStandard compression";
            return Err(refused(ErrorCode::UnsupportedCompressionType, message));
        }
        if header.is_transactional() {
            // No partition was added to a transaction, because there is no transaction coordinator.
            let message = "The transaction has not been started";
            return Err(refused(ErrorCode::InvalidTxnState, message));
        }
        Ok(())
    }

    /// The batch in the topic's codec, if it is still as small as the topic wants it.
    fn recompressed(
        &self,
        checked: &BatchHeader,
        codec: Compression,
        level: Option<i32>,
        decompressed: usize,
    ) -> Result<(Bytes, BatchHeader), Rejected> {
        let size_max = self.rules.max_message_bytes;
        let batch = records::recompress(
            &Batch::parse(self.records.clone())?,
            codec,
            level,
            decompressed,
            size_max,
        )?;
        let mut header = BatchHeader::parse(&batch)?;
        header.max_timestamp = checked.max_timestamp;
        Ok((batch, header))
    }
}
