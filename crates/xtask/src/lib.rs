//! Repository checks: the floors of `ARCHITECTURE.md`, the size of files, names of rooms.

pub mod layers;
pub mod tree;
