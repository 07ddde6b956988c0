//! The one table of what is served.

use kafka_protocol::messages::ApiKey;

/// Versions of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRange {
    /// Key of the API.
    pub key: ApiKey,
    /// Lowest version that ApiVersions announces.
    pub min: i16,
    /// Highest version, announced and served.
    pub max: i16,
}

impl ApiRange {
    /// Lowest version that is decoded and answered. Differs from `min` for Produce only: librdkafka up to
    /// 2.10 switches compression off unless version 0 is announced (KAFKA-18659), and sends 3 or newer.
    #[must_use]
    pub const fn served_min(&self) -> i16 {
        match self.key {
            ApiKey::Produce => 3,
            _ => self.min,
        }
    }
}

const fn range(key: ApiKey, min: i16, max: i16) -> ApiRange {
    ApiRange { key, min, max }
}

/// Exactly what the broker serves, by key. ApiVersions answers from it.
pub const SERVED: &[ApiRange] = &[
    range(ApiKey::Produce, 0, 13),
    range(ApiKey::Fetch, 4, 18),
    range(ApiKey::ListOffsets, 1, 11),
    range(ApiKey::Metadata, 0, 13),
    range(ApiKey::OffsetCommit, 2, 10),
    range(ApiKey::OffsetFetch, 1, 10),
    range(ApiKey::FindCoordinator, 0, 6),
    range(ApiKey::JoinGroup, 0, 9),
    range(ApiKey::Heartbeat, 0, 4),
    range(ApiKey::LeaveGroup, 0, 5),
    range(ApiKey::SyncGroup, 0, 5),
    range(ApiKey::DescribeGroups, 0, 6),
    range(ApiKey::ListGroups, 0, 5),
    range(ApiKey::ApiVersions, 0, 4),
    range(ApiKey::CreateTopics, 0, 7),
    range(ApiKey::DeleteTopics, 0, 6),
    range(ApiKey::DeleteRecords, 0, 2),
    range(ApiKey::InitProducerId, 0, 5),
    range(ApiKey::OffsetForLeaderEpoch, 2, 4),
    range(ApiKey::DescribeConfigs, 0, 4),
    range(ApiKey::AlterConfigs, 0, 2),
    range(ApiKey::DescribeLogDirs, 0, 5),
    range(ApiKey::CreatePartitions, 0, 3),
    range(ApiKey::DeleteGroups, 0, 2),
    range(ApiKey::ElectLeaders, 0, 2),
    range(ApiKey::IncrementalAlterConfigs, 0, 1),
    range(ApiKey::AlterPartitionReassignments, 0, 1),
    range(ApiKey::ListPartitionReassignments, 0, 0),
    range(ApiKey::OffsetDelete, 0, 0),
    range(ApiKey::DescribeQuorum, 0, 2),
    range(ApiKey::DescribeCluster, 0, 2),
    range(ApiKey::UnregisterBroker, 0, 0),
    range(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The version in whose form the codec reads and writes this one. ListOffsets 11 may ask for one more special
/// timestamp than 10 (KIP-1023) and differs in no byte; the codec knows up to 10. DescribeLogDirs 0, which Kafka 4
/// dropped, is 1 in every byte; of 5 only the answer differs from 4 ([`crate::after_codec`]).
pub(crate) const fn codec_version(key: ApiKey, version: i16) -> i16 {
    match (key, version) {
        (ApiKey::ListOffsets, 11) => 10,
        (ApiKey::DescribeLogDirs, 0) => 1,
        (ApiKey::DescribeLogDirs, 5) => 4,
        _ => version,
    }
}

/// Whether requests of this key and version are decoded and answered.
#[must_use]
pub fn serves(api_key: i16, api_version: i16) -> bool {
    SERVED
        .iter()
        .any(|r| r.key as i16 == api_key && (r.served_min()..=r.max).contains(&api_version))
}
