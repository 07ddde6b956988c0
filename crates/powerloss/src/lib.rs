//! A file system that forgets what was not synced.
//!
//! `kill -9` keeps the page cache and proves nothing about `fsync`. Programs that run on this layer can lose power: on
//! command it forgets what was not made durable, and what is left is what a disk may have.
//!
//! - Bytes of a file are durable after `fsync` or `fdatasync` of that file; `sync_file_range`, `syncfs`, closing and time
//!   make nothing durable (but see [`UNSYNCED_BYTES_MAX`]).
//! - A name (of a new file, a directory, a rename, a removal) is durable after `fsync` of the directory that it is in.
//! - Of the rest a power loss keeps or loses what its seed says: each 512-byte sector by itself, in any order, and each
//!   name by itself; a rename is never done by halves.
//!
//! The model is that of `host::SimDisk`, for real processes (RocksDB among them) and the real kernel's file calls. Bytes live in
//! a backing directory, names in this process: what is behind the mount ends with it.

mod content;
mod control;
mod directory;
mod faults;
mod layer;
mod numbers;
mod state;
mod stats;
mod tree;

pub use content::{Content, SECTOR_BYTES};
pub use control::{COMMANDS, Control};
pub use directory::Directory;
pub use faults::Faults;
pub use layer::Layer;
pub use numbers::Numbers;
pub use state::{State, UNSYNCED_BYTES_MAX};
pub use stats::{Loss, Stats};
pub use tree::{Owner, ROOT, Tree};
