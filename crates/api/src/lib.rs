//! The surface that Kafka clients see: a file per API key, the table that finds them ([`dispatch`]), the
//! connection loop and fetch sessions. Handlers see the data plane through [`data::Data`], the control
//! plane through [`control::Control`] and the coordinators of groups through [`groups::Groups`].

mod alter_configs;
mod alter_partition_reassignments;
mod api;
mod api_metrics;
mod api_versions;
mod automatic_creation;
mod config_resource;
pub mod connection;
mod connection_limits;
pub mod control;
mod create_partitions;
mod create_topics;
mod creation_rate;
pub mod data;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_quorum;
mod describe_topic_partitions;
mod dispatch;
mod elect_leaders;
mod fetch;
mod fetch_session;
mod find_coordinator;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod groups;
mod heartbeat;
#[cfg(test)]
mod hostile;
mod init_producer_id;
mod join_group;
mod leader_hint;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod listed_brokers;
pub mod memory_budget;
mod metadata_api;
mod node_ports;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod offsets_topic;
mod operations;
mod partition_state;
mod produce;
mod request_stats;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the tests ask more of it than the fuzz targets")
)]
mod scripted_groups;
mod services;
mod settings;
mod silence;
mod sync_group;
#[cfg(any(test, feature = "fuzzing"))]
mod test_image;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the tests ask more of it than the fuzz targets")
)]
mod test_node;
mod topic_name;
mod unregister_broker;

pub use api::Api;
pub use memory_budget::MemoryBudget;
pub use node_ports::KafkaConnections;
pub use services::Services;
pub use settings::{ApiSettings, InvalidSetting};
