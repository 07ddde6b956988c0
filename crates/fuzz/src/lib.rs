//! Fuzz targets: everything that parses bytes of a client, a peer or a disk, each with valid inputs to start from.
//! Floor 6.
//!
//! `cargo test` gives each target its seeds, mutations of them, and the inputs that once failed
//! (`regressions/TARGET/`). `make fuzz` runs the same targets for long, guided by coverage (`/fuzz`).

mod bounded;
mod checksums;
pub mod commands;
mod mutator;
mod target;
mod targets;

pub use mutator::Mutator;
pub use target::{Kind, Target};

/// Every target, in a fixed order.
#[must_use]
pub fn targets() -> Vec<Target> {
    let mut all = targets::requests::all();
    all.extend(targets::batches::all());
    all.extend(targets::log_directory::all());
    all.extend(targets::files::all());
    all.extend(targets::group_records::all());
    all.extend(targets::metadata_log::all());
    all.extend(targets::peers::all());
    all
}
