//! The log on disk: Kafka's segment files, flush with durable marks, recovery. Floor 2.
//!
//! ```text
//! log directory/
//!   meta.properties  .lock               identity (KIP-858), one process at a time
//!   marks-0  marks-1                     the journal: durable positions, and records of segments not synced yet (see `marks`)
//!   replication-offset-checkpoint        export: high watermarks
//!   log-start-offset-checkpoint          export: log start offsets
//!   scrub-checkpoint                     how far the scrub is
//!   topic-partition/
//!     00000000000000000000.log           record batches, as sent
//!     00000000000000000000.index         written when the segment rolls, or on a clean close
//!     00000000000000000000.timeindex
//!     00000000000000004711.snapshot      producer state at that offset
//!     leader-epoch-checkpoint            export of the epochs in the marks journal
//!     partition.metadata                 topic id (KIP-516)
//! ```
//!
//! Two rules carry everything else. What changes files (create, truncate, delete) is durable in the marks
//! journal *before* a file is touched; a durable position is reported only *after* files (or their bytes in the
//! journal), directories and the mark itself are synced. So recovery can tell loss from an unfinished write: below the mark, bad data is
//! corruption; above it, the log is cut at the first bad batch.

mod batch_scan;
mod checkpoint;
mod cold_read;
mod config;
pub mod conformance;
mod cover;
mod direct_reads;
mod directory;
mod directory_stats;
mod error;
mod flush;
mod flusher;
mod index;
mod journal_flush;
mod log;
mod log_dir;
mod marks;
mod meta_properties;
mod open_files;
mod plain_flush;
mod producer_snapshot;
mod read_now;
mod read_once;
mod recovery;
mod removal;
mod room;
mod rot;
mod scrub;
mod segment;
mod slice;
mod tail_cache;

pub use batch_scan::HeaderScan;
pub use checkpoint::{parse_epoch_checkpoint, parse_offset_checkpoint};
pub use cold_read::ColdRead;
pub use config::LogConfig;
pub use directory_stats::DirectoryStats;
pub use error::{LogDirError, LogError};
pub use flush::{FlushJob, FlushStrategy, Flushed};
pub use flusher::{FlushDone, FlushFailed, Flusher};
pub use journal_flush::JournalFlush;
pub use log::{Log, LogStartMove, TimestampSearch};
pub use log_dir::LogDir;
pub use marks::{JournalSize, LogKey, MarksError, inspect_marks};
pub use meta_properties::MetaProperties;
pub use plain_flush::PlainFlush;
pub use producer_snapshot::{
    ProducerSnapshot, ProducerSnapshotEntry, decode_producer_snapshot, encode_producer_snapshot,
};
pub use recovery::{Recovered, Recovery, RecoveryDone, RecoveryJob, RecoveryOutcome};
pub use rot::Rot;
pub use scrub::{RotFound, ScrubJob, Scrubbed};
pub use slice::LogSlice;
