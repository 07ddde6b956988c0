//! From a response to its frame.

use crate::downgrade::downgraded;
use crate::fetch_response;
use crate::messages::ResponseKind;
use crate::served::codec_version;
use crate::{ApiKey, WireError};
use crate::{after_codec, before_codec};
use bytes::{BufMut, Bytes, BytesMut};
use host::Gathered;

/// The error's number on the wire.
#[must_use]
pub fn error_code(e: types::ErrorCode) -> i16 {
    e.code()
}

/// Encodes a response with its length prefix and header.
///
/// ```text
/// i32 length | i32 correlation_id | [tagged fields: one zero byte, in header v1] | body
/// ```
/// The header is v1 where the version is flexible, v0 else and always for ApiVersions. What a version cannot
/// say is left out or put into its older words: a handler fills in all that it knows. Records of a Fetch are pieces of
/// what comes back, not copied.
///
/// # Errors
/// [`WireError::WrongKind`] if `response` is not of that API, [`WireError::Encode`] for a version that the
/// codec does not know, or text that is longer than its version can carry.
pub fn encode_response(
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> Result<Gathered, WireError> {
    let key = ApiKey::try_from(api_key).map_err(|()| WireError::UnknownApi(api_key))?;
    if response_key(response) != Some(key) {
        return Err(WireError::WrongKind(api_key));
    }
    let response = downgraded(response, api_version);
    let mut buffer = BytesMut::with_capacity(MESSAGE);
    buffer.put_i32(0);
    buffer.put_i32(correlation_id);
    if key.response_header_version(api_version) >= 1 {
        buffer.put_u8(0);
    }
    if let ResponseKind::Fetch(fetch) = &*response
        && fetch_response::has_much(fetch)
    {
        return fetch_response::encode(fetch, codec_version(key, api_version), buffer);
    }
    let written = before_codec::encode(&response, api_version, &mut buffer)?
        || after_codec::encode(&response, api_version, &mut buffer)?;
    if !written {
        response
            .encode(&mut buffer, codec_version(key, api_version))
            .map_err(|e| WireError::Encode(format!("{e:#}")))?;
    }
    Ok(seal(buffer)?.into())
}

/// Room for most responses, or what is around the records of one.
const MESSAGE: usize = 256;

/// Writes the length of what follows into the first four bytes.
pub(crate) fn seal(mut buffer: BytesMut) -> Result<Bytes, WireError> {
    let length = i32::try_from(buffer.len() - 4).map_err(|_| WireError::Encode("frame above 2 GiB".to_owned()))?;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    Ok(buffer.freeze())
}

/// The API that a response belongs to, for those with a grammar.
fn response_key(response: &ResponseKind) -> Option<ApiKey> {
    Some(match response {
        ResponseKind::Produce(_) => ApiKey::Produce,
        ResponseKind::Fetch(_) => ApiKey::Fetch,
        ResponseKind::ListOffsets(_) => ApiKey::ListOffsets,
        ResponseKind::Metadata(_) => ApiKey::Metadata,
        ResponseKind::FindCoordinator(_) => ApiKey::FindCoordinator,
        ResponseKind::ApiVersions(_) => ApiKey::ApiVersions,
        ResponseKind::CreateTopics(_) => ApiKey::CreateTopics,
        ResponseKind::DeleteTopics(_) => ApiKey::DeleteTopics,
        ResponseKind::InitProducerId(_) => ApiKey::InitProducerId,
        ResponseKind::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
        ResponseKind::DescribeConfigs(_) => ApiKey::DescribeConfigs,
        ResponseKind::DescribeLogDirs(_) => ApiKey::DescribeLogDirs,
        ResponseKind::DescribeCluster(_) => ApiKey::DescribeCluster,
        ResponseKind::DescribeTopicPartitions(_) => ApiKey::DescribeTopicPartitions,
        ResponseKind::IncrementalAlterConfigs(_) => ApiKey::IncrementalAlterConfigs,
        ResponseKind::AlterConfigs(_) => ApiKey::AlterConfigs,
        ResponseKind::CreatePartitions(_) => ApiKey::CreatePartitions,
        ResponseKind::DeleteRecords(_) => ApiKey::DeleteRecords,
        ResponseKind::DescribeQuorum(_) => ApiKey::DescribeQuorum,
        ResponseKind::UnregisterBroker(_) => ApiKey::UnregisterBroker,
        ResponseKind::ElectLeaders(_) => ApiKey::ElectLeaders,
        ResponseKind::AlterPartitionReassignments(_) => ApiKey::AlterPartitionReassignments,
        ResponseKind::ListPartitionReassignments(_) => ApiKey::ListPartitionReassignments,
        ResponseKind::OffsetCommit(_) => ApiKey::OffsetCommit,
        ResponseKind::OffsetFetch(_) => ApiKey::OffsetFetch,
        ResponseKind::JoinGroup(_) => ApiKey::JoinGroup,
        ResponseKind::Heartbeat(_) => ApiKey::Heartbeat,
        ResponseKind::LeaveGroup(_) => ApiKey::LeaveGroup,
        ResponseKind::SyncGroup(_) => ApiKey::SyncGroup,
        ResponseKind::DescribeGroups(_) => ApiKey::DescribeGroups,
        ResponseKind::ListGroups(_) => ApiKey::ListGroups,
        ResponseKind::DeleteGroups(_) => ApiKey::DeleteGroups,
        ResponseKind::OffsetDelete(_) => ApiKey::OffsetDelete,
        _ => return None,
    })
}
