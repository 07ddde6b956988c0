//! The programs: a node's wiring, its settings, and the commands of `ottla`.

pub mod client;
pub mod commands;
mod logging;
mod node;
mod preflight;
mod secret;
pub mod settings;

pub use node::{Node, StartError};
