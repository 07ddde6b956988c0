use crate::codec::reader;
use crate::header::compute_crc;
use crate::walk::{SliceSource, Source, StreamSource, walk_record};
use crate::{BatchError, BatchHeader, Compression};
use bytes::Bytes;
use types::{ErrorCode, limits};

/// What a topic asks of a client's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRules {
    /// `max.message.bytes`: of the batch as it is sent, compressed.
    pub max_message_bytes: usize,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.before.max.ms`: how far a record's timestamp may lie behind `now_ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead.
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.type` is `LogAppendTime`: the producer's timestamps do not matter.
    pub log_append_time: bool,
    /// Wall clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// What all batches of one request together may still cost. Without it a request of many partitions would
/// cost many times what the largest batch may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes that may still come out of decompression.
    pub decompressed_bytes: usize,
    /// Records that may still be named in refusals.
    pub record_errors: usize,
}

impl Allowance {
    /// What a request begins with.
    pub const REQUEST: Self = Self {
        decompressed_bytes: limits::DECOMPRESSED_BYTES_MAX,
        record_errors: limits::RECORD_ERRORS_MAX,
    };
}

/// Why a batch was not taken, for the produce response (KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub error: ErrorCode,
    pub message: String,
    /// Position of a record in the batch, and what is wrong with it; as many
    /// as the request's [`Allowance`] has.
    pub record_errors: Vec<(i32, String)>,
}

impl Rejected {
    fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
            record_errors: Vec::new(),
        }
    }
}

impl From<BatchError> for Rejected {
    fn from(error: BatchError) -> Self {
        let code = match &error {
            BatchError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Crc { .. } | BatchError::Length(_) => ErrorCode::CorruptMessage,
            BatchError::Truncated { .. }
            | BatchError::Magic(_)
            | BatchError::Decompression(_)
            | BatchError::Compression(_)
            | BatchError::Record(_) => ErrorCode::InvalidRecord,
        };
        Self::new(code, error.to_string())
    }
}

/// Checks what a client sent for one partition, as Kafka 4 does: exactly one batch of magic 2 at base offset
/// 0, not larger than the topic allows, CRC, no control batch, a count that fits the offsets, and every record
/// walked (decompressing as a stream). What that takes is taken from `allowance`, refused or not. The returned header's `max_timestamp` is the true
/// maximum of its records; where the batch says otherwise, [`crate::set_max_timestamp`] corrects it.
///
/// # Errors
/// `INVALID_RECORD` for a batch or record of the wrong shape, an old magic, a control batch, or a null key on a
/// compacted topic; `MESSAGE_TOO_LARGE` by its compressed or its decompressed size; `CORRUPT_MESSAGE` for a
/// CRC or an impossible length; `INVALID_TIMESTAMP`; `UNSUPPORTED_COMPRESSION_TYPE` for a codec that does not exist.
/// That zstd needs Produce 7 is the API's to check.
///
/// Source: `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator` of
/// Apache Kafka 4, in that order. Stricter than those in two ways: bytes after the batch are refused, not
/// cut off, and offsets inside it must count up, since nothing is re-encoded.
pub fn check_client_records(
    records: &Bytes,
    rules: &BatchRules,
    allowance: &mut Allowance,
) -> Result<BatchHeader, Rejected> {
    let mut header = check_one_batch(records)?;
    if header.base_offset.0 != 0 {
        let message = format!(
            "The base offset of the record batch should be 0, but it is {}",
            header.base_offset
        );
        return Err(Rejected::new(ErrorCode::InvalidRecord, message));
    }
    if header.size() > rules.max_message_bytes {
        let message = format!(
            "The record batch size is {} bytes which exceeds the maximum configured value of {}",
            header.size(),
            rules.max_message_bytes
        );
        return Err(Rejected::new(ErrorCode::MessageTooLarge, message));
    }
    let computed = compute_crc(records);
    if computed != header.crc {
        return Err(BatchError::Crc {
            stored: header.crc,
            computed,
        }
        .into());
    }
    check_header(&header)?;
    let payload = records.get(crate::BATCH_HEADER_LEN..).unwrap_or_default();
    header.max_timestamp = match header.compression()? {
        Compression::None => check_records(&header, &mut SliceSource::new(payload), rules, allowance)?,
        codec => {
            let limit = allowance.decompressed_bytes;
            let mut source = StreamSource::new(reader(codec, payload, limit)?, limit);
            let checked = check_records(&header, &mut source, rules, allowance);
            allowance.decompressed_bytes = limit.saturating_sub(source.decompressed());
            checked?
        }
    };
    Ok(header)
}

/// That `records` is one batch of magic 2 and nothing else.
fn check_one_batch(records: &Bytes) -> Result<BatchHeader, Rejected> {
    let header = match BatchHeader::parse(records) {
        Ok(header) => header,
        Err(BatchError::Magic(magic @ (0 | 1))) => {
            let message = format!("Produce requests may only contain record batches with magic 2, not {magic}");
            return Err(Rejected::new(ErrorCode::InvalidRecord, message));
        }
        Err(error @ BatchError::Magic(_)) => return Err(Rejected::new(ErrorCode::CorruptMessage, error.to_string())),
        Err(BatchError::Truncated { .. }) => {
            let message = "Produce requests must have at least one record batch per partition";
            return Err(Rejected::new(ErrorCode::InvalidRecord, message));
        }
        Err(error) => return Err(error.into()),
    };
    if header.size() > records.len() {
        let message = "Produce requests must have at least one whole record batch per partition";
        return Err(Rejected::new(ErrorCode::InvalidRecord, message));
    }
    if header.size() < records.len() {
        let message = "Produce requests may only contain exactly one record batch per partition";
        return Err(Rejected::new(ErrorCode::InvalidRecord, message));
    }
    Ok(header)
}

/// What the header alone tells.
fn check_header(header: &BatchHeader) -> Result<(), Rejected> {
    let invalid = |message: String| Err(Rejected::new(ErrorCode::InvalidRecord, message));
    if header.last_offset_delta < 0 {
        return invalid(format!(
            "Batch has an invalid offset range: [0, {}]",
            header.last_offset_delta
        ));
    }
    if header.record_count <= 0 {
        return invalid(format!(
            "Invalid reported count for record batch: {}",
            header.record_count
        ));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        return invalid(format!(
            "Inconsistent batch offset range [0, {}] and count of records {}",
            header.last_offset_delta, header.record_count
        ));
    }
    if header.is_control() {
        return invalid("Clients are not allowed to write control records".into());
    }
    if header.is_idempotent() && header.base_sequence < 0 {
        return invalid(format!(
            "Invalid sequence number {} in record batch with producer id {}",
            header.base_sequence, header.producer_id
        ));
    }
    if header.is_transactional() && !header.is_idempotent() {
        return invalid("Transactional record batch without producer id".into());
    }
    Ok(())
}

/// Walks the records and answers the maximum of their timestamps.
fn check_records(
    header: &BatchHeader,
    source: &mut impl Source,
    rules: &BatchRules,
    allowance: &mut Allowance,
) -> Result<i64, Rejected> {
    let mut errors = Vec::new();
    let mut untimely = false;
    let mut errors_total: u64 = 0;
    let mut max_timestamp = i64::MIN;
    for index in 0..header.record_count {
        let record = walk_record(source)?;
        if record.offset_delta != index {
            return Err(BatchError::Record("offsets inside the batch do not count up by one").into());
        }
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        let error = if rules.compacted && !record.has_key {
            Some("Compacted topic cannot accept message without key".to_owned())
        } else {
            let error = check_timestamp(header, timestamp, index, rules);
            untimely |= error.is_some();
            error
        };
        if let Some(message) = error {
            errors_total += 1;
            if allowance.record_errors > 0 {
                allowance.record_errors -= 1;
                errors.push((index, message));
            }
        }
    }
    if !source.at_end()? {
        return Err(BatchError::Record("bytes follow the last record").into());
    }
    if errors_total == 0 {
        return Ok(max_timestamp);
    }
    // One wrong timestamp outweighs whatever else is wrong, as in Kafka.
    let (error, message) = if untimely {
        let message = "One or more records have been rejected due to invalid timestamp";
        (ErrorCode::InvalidTimestamp, message.to_owned())
    } else {
        let message = format!("One or more records have been rejected due to {errors_total} record errors in total");
        (ErrorCode::InvalidRecord, message)
    };
    Err(Rejected {
        error,
        message,
        record_errors: errors,
    })
}

/// What is wrong with a record's timestamp, if anything.
fn check_timestamp(header: &BatchHeader, timestamp: i64, index: i32, rules: &BatchRules) -> Option<String> {
    if header.is_log_append_time() {
        return Some("Producer should not set timestamp type to LogAppendTime".to_owned());
    }
    if rules.log_append_time || timestamp == -1 {
        return None;
    }
    let earliest = rules.now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let latest = rules.now_ms.saturating_add(rules.timestamp_after_max_ms);
    if (earliest..=latest).contains(&timestamp) {
        return None;
    }
    Some(format!(
        "Timestamp {timestamp} of message with offset {index} is out of range. \
         The timestamp should be within [{earliest}, {latest}]"
    ))
}
