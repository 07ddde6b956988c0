//! What every message looks like on the wire, and the walk over a body that proves it before the codec
//! sees it.
//!
//! The codec allocates by the array lengths that it reads, unchecked. The walk allocates nothing: it
//! follows the shape of the message, checks each length against the bytes that are left, nested and tagged
//! fields included, and adds up what the decoded message will take in memory.

mod cursor;
mod field;
mod groups;
mod requests;
mod responses;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the tests ask more of a sample than the fuzz targets")
)]
pub(crate) mod sample;
mod walk;

pub(crate) use cursor::{Bad, Cursor};
pub(crate) use field::Shape;
pub(crate) use requests::request_shape;
pub(crate) use responses::response_shape;
pub(crate) use walk::check;
