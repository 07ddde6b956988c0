//! A Fetch response whose records are not copied.
//!
//! The codec writes what is around the records: each message with nothing in its array, or without its records. Those come
//! last in a message but for its tagged fields, so that they can be put in where they belong.
//!
//! ```text
//!             versions up to 11                  from 12 on
//! response    … │ i32 count  │ topics            … │ varint count + 1  │ topics     │ tagged fields
//! topic       … │ i32 count  │ partitions        … │ varint count + 1  │ partitions │ 0: no tagged field
//! partition   … │ i32 length │ records           … │ varint length + 1 │ records    │ 0: no tagged field
//! ```

use crate::WireError;
use crate::messages::FetchResponse;
use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use bytes::{BufMut, Bytes, BytesMut};
use host::Gathered;
use kafka_protocol::protocol::Encodable;

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;
/// Fewer bytes of records are copied, which costs less than a piece of their own.
const RECORDS_MIN: usize = 4096;
/// Length prefix of a frame.
const PREFIX: usize = 4;

/// Whether there are records that it does not pay to copy.
pub(crate) fn has_much(response: &FetchResponse) -> bool {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.any(|partition| {
        partition
            .records
            .as_ref()
            .is_some_and(|records| records.len() >= RECORDS_MIN)
    })
}

/// Writes the body behind `header`, the length prefix and what else comes before; answers all of it.
///
/// # Errors
/// [`WireError::Encode`] for a version that the codec does not know, or what it cannot carry.
pub(crate) fn encode(response: &FetchResponse, version: i16, header: BytesMut) -> Result<Gathered, WireError> {
    let mut out = Output {
        flexible: version >= FLEXIBLE,
        version,
        done: Vec::new(),
        next: header,
    };
    let begin = out.next.len();
    let around = FetchResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_error_code(response.error_code)
        .with_session_id(response.session_id)
        .with_node_endpoints(response.node_endpoints.clone())
        .with_unknown_tagged_fields(response.unknown_tagged_fields.clone());
    out.codec(&around)?;
    // throttle_time_ms; then error_code and session_id.
    let before = if version >= 7 { 4 + 2 + 4 } else { 4 };
    let mut tagged = out.next.split_off(begin + before);
    let _no_topics = tagged.split_to(if out.flexible { 1 } else { 4 });
    out.length(response.responses.len())?;
    for topic in &response.responses {
        out.topic(topic)?;
    }
    out.next.extend_from_slice(&tagged);
    out.seal()
}

struct Output {
    version: i16,
    flexible: bool,
    /// What is around the records of a partition, up to them, and the records.
    done: Vec<(BytesMut, Bytes)>,
    /// What comes behind.
    next: BytesMut,
}

impl Output {
    fn codec(&mut self, message: &impl Encodable) -> Result<(), WireError> {
        message
            .encode(&mut self.next, self.version)
            .map_err(|e| WireError::Encode(format!("{e:#}")))
    }

    /// Of an array or of records.
    fn length(&mut self, length: usize) -> Result<(), WireError> {
        let too_long = |_| WireError::Encode("array or records too long".to_owned());
        let length = i32::try_from(length).map_err(too_long)?;
        if !self.flexible {
            self.next.put_i32(length);
            return Ok(());
        }
        let mut left = length.unsigned_abs() + 1;
        while left >= 0x80 {
            self.next.put_u8((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        self.next.put_u8(left as u8);
        Ok(())
    }

    /// Takes back what the codec wrote for an array or records that are not there, and for tagged fields.
    fn take_back_nothing(&mut self) {
        let written = if self.flexible { 1 + 1 } else { 4 };
        self.next.truncate(self.next.len() - written);
    }

    fn no_tagged_field(&mut self) {
        if self.flexible {
            self.next.put_u8(0);
        }
    }

    fn topic(&mut self, topic: &FetchableTopicResponse) -> Result<(), WireError> {
        let named = FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id);
        self.codec(&named)?;
        self.take_back_nothing();
        self.length(topic.partitions.len())?;
        for partition in &topic.partitions {
            self.partition(partition)?;
        }
        self.no_tagged_field();
        Ok(())
    }

    fn partition(&mut self, partition: &PartitionData) -> Result<(), WireError> {
        let records = match &partition.records {
            Some(records) if records.len() >= RECORDS_MIN && has_no_tagged_field(partition) => records.clone(),
            _ => return self.codec(partition),
        };
        let around = PartitionData::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(partition.error_code)
            .with_high_watermark(partition.high_watermark)
            .with_last_stable_offset(partition.last_stable_offset)
            .with_log_start_offset(partition.log_start_offset)
            .with_aborted_transactions(partition.aborted_transactions.clone())
            .with_preferred_read_replica(partition.preferred_read_replica)
            .with_records(None);
        self.codec(&around)?;
        self.take_back_nothing();
        self.length(records.len())?;
        self.done.push((self.next.split(), records));
        self.no_tagged_field();
        Ok(())
    }

    /// Writes the length of what follows into the first four bytes.
    fn seal(mut self) -> Result<Gathered, WireError> {
        let done = self.done.iter().map(|(around, records)| around.len() + records.len());
        let whole = done.sum::<usize>() + self.next.len();
        let length = i32::try_from(whole - PREFIX).map_err(|_| WireError::Encode("frame above 2 GiB".to_owned()))?;
        let first = self.done.first_mut().map_or(&mut self.next, |(around, _)| around);
        first[..PREFIX].copy_from_slice(&length.to_be_bytes());
        let mut frame = Gathered::default();
        for (around, records) in self.done {
            frame.push(around.freeze());
            frame.push(records);
        }
        frame.push(self.next.freeze());
        Ok(frame)
    }
}

fn has_no_tagged_field(partition: &PartitionData) -> bool {
    let nothing = PartitionData::default();
    partition.diverging_epoch == nothing.diverging_epoch
        && partition.current_leader == nothing.current_leader
        && partition.snapshot_id == nothing.snapshot_id
        && partition.unknown_tagged_fields.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_response::{AbortedTransaction, EpochEndOffset, NodeEndpoint};
    use bytes::Buf;

    fn topic(version: i16, number: i32, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        if version >= 13 {
            return topic.with_topic_id(uuid::Uuid::from_u128(7 + number.unsigned_abs() as u128));
        }
        topic.with_topic(crate::StrBytes::from_string(format!("topic-{number}")).into())
    }

    fn partition(version: i16, index: i32, records: Option<Bytes>) -> PartitionData {
        let aborted = AbortedTransaction::default()
            .with_producer_id(9.into())
            .with_first_offset(4);
        let partition = PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(1 << 40)
            .with_last_stable_offset(1 << 39)
            .with_aborted_transactions((index == 1).then(|| vec![aborted]))
            .with_records(records);
        let partition = if version >= 5 {
            partition.with_log_start_offset(3)
        } else {
            partition
        };
        match version >= 12 && index == 2 {
            true => partition.with_diverging_epoch(EpochEndOffset::default().with_epoch(5).with_end_offset(6)),
            false => partition,
        }
    }

    #[test]
    fn every_version_is_what_the_codec_writes_and_records_are_not_copied() {
        for version in 4..=18 {
            for len in [0, 1, RECORDS_MIN - 1, RECORDS_MIN, 20_000, 3_000_000] {
                let records = Bytes::from(vec![0xab; len]);
                let some = || Some(records.clone());
                let topics = vec![
                    topic(
                        version,
                        1,
                        vec![partition(version, 0, some()), partition(version, 1, some())],
                    ),
                    topic(version, 2, Vec::new()),
                    topic(
                        version,
                        3,
                        vec![partition(version, 2, some()), partition(version, 3, None)],
                    ),
                ];
                for topics in [topics, Vec::new()] {
                    let mut response = FetchResponse::default()
                        .with_throttle_time_ms(11)
                        .with_responses(topics);
                    if version >= 7 {
                        response = response.with_error_code(2).with_session_id(77);
                    }
                    if version >= 16 {
                        response.node_endpoints = vec![NodeEndpoint::default().with_node_id(4.into()).with_port(9092)];
                    }
                    let mut whole = BytesMut::from(&[0, 0, 0, 0, 0xcc, 0xdd][..]);
                    response.encode(&mut whole, version).unwrap();
                    let length = u32::try_from(whole.len() - PREFIX).unwrap();
                    whole[..PREFIX].copy_from_slice(&length.to_be_bytes());

                    let mut written =
                        encode(&response, version, BytesMut::from(&[0, 0, 0, 0, 0xcc, 0xdd][..])).unwrap();
                    assert_eq!(written.clone().into_bytes(), whole, "version {version}, {len} bytes");
                    let mut shared = 0;
                    while written.has_remaining() {
                        let piece = written.chunk();
                        shared += usize::from(std::ptr::eq(piece.as_ptr(), records.as_ptr()) && !records.is_empty());
                        written.advance(piece.len());
                    }
                    let large = if len >= RECORDS_MIN && !response.responses.is_empty() {
                        2
                    } else {
                        0
                    };
                    let tagged = usize::from(version < FLEXIBLE && large > 0);
                    assert_eq!(shared, large + tagged, "version {version}, {len} bytes");
                }
            }
        }
    }

    #[test]
    fn a_version_that_the_codec_does_not_know_is_refused() {
        let response = FetchResponse::default().with_responses(vec![topic(4, 1, vec![partition(4, 0, None)])]);
        assert!(encode(&response, 3, BytesMut::zeroed(4)).is_err());
        assert!(encode(&response, 99, BytesMut::zeroed(4)).is_err());
    }
}
