//! Versions older than the codec: CreateTopics 0-1, DeleteTopics 0, DescribeConfigs 0.
//!
//! Kafka 4.0 dropped them (KIP-896); clients that name their versions outright still send them (sarama before
//! 1.41, and what is built on it). They differ from the codec's oldest version by little:
//!
//! ```text
//! CreateTopics     request  v0: no validate_only         response  v1: no throttle_time_ms
//!                                                                  v0: no error_message either
//! DeleteTopics                                           response  v0: no throttle_time_ms
//! DescribeConfigs  request  v0: no include_synonyms      response  v0: is_default for config_source, no synonyms
//! ```

use crate::messages::{CreateTopicsResponse, DeleteTopicsResponse, DescribeConfigsResponse, ResponseKind};
use crate::served::codec_version;
use crate::{ApiKey, WireError};
use bytes::{BufMut, Bytes, BytesMut};

/// `config_source` of a default (`DescribeConfigsResponse.ConfigSource`).
const DEFAULT_CONFIG: i8 = 5;

/// The body of a request as the codec's oldest version writes it, and that version; for all others what came.
///
/// `body` must be exactly the message: the field that is appended has to follow its last one.
pub(crate) fn request_as_known(key: ApiKey, version: i16, body: Bytes) -> (i16, Bytes) {
    let oldest = key.valid_versions().min;
    match (key, version) {
        (ApiKey::CreateTopics | ApiKey::DescribeConfigs, 0) => {
            // validate_only or include_synonyms: false.
            let mut longer = BytesMut::with_capacity(body.len() + 1);
            longer.put_slice(&body);
            longer.put_u8(0);
            (oldest, longer.freeze())
        }
        _ => (codec_version(key, version).max(oldest), body),
    }
}

/// Writes the body of a response that the codec cannot; false if it can.
///
/// # Errors
/// [`WireError::Encode`] for a string above 32,767 bytes.
pub(crate) fn encode(response: &ResponseKind, version: i16, out: &mut BytesMut) -> Result<bool, WireError> {
    match response {
        ResponseKind::CreateTopics(r) if version < 2 => create_topics(r, version, out)?,
        ResponseKind::DeleteTopics(r) if version < 1 => delete_topics(r, out)?,
        ResponseKind::DescribeConfigs(r) if version < 1 => describe_configs(r, out)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn create_topics(response: &CreateTopicsResponse, version: i16, out: &mut BytesMut) -> Result<(), WireError> {
    count(out, response.topics.len())?;
    for topic in &response.topics {
        string(out, &topic.name)?;
        out.put_i16(topic.error_code);
        if version >= 1 {
            nullable_string(out, topic.error_message.as_deref())?;
        }
    }
    Ok(())
}

fn delete_topics(response: &DeleteTopicsResponse, out: &mut BytesMut) -> Result<(), WireError> {
    count(out, response.responses.len())?;
    for topic in &response.responses {
        string(out, topic.name.as_deref().map_or("", |name| name))?;
        out.put_i16(topic.error_code);
    }
    Ok(())
}

fn describe_configs(response: &DescribeConfigsResponse, out: &mut BytesMut) -> Result<(), WireError> {
    out.put_i32(response.throttle_time_ms);
    count(out, response.results.len())?;
    for result in &response.results {
        out.put_i16(result.error_code);
        nullable_string(out, result.error_message.as_deref())?;
        out.put_i8(result.resource_type);
        string(out, &result.resource_name)?;
        count(out, result.configs.len())?;
        for config in &result.configs {
            string(out, &config.name)?;
            nullable_string(out, config.value.as_deref())?;
            out.put_u8(u8::from(config.read_only));
            out.put_u8(u8::from(config.config_source == DEFAULT_CONFIG));
            out.put_u8(u8::from(config.is_sensitive));
        }
    }
    Ok(())
}

fn count(out: &mut BytesMut, elements: usize) -> Result<(), WireError> {
    out.put_i32(i32::try_from(elements).map_err(|_| WireError::Encode("array too long".to_owned()))?);
    Ok(())
}

fn nullable_string(out: &mut BytesMut, text: Option<&str>) -> Result<(), WireError> {
    match text {
        Some(text) => string(out, text),
        None => {
            out.put_i16(-1);
            Ok(())
        }
    }
}

fn string(out: &mut BytesMut, text: &str) -> Result<(), WireError> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| WireError::Encode("string too long".to_owned()))?);
    out.put_slice(text.as_bytes());
    Ok(())
}
