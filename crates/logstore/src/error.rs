use crate::Rot;
use crate::marks::MarksError;
use std::io;
use std::path::PathBuf;
use types::{Offset, TopicPartition};

/// Why a log refuses. The wire code of each is given by the broker.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A write or sync of the directory failed once; it stays offline until a restart (wire 56).
    #[error("the log directory is offline")]
    Offline,
    /// No room on the file system; the log is as it was before, and takes appends again when there is room (wire 56).
    #[error("the file system of the log directory is full")]
    Full,
    /// The process has too many files open for one more; the log is as it was before (wire 56).
    #[error("the process may open no more files")]
    NoFileHandle,
    /// The log was deleted, or cut, before what was to be read of it was looked for (wire 6).
    #[error("the log is no longer what it was")]
    Gone,
    /// Outside `[log_start_offset, log_end_offset]` (wire 1).
    #[error("offset {offset} is outside of [{log_start}, {log_end}]")]
    OffsetOutOfRange {
        offset: Offset,
        log_start: Offset,
        log_end: Offset,
    },
    /// What is to be appended does not fit the end of the log; nothing was written.
    #[error("append at {first}..{next} does not fit the log end {log_end}: {why}")]
    InvalidAppend {
        first: Offset,
        next: Offset,
        log_end: Offset,
        why: &'static str,
    },
    /// Recovery found bad data below the durable mark; only a full truncation mends it.
    #[error("the log is corrupt at offset {0}")]
    Corrupt(Offset),
    /// The directory holds this partition already.
    #[error("partition {0} exists already")]
    Exists(TopicPartition),
    #[error("the name {0:?} cannot be that of a topic")]
    InvalidName(String),
    /// Bytes that were written once are no longer what they were (wire 56).
    #[error(transparent)]
    Rot(#[from] Rot),
    #[error("reading the log: {0}")]
    Io(#[from] io::Error),
}

/// Why a log directory cannot be used. Nothing was written over.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    #[error(
        "{path}: {problem}. The directory will not be guessed at: restore the file, or move the directory away and start with \
         an empty one, into which the other nodes' copies are replicated"
    )]
    MetaProperties { path: PathBuf, problem: String },
    #[error(
        "{path} belongs to {property} {found}, and this node to {property} {expected}. Give the node its own directory, or, if \
         the data is not needed, move it away"
    )]
    Mismatch {
        path: PathBuf,
        property: &'static str,
        found: String,
        expected: String,
    },
    #[error(
        "{path}: the marks journal (marks-0, marks-1) cannot be used: {error}. Without it nobody can tell which records \
         are safe here. If other nodes have copies of these partitions, move the directory away and start with an empty one"
    )]
    Marks { path: PathBuf, error: MarksError },
    #[error("the log directory is offline")]
    Offline,
}
