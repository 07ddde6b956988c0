//! The targets, a file for each kind of bytes.

pub(crate) mod batches;
pub(crate) mod files;
pub(crate) mod group_records;
pub(crate) mod log_directory;
pub(crate) mod metadata_log;
pub(crate) mod peers;
pub(crate) mod requests;
