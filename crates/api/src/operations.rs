//! Authorized operations (KIP-430): without an authorizer, all that the resource has. A bit per number of
//! Kafka's `AclOperation`.

/// READ 3, WRITE 4, CREATE 5, DELETE 6, ALTER 7, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11.
const TOPIC: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// CREATE 5, ALTER 7, DESCRIBE 8, CLUSTER_ACTION 9, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11, IDEMPOTENT_WRITE 12.
const CLUSTER: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// READ 3, DELETE 6, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11.
const GROUP: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// Not asked for.
const UNSET: i32 = i32::MIN;

pub(crate) fn of_topic(asked: bool) -> i32 {
    if asked { TOPIC } else { UNSET }
}

pub(crate) fn of_cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { UNSET }
}

pub(crate) fn of_group(asked: bool) -> i32 {
    if asked { GROUP } else { UNSET }
}
